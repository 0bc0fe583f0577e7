"""Sound whose rate may change from one visitor to the next → sound of one rate."""

from __future__ import annotations

from typing import cast

import numpy as np
import soxr
from numpy.typing import NDArray

NANO = 1_000_000_000


class SteadyRate:
    """Resamples the pieces of one sender's sound to 48 kHz; what is of that rate already passes as it is.

    Attributes:
        hertz: the rate of all that comes out.
    """

    hertz = 48_000

    def __init__(self) -> None:
        self._stream: soxr.ResampleStream | None = None
        self._rate = 0
        self._next = 0
        self._fed = self._given = 0

    def __call__(self, samples: NDArray[np.float32], rate: int, position: int) -> tuple[NDArray[np.float32], int]:
        """One piece: float32 [n] at `rate`, whose first sample has the number `position`.

        Returns float32 [m] at 48 kHz, and how many ns before the piece's own beginning it begins: the resampler
        holds a few milliseconds back. Where samples are missing before the piece, it begins anew.
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
