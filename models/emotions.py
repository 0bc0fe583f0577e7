"""The seven emotions, their order, and the mapping of foreign label sets to them.

A foreign class either means one of the seven or lies outside them (contempt): its probability mass is then
left out and the rest renormalised. An emotion that a label set lacks is an abstention, never a zero: it is absent
from every mapping returned here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bimodal.models.errors import LabelError

# Most processes need the names only, and numpy is slow to load.
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMOTIONS: tuple[str, ...] = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")

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


def emotion_of(label: str, categories: Sequence[str] = ()) -> str | None:
    """The emotion that a foreign label means, or None if it lies outside the seven.

    Args:
        categories: labels of a model's own that lie outside the seven.

    Raises LabelError for a word that is in no list, rather than guess.
    """
    if label in categories:
        return None
    word = label.strip().lower().replace(" ", "_").replace("-", "_")
    if word in OUTSIDE or word.replace("_", "-") in OUTSIDE:
        return None
    if word not in SYNONYMS:
        raise LabelError(
            f"label '{label}' is none of the emotions bimodal knows; use one of {', '.join(EMOTIONS)}, a word that "
            "means "
            "one, or other to leave the class out"
        )
    return SYNONYMS[word]


class LabelMap:
    """Maps a model's own classes to the seven emotions.

    Attributes:
        labels: the model's classes in output order.
        known: the emotions that the model knows, in the order of EMOTIONS.
    """

    def __init__(self, labels: Sequence[str], categories: Sequence[str] = ()) -> None:
        targets = [emotion_of(label, categories) for label in labels]
        self.labels = tuple(labels)
        self.known = tuple(emotion for emotion in EMOTIONS if emotion in targets)
        if not self.known:
            raise LabelError(f"none of the labels {', '.join(labels)} is one of the seven emotions")
        self._targets = targets

    def apply(self, probabilities: NDArray[np.floating]) -> list[dict[str, float]]:
        """Map float [N, C] rows that sum to 1 to one mapping over `known` per row, each with sum 1.

        A row whose whole mass lies outside the seven becomes the uniform distribution: the model found no known
        emotion, and gives no hint which it might be.
        """
        return [self._mapped(row) for row in probabilities.tolist()]

    def _mapped(self, row: list[float]) -> dict[str, float]:
        masses = dict.fromkeys(self.known, 0.0)
        for target, mass in zip(self._targets, row, strict=True):
            if target is not None:
                masses[target] += mass
        total = sum(masses.values())
        if not total > 1e-9:
            return dict.fromkeys(self.known, 1.0 / len(self.known))
        for emotion in masses:
            masses[emotion] /= total
        return masses
