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

OUTSIDE = frozenset({"contempt", "unknown", "other", "none", "nf", "not-a-face"})

SYNONYMS: Mapping[str, str] = {
    "neutral": "neutral",
    "neutrality": "neutral",
    "calm": "neutral",
    "happy": "happy",
    "happiness": "happy",
    "joy": "happy",
    "joyful": "happy",
    "hap": "happy",
    "sad": "sad",
    "sadness": "sad",
    "surprise": "surprise",
    "surprised": "surprise",
    "pleasant_surprise": "surprise",
    "ps": "surprise",
    "fear": "fear",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "disgust": "disgust",
    "disgusted": "disgust",
    "anger": "anger",
    "angry": "anger",
    "ang": "anger",
}


def emotion_of(label: str) -> str | None:
    """The emotion that a foreign label means, or None if it lies outside the seven.

    Raises LabelError for a word that is in neither list, rather than guess.
    """
    word = label.strip().lower().replace(" ", "_")
    if word in OUTSIDE:
        return None
    if word not in SYNONYMS:
        raise LabelError(
            f"label '{label}' is none of the emotions bimodal knows; "
            f"use one of {', '.join(EMOTIONS)} or a synonym of them"
        )
    return SYNONYMS[word]


class LabelMap:
    """Maps a model's own classes to the seven emotions.

    Attributes:
        labels: the model's classes in output order.
        known: the emotions that the model knows, in the order of EMOTIONS.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        targets = [emotion_of(label) for label in labels]
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
