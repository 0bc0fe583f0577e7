"""Exponential back-off: waiting times before retries, with a limit."""

from __future__ import annotations


class BackOff:
    """A schedule of waiting times in seconds: `first_s`, then `factor` times the last, never more than `most_s`."""

    def __init__(self, first_s: float = 0.5, most_s: float = 30.0, factor: float = 2.0) -> None:
        """Raises ValueError unless 0 < first_s ≤ most_s and factor ≥ 1."""
        if not 0 < first_s <= most_s or factor < 1:
            raise ValueError("a back-off needs 0 < first_s <= most_s and factor >= 1")
        self._first_s, self._most_s, self._factor = first_s, most_s, factor
        self._next_s = first_s

    def next(self) -> float:
        """Seconds to wait before this try."""
        wait_s = self._next_s
        self._next_s = min(self._most_s, wait_s * self._factor)
        return wait_s

    def reset(self) -> None:
        """Begin with `first_s` again, after a success."""
        self._next_s = self._first_s
