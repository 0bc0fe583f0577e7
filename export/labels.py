"""Names of classes: those that a file carries, those that the user gives, and what each means.

A class is one of the seven emotions (or a word that means one), `other` (left out), or a category of the model's own,
which the artifact keeps by name: it stands under `other` in events, or is an emotion of a set of the user's own.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.models.emotions import EMOTIONS, OTHER, emotion_of
from bimodal.models.errors import LabelError

KEYS = (
    "id2label",
    "names",
    "class_names",
    "classes",
    "labels",
    "label_names",
    "classnames",
    "class_labels",
    "categories",
)
"""Keys under which exporters keep the names of classes."""
PLACEHOLDER = re.compile(r"(label|class)?[_ ]?\d+", re.IGNORECASE)
"""Names that name nothing: LABEL_0, class 3, 7."""
LARGEST_JSON = 5_000_000
CUT = 8
"""So many names are shown of a longer list."""


class Carried(NamedTuple):
    """Names of classes that a file carries, in the order of its output, and where they stand."""

    names: tuple[str, ...]
    where: str


class Classes(NamedTuple):
    """The classes of an artifact.

    Attributes:
        named: one for each column of the network's output; equal ones are added up.
        categories: those of them that are none of the seven and kept by name.
        notes: sentences about where they come from.
    """

    named: tuple[str, ...]
    categories: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Each name once, in the order of first occurrence."""
        return merged(self.named)


def carried_by(properties: Mapping[str, str], zipped: Sequence[str], path: Path) -> Carried | None:
    """Names in a file's metadata, in its ZipMap or classifier, or in the config.json beside it; None if there are none.

    Args:
        properties: the file's own metadata.
        zipped: names in the graph's ZipMap or classifier.
    """
    for key in KEYS:
        found = _names(_parsed(properties[key])) if key in properties else ()
        if found:
            return Carried(found, f"its '{key}'")
    if zipped and not all(PLACEHOLDER.fullmatch(name) for name in zipped):
        return Carried(tuple(zipped), "its 'classlabels'")
    beside = path.parent / "config.json"
    try:
        if beside.is_file() and beside.stat().st_size < LARGEST_JSON:
            table = json.loads(beside.read_text(encoding="utf-8"))
            found = _names(table.get("id2label")) if isinstance(table, dict) else ()
            if found:
                return Carried(found, "the 'id2label' of the config.json beside it")
    except (OSError, ValueError):
        return None
    return None


def settle_classes(
    given: Sequence[str] | None,
    carried: Carried | None,
    path: Path,
    *,
    aliases: Mapping[str, str] | None = None,
    categories: Sequence[str] = (),
) -> Classes:
    """Decide on the names of all classes.

    Args:
        given: by the user, in the order of the output; each a word, or word=emotion.
        carried: by the file.
        aliases: words → emotion, `other` or a category.
        categories: words that are kept by name, none of the seven.

    Raises SourceModelError if there are no names, if the user's contradict the file's, or if a word means nothing here.
    """
    if not given and carried is None:
        raise SourceModelError(
            f"say what the classes of {path} are, in the order of its output: --labels (write other for each that is "
            "none of the seven emotions)"
        )
    notes = []
    if not given:
        assert carried is not None
        notes.append(f"classes by {carried.where}: {_few(carried.names)}")
    words = tuple(given or (carried.names if carried else ()))
    table = {_key(word): target for word, target in (aliases or {}).items()}
    named = tuple(_meant(word, table, categories, path) for word in words)
    if given and carried is not None:
        _contradiction(named, carried, table, categories, path)
    kept = tuple(dict.fromkeys(name for name in named if name in categories))
    strangers = [word for word in categories if word not in named]
    if strangers:
        raise SourceModelError(
            f"{path}: --categories names '{strangers[0]}', which is none of its classes: {_few(named)}"
        )
    for word in named:
        try:
            emotion_of(word, kept)
        except LabelError as error:
            raise SourceModelError(
                f"{path}: label '{word}' is none of {', '.join(EMOTIONS)}, and no word known to mean one: write "
                "other in "
                f"its place to leave the class out, '{word}=happy' (or another of the seven) to count it as that, or "
                "add "
                f"--categories '{word}' to keep it by its name; the classes are {_few(named, 40)}"
            ) from error
    # With classes of its own it serves a set of emotions of the user's own (`emotions` in config.yaml).
    if not kept and all(emotion_of(word, kept) is None for word in named):
        raise SourceModelError(
            f"{path}: none of its classes {_few(named, 40)} is one of the seven emotions: where one means an "
            "emotion, say "
            f"so in --labels, such as '{named[0]}=happy', or keep them by name (--categories), for 'emotions' of your "
            "own in config.yaml"
        )
    return Classes(named, kept, tuple(notes))


def _meant(word: str, table: Mapping[str, str], categories: Sequence[str], path: Path) -> str:
    """The name of a class: as written, or what `word=emotion` or an alias makes of it."""
    name, sign, target = word.rpartition("=")
    if sign:
        target = target.strip()
        try:
            emotion_of(target, categories)
        except LabelError as error:
            raise SourceModelError(
                f"{path}: '{word}' makes '{target}' of '{name.strip()}', but that is none of {', '.join(EMOTIONS)} "
                "or other"
            ) from error
        return target
    return table.get(_key(word), word.strip())


def _contradiction(
    named: Sequence[str], carried: Carried, table: Mapping[str, str], categories: Sequence[str], path: Path
) -> None:
    if len(named) != len(carried.names):
        raise SourceModelError(
            f"{path} has {len(carried.names)} classes by {carried.where} ({_few(carried.names)}), but {len(named)} "
            "labels "
            "are given: leave --labels out, or name as many"
        )
    for place, (mine, theirs) in enumerate(zip(named, carried.names, strict=True)):
        own, other = (_emotion(name, table, categories) for name in (mine, theirs))
        if own is not None and other is not None and own != other:
            raise SourceModelError(
                f"{path}: class {place} is '{theirs}' by {carried.where}, but '{mine}' by --labels: leave --labels "
                "out, or "
                f"put them into the file's order: {_few(carried.names, 1000)}"
            )


def _emotion(name: str, table: Mapping[str, str], categories: Sequence[str]) -> str | None:
    """The emotion that a name means; None for none of the seven, or for an unknown word, which contradicts nothing."""
    try:
        return emotion_of(table.get(_key(name), name), categories)
    except LabelError:
        return None


def _key(word: str) -> str:
    return word.strip().lower()


def _few(names: Sequence[str], most: int = CUT) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _parsed(text: str) -> Any:
    """Parse JSON, a Python literal (Ultralytics writes one), or words with commas or line breaks between."""
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    parts = re.split(r"[\n,;]", text)
    return [part.strip() for part in parts if part.strip()] if len(parts) > 1 else None


def _names(table: Any) -> tuple[str, ...]:
    """Names out of a list or a mapping from number to name (or the other way round); () if they name nothing."""
    if isinstance(table, Mapping):
        pairs = list(table.items())
        if pairs and all(_number(value) is not None for _, value in pairs):  # label2id
            pairs = [(value, key) for key, value in pairs]
        numbers = [_number(key) for key, _ in pairs]
        if sorted(number for number in numbers if number is not None) != list(range(len(pairs))):
            return ()
        table = [value for _, value in sorted(pairs, key=lambda pair: _number(pair[0]) or 0)]
    if not isinstance(table, (list, tuple)) or not table or not all(isinstance(name, str) for name in table):
        return ()
    if any(not name.strip() for name in table) or all(PLACEHOLDER.fullmatch(name.strip()) for name in table):
        return ()
    return tuple(name.strip() for name in table)


def _number(value: object) -> int | None:
    try:
        return int(value) if isinstance(value, (int, str)) else None
    except ValueError:
        return None


def merged(labels: Sequence[str]) -> tuple[str, ...]:
    """Unique labels, in order of first occurrence."""
    return tuple(dict.fromkeys(labels))


def label_sums(labels: Sequence[str]) -> NDArray[np.float32]:
    """Matrix float32 [len(labels), len(merged)] that sums classes of equal label."""
    names = merged(labels)
    return np.array([[label == name for name in names] for label in labels], np.float32)


__all__ = ["OTHER", "Carried", "Classes", "carried_by", "label_sums", "merged", "settle_classes"]
