"""How much may come in a time: an allowance that refills evenly and holds a few seconds' worth. Pure."""

from __future__ import annotations


class Allowance:
    """A token bucket: `rate` a second, and `burst_s` seconds' worth at once after a pause.

    A network that stumbles delivers late and then all at once; that is no offence, so the burst is generous.
    """

    def __init__(self, rate: float, burst_s: float, now_s: float) -> None:
        self._rate, self._most = rate, rate * burst_s
        self._left, self._at_s = self._most, now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Whether so much may come now; if not, nothing is taken."""
        self._left = min(self._most, self._left + self._rate * max(0.0, now_s - self._at_s))
        self._at_s = max(self._at_s, now_s)
        if amount > self._left:
            return False
        self._left -= amount
        return True
