"""Reading, merging and checking of config files; an error is one sentence with file, line and place."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bimodal.config.expansion import FILE_SUFFIX, SECRETS, expand
from bimodal.config.merging import merge
from bimodal.config.schema import SHORT_FORMS, Config
from bimodal.values import WrongValueError, convert
from bimodal.workers.errors import ConfigError
from bimodal.workers.redaction import LEAST_VALUE, remember_address, remember_secret

MAX_BYTES = 1 << 20
MERGE = "tag:yaml.org,2002:merge"

log = logging.getLogger(__name__)


class Document(NamedTuple):
    """One config file.

    Attributes:
        origin: its name in sentences.
        values: its values, with variables and files of secrets in their places.
        root: its YAML nodes, which know their lines; None for values that come from no file.
    """

    origin: str
    values: dict[Any, Any]
    root: yaml.Node | None = None

    def find(self, place: Sequence[str]) -> tuple[int, yaml.Node | None, str]:
        """The nearest node to a place: how many of its keys lead there, the node, and "FILE, line N" (FILE alone where
        none does)."""
        node, depth, line = self.root, 0, 0
        for key in place:
            found = _child(node, key)
            if found is None:
                break
            line, node = found
            depth += 1
        return depth, node, f"{self.origin}, line {line}" if depth else self.origin


def _child(node: yaml.Node | None, key: str) -> tuple[int, yaml.Node] | None:
    """The line of a key, and the node under it."""
    if isinstance(node, yaml.MappingNode):
        for named, value in reversed(node.value):
            if named.value in (key, f"{key}{FILE_SUFFIX}"):
                return named.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        item = node.value[int(key)]
        return item.start_mark.line + 1, item
    return None


def load_config(paths: Path | Sequence[Path], secrets: set[Path] | None = None) -> Config:
    """Load a config file, or several: a later one adds to those before it and wins (bimodal/config/merging.py).

    `secrets` receives the files of secrets that were looked for, also where loading fails. Raises ConfigError, with
    file, line, place and the nearest valid key, where one is missing or wrong.
    """
    return config_of(read_documents([paths] if isinstance(paths, Path) else paths, secrets))


def read_documents(paths: Sequence[Path], secrets: set[Path] | None = None) -> list[Document]:
    """Read config files; `secrets` as of load_config. Raises ConfigError where one can't be read, or is no YAML with
    keys and values."""
    return [_document(_read(path), str(path), secrets) for path in paths]


def config_of(documents: Sequence[Document]) -> Config:
    """Merge and check config files, in their order. Raises ConfigError."""
    values: Any = {}
    for document in documents:
        values = merge(values, document.values, Config, SHORT_FORMS)
    # Before they are checked: also what is said of a wrong value hides them.
    _remember_secrets(values)
    try:
        return convert(values, Config, SHORT_FORMS)
    except WrongValueError as error:
        raise ConfigError(f"{_where(documents, error)}: {error}") from error


def _remember_secrets(values: object) -> None:
    """Hide the addresses and secrets of a config in all that this process says from now on."""
    items = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        if not isinstance(value, str):
            _remember_secrets(value)
        elif key in SECRETS:
            remember_secret(value, LEAST_VALUE)
        elif key == "url":
            remember_address(value)


def origin_of(documents: Sequence[Document], place: Sequence[str]) -> str | None:
    """The file and line that a value comes from, "FILE, line N"; None for a default."""
    for document in documents[::-1]:
        depth, node, where = document.find(place)
        if depth == len(place) or (depth and not isinstance(node, yaml.MappingNode)):  # a short form
            return where
    return None


def read_config(data: bytes, origin: str) -> Config:
    """Parse the bytes of a config file; raises ConfigError, which names `origin`."""
    return config_of([_document(data, origin)])


def check_config(values: object, origin: str, *, expanding: bool = True) -> Config:
    """Check values from YAML; raises ConfigError, which names `origin`.

    Args:
        expanding: whether placeholders are replaced, which reads variables and files of this machine.
    """
    return config_of([_checked_document(values, origin, None, expanding=expanding)])


def _where(documents: Sequence[Document], error: WrongValueError) -> str:
    """The file and line that an error is about; all files where it is about none of their keys alone."""
    place = error.place if error.key is None else (*error.place, error.key)
    found = [document.find(place) for document in documents]
    deepest = max((depth for depth, _, _ in found), default=0)
    nearest = [(node, where) for depth, node, where in found if depth == deepest]
    if deepest and not isinstance(nearest[-1][0], yaml.MappingNode):
        return nearest[-1][1]
    return " and ".join(where for _, where in nearest) or "config"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no config file {path}") from error
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}") from error


def _document(data: bytes, origin: str, secrets: set[Path] | None = None) -> Document:
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{origin} is larger than a config file may be ({MAX_BYTES >> 10} KiB)")
    try:
        root, values = _parse(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{origin} is no text in UTF-8") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML: {_yaml_place(error)}") from error
    except RecursionError as error:
        raise ConfigError(f"{origin} nests too deeply") from error
    except Exception as error:  # PyYAML's own conversions raise as they like: "2001-99-99" a ValueError
        raise ConfigError(f"{origin} holds a value that looks like a number or a date and is none: quote it") from error
    return _checked_document({} if values is None else values, origin, root, secrets=secrets)


def _parse(text: str) -> tuple[yaml.Node | None, object]:
    """The nodes of a document, and its values; as yaml.safe_load, which forgets the nodes."""
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        return root, loader.construct_document(root) if root is not None else None
    finally:
        loader.dispose()


def _twice(root: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Keys that stand twice in one section, with the line of the later one: YAML forbids them, its reader does not."""
    left: list[yaml.Node | None] = [root]
    seen: set[int] = set()
    while left:
        node = left.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            left += node.value
            continue
        names = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
                if key.value in names:
                    yield key.start_mark.line + 1, key.value
                names.add(key.value)
            left.append(value)


# Keys of older versions by section: accepted, without effect, and answered with a sentence.
OBSOLETE = {
    ("face", "tiles"): "the detector looks at the whole frame at the size that 'face.min_size' needs; delete the line"
}


def _checked_document(
    values: object, origin: str, root: yaml.Node | None, *, expanding: bool = True, secrets: set[Path] | None = None
) -> Document:
    """Obsolete keys are logged as a warning and left out, placeholders replaced. Raises ConfigError."""
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} must hold keys and values, not a {type(values).__name__}")
    document = Document(origin, values, root)
    for line, key in _twice(root):
        log.warning("%s, line %d: '%s' stands there twice: this one counts, the one above is lost", origin, line, key)
    for (section, key), sentence in OBSOLETE.items():
        held = values.get(section)
        if isinstance(held, dict) and key in held:
            log.warning("%s: '%s.%s' is no longer used: %s", origin, section, key, sentence)
            values = {**values, section: {name: value for name, value in held.items() if name != key}}
    try:
        expanded = expand(values, files=secrets) if expanding else values
    except WrongValueError as error:
        raise ConfigError(f"{_where([document], error)}: {error}") from error
    assert isinstance(expanded, dict)
    return Document(origin, expanded, root)


_REPEATED = re.compile(r" '[^'<][^']+'")


def _yaml_place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    # A password that begins with * & ! or % is taken for a word of YAML, and repeated.
    plain = _REPEATED.sub("", problem)
    problem = plain if plain == problem else f"{plain} (text that begins with * & ! % or @ must be in quotes)"
    return f"{problem} in line {mark.line + 1}, column {mark.column + 1}" if mark else problem
