"""Doubt: how much less an answer is worth, and how much less sure it should be, where little can be made out.

A face or a voice has measures of how well it can be seen or heard. Each row of a table says from which value on a
measure matters, where it is at its worst, and what it costs there; in between the cost grows in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bimodal.models.emotions import whole_of

REASON_FROM = 0.5
"""Share of the way from `clear` to `worst` from which on a doubt is put into words."""


class Doubt(NamedTuple):
    """What one measure means.

    Attributes:
        measure: its name.
        reason: in words.
        clear: value from which it costs nothing.
        worst: value at which it costs most; below `clear` where little of it is bad, above it where much is.
        temperature: of the answer at its worst, 1 or more (Guo et al. 2017, arXiv:1706.04599).
        kept: reliability left at its worst, 0…1.
    """

    measure: str
    reason: str
    clear: float
    worst: float
    temperature: float
    kept: float


class Doubts(NamedTuple):
    """What all measures of a face or a voice together mean.

    Attributes:
        reasons: in words, in the order of the table; empty for a clear one.
        temperature: by which its answer is flattened, 1 for a clear one.
        reliability: factor of its reliability, 0…1.
    """

    reasons: tuple[str, ...] = ()
    temperature: float = 1.0
    reliability: float = 1.0


FACE: tuple[Doubt, ...] = (
    Doubt("size", "face is small", clear=48.0, worst=16.0, temperature=1.0, kept=0.65),
    Doubt("sharpness", "face is blurred", clear=0.7, worst=0.45, temperature=1.0, kept=0.8),
    Doubt("light", "face is dark", clear=0.18, worst=0.04, temperature=1.0, kept=0.75),
    Doubt("eyes_seen", "eyes are covered", clear=0.8, worst=0.4, temperature=1.0, kept=0.7),
    Doubt("mouth_seen", "mouth is covered", clear=0.8, worst=0.3, temperature=1.0, kept=0.45),
)
"""Of a face; `size` is the longer side of its box in pixels of the frame that was looked at.

Fitted on FER2013's `valid` under the conditions of `bimodal evaluate face --conditions` (docs/fusion.md). No face needs
a temperature: face-robust is less sure of such faces by itself.
"""

VOICE: tuple[Doubt, ...] = (
    Doubt("snr_db", "voice is noisy", clear=26.0, worst=8.0, temperature=2.0, kept=0.4),
    Doubt("bandwidth_hz", "voice is narrow-band (telephone)", clear=6000.0, worst=4000.0, temperature=1.5, kept=0.5),
    Doubt("clipped", "voice is clipped", clear=0.002, worst=0.02, temperature=1.0, kept=0.75),
)
"""Of a voice; fitted on speakers that were left out, under simulated conditions (docs/fusion.md)."""

SAID_ALREADY = {"sharpness": ("size", "eyes_seen", "mouth_seen")}
"""A small face has few details, and so has what covers one: these reasons take the place of blur."""


def face_doubts(
    box: Sequence[float],
    sharpness: float | None,
    light: float | None,
    eyes_seen: float | None,
    mouth_seen: float | None,
) -> Doubts:
    """Judge a face: its box (x, y, width, height) in pixels of the frame, its measures (models/faces/quality.py)."""
    measures = {
        "size": max(box[2:4]),
        "sharpness": sharpness,
        "light": light,
        "eyes_seen": eyes_seen,
        "mouth_seen": mouth_seen,
    }
    return doubts_of(measures, FACE)


def voice_doubts(snr_db: float | None, bandwidth_hz: float | None, clipped: float | None) -> Doubts:
    """Judge a voice by the measures of models/sound_quality.py."""
    return doubts_of({"snr_db": snr_db, "bandwidth_hz": bandwidth_hz, "clipped": clipped}, VOICE)


def doubts_of(measures: Mapping[str, float | None], table: Sequence[Doubt]) -> Doubts:
    """Judge measures by name; one that is None, missing, or no number costs nothing."""
    temperature = reliability = 1.0
    found: dict[str, str] = {}
    for row in table:
        share = share_of(measures.get(row.measure), row)
        if share <= 0:
            continue
        temperature *= row.temperature**share
        reliability *= 1.0 - (1.0 - row.kept) * share
        if share >= REASON_FROM:
            found[row.measure] = row.reason
    if not found:
        return Doubts((), temperature, reliability)
    reasons = (reason for name, reason in found.items() if not found.keys() & SAID_ALREADY.get(name, ()))
    return Doubts(tuple(reasons), temperature, reliability)


def share_of(value: float | None, row: Doubt) -> float:
    """How far a value is from clear (0) to worst (1)."""
    if value is None:
        return 0.0
    share = (value - row.clear) / (row.worst - row.clear)
    if share <= 0 or not math.isfinite(value):
        return 0.0
    return min(1.0, share)


def flattened(probabilities: Mapping[str, float], temperature: float) -> dict[str, float]:
    """Probabilities ∝ p^(1 / temperature): the order stays, the confidence falls towards equal shares."""
    if temperature == 1.0:
        return dict(probabilities)
    highest = max(probabilities.values())
    if highest <= 0:
        return dict(probabilities)
    raised = {name: (value / highest) ** (1.0 / temperature) for name, value in probabilities.items()}
    total = math.fsum(raised.values())
    return {name: value / total for name, value in raised.items()}


def other_flattened(
    probabilities: Mapping[str, float], other: Mapping[str, float], temperature: float
) -> dict[str, float]:
    """The shares of further categories where the whole answer, emotions and categories, is flattened."""
    if not other or temperature == 1.0:
        return dict(other)
    whole = flattened(whole_of(probabilities, other), temperature)
    return {name: whole[name] for name in other}
