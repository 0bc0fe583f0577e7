"""Valence and arousal derived from the probabilities of emotions, by their places in the circumplex of affect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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
    """The mean place of the emotions, weighted by their probabilities; None where none of them has a place."""
    known = {emotion: share for emotion, share in probabilities.items() if emotion in CIRCUMPLEX}
    total = sum(known.values())
    if not total > 0:
        return None
    valence = sum(share * CIRCUMPLEX[emotion][0] for emotion, share in known.items()) / total
    arousal = sum(share * CIRCUMPLEX[emotion][1] for emotion, share in known.items()) / total
    return Affect(valence, arousal)
