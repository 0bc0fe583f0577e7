"""Time stamps as containers give them → one strictly increasing line. Pure."""

from __future__ import annotations

STEP_NS = 1_000_000
LEAP_NS = 1_000_000_000


class Timeline:
    """Places items on the line, in the order in which they are shown.

    The rules:
    - an item without a time stamp goes where the one before it ends;
    - one that is not after the one before it goes `STEP_NS` (1 ms) after that;
    - one that lies more than `LEAP_NS` (1 s) before the one before it begins a new count (two files joined, an
      encoder restarted): it goes where the one before it ends, and all that follow are moved by as much;
    - the first goes not before 0.
    """

    def __init__(self) -> None:
        self._shift_ns = 0
        self._last_ns = -STEP_NS
        self._end_ns = 0

    def place(self, pts_ns: int | None, duration_ns: int) -> int:
        """The item's place; `duration_ns` is how long it lasts, as far as anyone knows."""
        placed = self._end_ns if pts_ns is None else pts_ns + self._shift_ns
        if pts_ns is not None and placed < self._last_ns - LEAP_NS:
            self._shift_ns = self._end_ns - pts_ns
            placed = self._end_ns
        placed = max(placed, self._last_ns + STEP_NS)
        self._last_ns = placed
        self._end_ns = placed + duration_ns
        return placed
