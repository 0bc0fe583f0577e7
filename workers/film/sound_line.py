"""Pieces of sound with time stamps → one unbroken line of samples. Pure."""

from __future__ import annotations

from typing import NamedTuple

NANO = 1_000_000_000
# As in capture's hops: what differs by less than one video frame is jitter, and sound is taken to go on.
TOLERANCE_NS = 40_000_000


class Placed(NamedTuple):
    """What to do with a piece: how much silence comes before it, and how many of its first samples are left out."""

    silence: int
    skipped: int


class SoundLine:
    """Counts samples from a fixed moment on, so that nothing drifts.

    Args:
        begin_ns: the moment of the first sample; sound before it is left out.
        rate: Hz.
    """

    def __init__(self, begin_ns: int, rate: int) -> None:
        self._begin_ns = begin_ns
        self._rate = rate
        self._count = 0

    @property
    def end_ns(self) -> int:
        """The moment after the last sample."""
        return self._begin_ns + self._count * NANO // self._rate

    def place(self, begin_ns: int, count: int) -> Placed:
        """The next piece, of `count` samples; a gap is filled with silence, an overlap is cut off the piece."""
        gap_ns = begin_ns - self.end_ns
        tolerated = TOLERANCE_NS if self._count else 0
        silence = gap_ns * self._rate // NANO if gap_ns > tolerated else 0
        skipped = min(count, -gap_ns * self._rate // NANO) if gap_ns < -tolerated else 0
        self._count += silence + count - skipped
        return Placed(silence, skipped)
