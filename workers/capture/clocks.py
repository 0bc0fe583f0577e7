"""Maps a source's own clock (its ADC, its time stamps) to the monotonic clock of this machine. Pure.

A reading of both clocks at once is late by whatever delayed the reading thread, never early. So the smallest of the
newest differences is the true one, and the map follows it slowly: crystals differ by some 0.01 %.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import numpy as np
import soxr
from numpy.typing import NDArray

FIRST_SLEW = 0.05


class ClockMap:
    """Maps times of one clock to another from noisy pairs of readings.

    The result follows the source's clock, stretched by at most 0.1 % (`slew`), and so keeps the distances between the
    source's samples. Only at first, while there are few readings, it moves faster (5 %).

    Attributes:
        leaps: number of jumps of the map, made when the source lost time without knowing it.
    """

    def __init__(
        self, *, readings: int = 64, slew: float = 1e-3, leap_ns: int | None = None, patience: int = 8
    ) -> None:
        """
        Args:
            readings: number of newest pairs of which the smallest difference counts.
            slew: greatest speed of the map, as a share of the source's time.
            leap_ns: a difference larger than this in each of the last `patience` pairs (or once, downwards, where
                lateness can't explain it) makes the map jump; None never jumps.
        """
        self._slew, self._leap_ns, self._patience = slew, leap_ns, patience
        self._differences: deque[int] = deque(maxlen=readings)
        self._offset_ns: int | None = None
        self._last_source_ns = 0
        self.leaps = 0

    def map(self, source_ns: int, measured_ns: int) -> int:
        """Map `source_ns` to the other clock, given that it was read there as `measured_ns`."""
        difference = measured_ns - source_ns
        self._differences.append(difference)
        if self._offset_ns is None:
            self._offset_ns = difference
        elif not self._leapt():
            slew = self._slew if len(self._differences) == self._differences.maxlen else FIRST_SLEW
            most = round(max(0, source_ns - self._last_source_ns) * slew)
            wanted = min(self._differences) - self._offset_ns
            self._offset_ns += max(-most, min(most, wanted))
        self._last_source_ns = source_ns
        return source_ns + self._offset_ns

    def _leapt(self) -> bool:
        if self._leap_ns is None or self._offset_ns is None:
            return False
        newest = list(self._differences)[-self._patience :]
        fell = newest[-1] - self._offset_ns < -self._leap_ns
        rose = len(newest) == self._patience and min(newest) - self._offset_ns > self._leap_ns
        if fell or rose:
            self._offset_ns = newest[-1] if fell else min(newest)
            self._differences.clear()
            self._differences.append(self._offset_ns)
            self.leaps += 1
        return fell or rose


# Sound at one rate, from senders of any rate.

NANO = 1_000_000_000


class SteadyRate:
    """Resamples the pieces of one sender's sound to 48 kHz; sound at that rate passes unchanged.

    Attributes:
        hertz: the output rate.
    """

    hertz = 48_000

    def __init__(self) -> None:
        self._stream: soxr.ResampleStream | None = None
        self._rate = 0
        self._next = 0
        self._fed = self._given = 0

    def __call__(self, samples: NDArray[np.float32], rate: int, position: int) -> tuple[NDArray[np.float32], int]:
        """Resample one piece, float32 [n] at `rate`, whose first sample has the number `position`.

        Returns float32 [m] at 48 kHz, and by how many ns it begins before the piece does: the resampler holds a few
        milliseconds back. If samples are missing before the piece, the resampler is reset.
        """
        if rate == self.hertz:
            return samples, 0
        if self._stream is None or rate != self._rate or position != self._next:
            self._stream, self._rate = soxr.ResampleStream(rate, self.hertz, 1, dtype="float32"), rate
            self._fed = self._given = 0
        self._next = position + samples.size
        held_ns = self._fed * NANO // rate - self._given * NANO // self.hertz
        steady = cast("NDArray[np.float32]", self._stream.resample_chunk(samples))
        self._fed += samples.size
        self._given += steady.size
        return steady, max(0, held_ns)
