"""Blinks of a track: short dips of the opening of its eyes below how far they are usually open."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

NS_PER_MS = 1_000_000
LOWER, RISE_S, FALL_S = 0.78, 0.5, 4.0
"""A dip goes below this share of the usual opening, whose average follows wider eyes and narrower ones at these time
constants. On GRID and MEAD clips at 25 and 30 frames a second blinks go down to 0.5…0.75 of it, smiles to 0.81."""
CLOSED = 0.6
"""Below this share of the usual opening the eyes count as closed."""
LONGEST_MS = 500.0
"""A longer dip is no blink: closed eyes, or a look down."""
LARGEST_STEP_MS = 150.0
"""With frames further apart, blinks fall between them: nothing is said."""


class EyesState(NamedTuple):
    """The eyes in one frame: closed or not, and the duration of a blink that ended with it, in milliseconds."""

    closed: bool | None = None
    blink_ms: float | None = None


class BlinkFinder:
    """Follows the opening of the eyes of one track; frames are given in order."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._seen: deque[tuple[int, float]] = deque()
        self._lowest: float | None = None
        self._recovered = False

    def update(self, pts_ns: int, opening: float | None) -> EyesState:
        """Take the mean opening of both eyes in a frame; None where it is not known."""
        last_ns = self._seen[-1][0] if self._seen else pts_ns
        step_ms = (pts_ns - last_ns) / NS_PER_MS
        if opening is None or not math.isfinite(opening) or step_ms > LARGEST_STEP_MS:
            self._seen.clear()
            self._lowest = None
        if opening is None or not math.isfinite(opening):
            return EyesState()
        self._seen.append((pts_ns, opening))
        while pts_ns - self._seen[0][0] > 2 * LONGEST_MS * NS_PER_MS:
            self._seen.popleft()
        usual = self._usual if self._usual is not None else opening
        blink_ms = self._dip(opening, usual)
        if self._lowest is None:
            constant_s = RISE_S if opening > usual else FALL_S
            usual += (opening - usual) * -math.expm1(-max(0.0, step_ms) / 1000 / constant_s)
        self._usual = usual
        return EyesState(opening < CLOSED * usual, blink_ms)

    def _dip(self, opening: float, usual: float) -> float | None:
        """Follow a dip; returns its duration at half its depth where it ends as a blink."""
        if self._lowest is None:
            # A dip begins once, from open eyes.
            self._lowest = opening if opening < LOWER * usual and self._recovered else None
            self._recovered = opening >= LOWER * usual
            return None
        self._lowest = min(self._lowest, opening)
        half = (usual + self._lowest) / 2
        begun_ns = self._begun(half)
        lasted_ms = (self._seen[-1][0] - begun_ns) / NS_PER_MS if begun_ns is not None else math.inf
        if opening > half:
            self._lowest = None
            lasted_ms -= self._beyond_ms(half)
            return lasted_ms if lasted_ms <= LONGEST_MS else None
        if lasted_ms > LONGEST_MS:
            self._lowest = None
        return None

    def _begun(self, half: float) -> float | None:
        """When the opening sank below `half` last, between two frames; None where that was not seen."""
        seen = list(self._seen)
        below = next((place for place in range(len(seen) - 1, -1, -1) if seen[place][1] <= half), None)
        if below is None:
            return None
        while below > 0 and seen[below - 1][1] <= half:
            below -= 1
        return _crossing(seen[below - 1], seen[below], half) if below > 0 else None

    def _beyond_ms(self, half: float) -> float:
        """How long before the newest frame the opening rose above `half`."""
        before, now = self._seen[-2], self._seen[-1]
        return (now[0] - _crossing(before, now, half)) / NS_PER_MS


def _crossing(before: tuple[int, float], after: tuple[int, float], level: float) -> float:
    """The time at which a line through two samples meets `level`."""
    if before[1] == after[1]:
        return float(after[0])
    share = min(1.0, max(0.0, (level - before[1]) / (after[1] - before[1])))
    return before[0] + share * (after[0] - before[0])
