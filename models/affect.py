"""Valence and arousal derived from the probabilities of emotions, by their places in the circumplex of affect."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from bimodal.models.emotions import FURTHER, SYNONYMS

# Mean pleasure and arousal that people gave these words: J. A. Russell and A. Mehrabian, "Evidence for a three-factor
# theory of emotions", Journal of Research in Personality 11 (1977), 273-294, table of 151 terms: happy, sad,
# surprised, fearful, disgusted, angry. Neutral is the origin.
CIRCUMPLEX: Mapping[str, tuple[float, float]] = {
    "neutral": (0.0, 0.0),
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "fear": (-0.64, 0.60),
    "disgust": (-0.60, 0.35),
    "anger": (-0.51, 0.59),
}


class Affect(NamedTuple):
    """Valence (unpleasant to pleasant) and arousal (calm to excited), −1…1 each."""

    valence: float
    arousal: float


def derived(probabilities: Mapping[str, float]) -> Affect | None:
    """The mean place of the emotions, weighted by their probabilities; None where less than half of them has a place,
    as in a set of one's own."""
    known = [(share, place) for emotion, share in probabilities.items() if (place := _place(emotion)) is not None]
    total = sum([share for share, _ in known])
    if not total > 0 or (len(known) < len(probabilities) and total < sum(probabilities.values()) / 2):
        return None
    valence = sum([share * place[0] for share, place in known]) / total
    arousal = sum([share * place[1] for share, place in known]) / total
    return Affect(valence, arousal)


@lru_cache(maxsize=256)
def _place(emotion: str) -> tuple[float, float] | None:
    """The place of an emotion, or of the one of the seven that it means (joy); None for any other."""
    return None if emotion in FURTHER else CIRCUMPLEX.get(SYNONYMS.get(emotion, emotion))
