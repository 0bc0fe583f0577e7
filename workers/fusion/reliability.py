"""How much a face or a stretch of speech is worth, 0…1. Scales the weights of fusion."""

from __future__ import annotations

import math


def unit(value: float) -> float:
    """`value` held inside 0…1; what is no number counts as 0."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def of_face(score: float, sharpness: float) -> float:
    """Detection score × sharpness of the crop."""
    return unit(score) * unit(sharpness)


def of_speech(voice: float, freshness: float) -> float:
    """Share of voice in the newest hop × freshness."""
    return unit(voice) * unit(freshness)


def freshness(age_ns: int, usual_age_ns: int, max_age_ns: int) -> float:
    """1 up to the age at which the next hop is due, then falling linearly to 0 over `max_age_ns`."""
    return unit(1.0 - (age_ns - usual_age_ns) / max_age_ns)
