"""The set of emotions that results are about, its order, and the mapping of foreign label sets to it.

Every place that names emotions takes them from an EmotionSet: by default the seven. A foreign class either means one of
the set, or one of its further categories (contempt, boredom …), or lies outside both: its probability mass is then left
out. The emotions are renormalised to a sum of 1; a category keeps its share of all the model's classes. An emotion that
a label set lacks is an abstention, never a zero: it is absent from every mapping returned here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bimodal.models.errors import ArtifactError, LabelError

# Most processes need the names only, and numpy is slow to load.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMOTIONS: tuple[str, ...] = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
"""The seven emotions of the default set."""

OTHER = "other"
"""The label of a class that is left out."""
OUTSIDE = frozenset({"contempt", "unknown", OTHER, "others", "none", "nf", "not-a-face", "oth"})

_WORDS = {
    "neutral": "neutral neutrality neu ne calm calmness no_emotion",
    "happy": "happy happiness joy joyful hap ha happily",
    "sad": "sad sadness sa sorrow",
    "surprise": "surprise surprised surprising sur su ps pleasant_surprise pleasant_surprised pleasantly_surprised",
    "fear": "fear fearful afraid scared fea fe",
    "disgust": "disgust disgusted disgusting dis di",
    "anger": "anger angry ang an mad",
}
SYNONYMS: Mapping[str, str] = {word: emotion for emotion, words in _WORDS.items() for word in words.split()}
"""Words that data sets and models use, abbreviations of JAFFE, CREMA-D, IEMOCAP and TESS among them → emotion."""

_FURTHER_WORDS = {
    "contempt": "contempt contemptuous con",
    "calm": "calm calmness relaxed",
    "boredom": "boredom bored boring bor",
    "excitement": "excitement excited exc",
    "frustration": "frustration frustrated fru",
    "pain": "pain painful",
    "engagement": "engagement engaged",
    "confusion": "confusion confused",
    "amusement": "amusement amused",
    "interest": "interest interested",
    "tiredness": "tiredness tired fatigue sleepiness sleepy",
}
FURTHER: Mapping[str, str] = {word: name for name, words in _FURTHER_WORDS.items() for word in words.split()}
"""Words of one meaning beyond the seven, so that "bored" of one model and "boredom" of another meet."""

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
"""Form of a name in a set: it becomes part of a column's name, and a class of the page."""
RESERVED = frozenset({
    "unknown", OTHER, "none", "speaks", "blink", "shot", "label", "confidence", "voice", "because", "age_ms", "snr_db",
    "bandwidth_hz", "clipped", "doubts", "valence", "arousal", "dominance", "worth",
})  # fmt: skip
"""Names that results, or tables for training, use for something else."""
FURTHER_PREFIX = f"{OTHER}_"
"""Beginning of no emotion's name: the columns of further categories have it behind what the emotions' begin with."""
MOST = 32
"""Most emotions of a set, and most categories."""

FURTHER_COLOURS: tuple[str, ...] = tuple(f"hue{number}" for number in range(1, 9))
"""Names of the colours beyond those of the seven; page, report and plot say what each looks like."""


def _word(label: str) -> str:
    return label.strip().lower().replace(" ", "_").replace("-", "_")


def _meaning(word: str) -> str:
    return FURTHER.get(word) or SYNONYMS.get(word) or word


class EmotionSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What results are about.

    Attributes:
        emotions: in their order: probabilities over them sum to 1, and labels are of them.
        categories: further classes that count, each with its own probability under `other`.
        dominance: whether a speech model gives dominance beside valence and arousal.
    """

    emotions: tuple[str, ...] = EMOTIONS
    categories: tuple[str, ...] = ()
    dominance: bool = False

    @property
    def is_seven(self) -> bool:
        """True for the default emotions, in their order."""
        return self.emotions == EMOTIONS

    @property
    def words(self) -> str:
        """The emotions in words, for sentences."""
        return "the seven emotions" if self.is_seven else f"the emotions {', '.join(self.emotions)}"

    def meant_by(self, label: str, own: Sequence[str] = ()) -> str | None:
        """The emotion or category that a foreign label means, or None if it lies outside the set.

        Args:
            own: labels of a model's own that lie outside the seven.

        Raises LabelError for a word that is in no list, rather than guess.
        """
        word, names = _word(label), (*self.emotions, *self.categories)
        by_word = {_word(name): name for name in names}
        if word in by_word:
            return by_word[word]
        by_meaning = {_meaning(_word(name)): name for name in names}
        if FURTHER.get(word) in by_meaning:
            return by_meaning[FURTHER[word]]
        if label in own:
            return None
        if SYNONYMS.get(word) in by_meaning:
            return by_meaning[SYNONYMS[word]]
        if word not in SYNONYMS and word not in OUTSIDE and word.replace("_", "-") not in OUTSIDE:
            raise LabelError(
                f"label '{label}' is none of the emotions bimodal knows; use one of {', '.join(self.emotions)}, a word "
                "that means one, or other to leave the class out"
            )
        return None

    def joined(self, other: EmotionSet) -> EmotionSet:
        """This set, followed by what only another one has."""
        emotions = (*self.emotions, *(name for name in other.emotions if name not in self.emotions))
        further = dict.fromkeys((*self.categories, *other.categories))
        return EmotionSet(
            emotions, tuple(name for name in further if name not in emotions), self.dominance or other.dominance
        )

    def colour_of(self, label: str) -> str:
        """The name of a label's colour: one of the seven has its own; others have, in turn, those of the seven that the
        set leaves free, then FURTHER_COLOURS. The first fifteen of a set differ."""
        if label in EMOTIONS:
            return label
        names = (*self.emotions, *self.categories)
        strangers = [name for name in names if name not in EMOTIONS]
        free = [*(name for name in EMOTIONS if name not in names), *FURTHER_COLOURS]
        return free[strangers.index(label) % len(free)] if label in strangers else free[0]


SEVEN = EmotionSet()
"""The default set."""


def wrong_names(emotions: Sequence[str], categories: Sequence[str] = ()) -> str | None:
    """Why names can't be a set, in one sentence; None where they can."""
    names = [*emotions, *categories]
    for name in names:
        if not NAME.fullmatch(name):
            return f"'{name[:40]}' can't name one: use small letters, digits, - and _, a letter first, 32 at most"
        if name in RESERVED or (name in emotions and name.startswith(FURTHER_PREFIX)):
            return f"'{name}' means something else in results; use another name"
    if not 2 <= len(emotions) <= MOST:
        return f"a set has 2 to {MOST} emotions, not {len(emotions)}"
    if len(categories) > MOST:
        return f"at most {MOST} categories count, not {len(categories)}"
    meanings: dict[str, str] = {}
    for name in names:
        twin = meanings.get(_meaning(_word(name)))
        if twin is not None:
            return f"'{name}' stands there twice" if twin == name else f"'{twin}' and '{name}' mean the same"
        meanings[_meaning(_word(name))] = name
    return None


def further_names(labels: Iterable[str], own: Sequence[str], emotions: Sequence[str]) -> list[str]:
    """Names of the categories that a model has beyond `emotions`: its own ones, and contempt."""
    chosen = EmotionSet(tuple(emotions))
    found: dict[str, None] = {}
    for label in labels:
        word = _word(label)
        if (label in own or FURTHER.get(word) == "contempt") and chosen.meant_by(label, own) is None:
            name = re.sub(r"[^a-z0-9_-]", "_", FURTHER.get(word, word)).strip("_")[:32]
            if NAME.fullmatch(name) and name not in RESERVED:
                found[name] = None
    return list(found)


def own_names(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that mean none of the seven: what an artifact declares as its own."""
    found = []
    for name in names:
        try:
            meant = SEVEN.meant_by(name)
        except LabelError:
            meant = None
        if meant is None:
            found.append(name)
    return tuple(found)


def emotion_of(label: str, categories: Sequence[str] = ()) -> str | None:
    """The one of the seven that a foreign label means, or None if it lies outside them.

    Args:
        categories: labels of a model's own that lie outside the seven.

    Raises LabelError for a word that is in no list, rather than guess.
    """
    return None if label in categories else SEVEN.meant_by(label)


# Probabilities over a set. `other` are shares of all classes, the emotions' sum to 1 among themselves.


def whole_of(probabilities: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """One distribution over emotions and categories."""
    rest = max(0.0, 1.0 - sum(other.values()))
    return {**{emotion: rest * value for emotion, value in probabilities.items()}, **other}


class Mapped(NamedTuple):
    """One row of a model over a set: emotions that it knows, with sum 1, and the shares of its further categories."""

    probabilities: dict[str, float]
    other: dict[str, float]


class LabelMap:
    """Maps a model's own classes to a set of emotions.

    Attributes:
        labels: the model's classes in output order.
        known: the emotions that the model knows, in the order of the set.
        further: the categories that it knows, in the order of the set.
    """

    def __init__(self, labels: Sequence[str], categories: Sequence[str] = (), emotions: EmotionSet = SEVEN) -> None:
        """`categories`: labels that are the model's own, none of the seven. Raises LabelError where none is known."""
        targets = [emotions.meant_by(label, categories) for label in labels]
        self.labels = tuple(labels)
        self.known = tuple(emotion for emotion in emotions.emotions if emotion in targets)
        self.further = tuple(name for name in emotions.categories if name in targets)
        if not self.known:
            raise LabelError(f"none of the labels {', '.join(labels)} is one of {emotions.words}")
        self._targets = targets

    def apply(self, probabilities: NDArray[np.floating]) -> list[dict[str, float]]:
        """Map float [N, C] rows that sum to 1 to one mapping over `known` per row, each with sum 1.

        A row whose whole mass lies outside the emotions becomes the uniform distribution: the model found no known
        emotion, and gives no hint which it might be.
        """
        return [self._mapped(row).probabilities for row in probabilities.tolist()]

    def split(self, probabilities: NDArray[np.floating]) -> list[Mapped]:
        """The same, with the shares of the further categories."""
        return [self._mapped(row) for row in probabilities.tolist()]

    def _mapped(self, row: list[float]) -> Mapped:
        masses = dict.fromkeys(self.known, 0.0)
        other = dict.fromkeys(self.further, 0.0)
        for target, mass in zip(self._targets, row, strict=True):
            if target in masses:
                masses[target] += mass
            elif target in other:
                other[target] += mass
        total = sum(masses.values())
        if not math.isfinite(total):
            raise ArtifactError("a model answered with something that is no probability")
        if total <= 1e-9:
            return Mapped(dict.fromkeys(self.known, 1.0 / len(self.known)), other)
        for emotion in masses:
            masses[emotion] /= total
        return Mapped(masses, other)
