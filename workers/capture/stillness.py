"""Notices a live picture that stands still: a camera that froze, a server that repeats its last frame. No sockets.

A real camera's picture is never the same twice: even a covered lens gives noise. So two equal pictures tell of a
source that hangs (or of one without noise, such as a screen: then the sentence is true and does no harm).
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

NANO = 1_000_000_000
AFTER_S = 5.0
LOOK_EVERY_S = 0.5
ROWS = 8


class Stillness:
    """Looks at a picture twice a second: at a few of its rows, and at all of it only where those have not changed.

    One thread calls `look`, another may call `sentence`.
    """

    def __init__(self, now_ns: int, after_s: float = AFTER_S) -> None:
        """
        Args:
            now_ns: the monotonic clock; pictures are expected from now on.
            after_s: how long a picture may be absent, or the same.
        """
        self._after_ns = round(after_s * NANO)
        self._seen_ns = self._changed_ns = now_ns
        self._due_ns = 0
        self._rows: int | None = None
        self._whole: int | None = None

    def look(self, pixels: NDArray[np.uint8], now_ns: int) -> None:
        """A picture came: uint8 [H, W, 3], C-contiguous."""
        away = now_ns - self._seen_ns > self._after_ns
        self._seen_ns = now_ns
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + round(LOOK_EVERY_S * NANO)
        rows = _checksum_of_rows(pixels)
        if rows != self._rows or away:
            self._rows, self._whole, self._changed_ns = rows, None, now_ns
            return
        whole = zlib.crc32(pixels.data)
        if self._whole is not None and whole != self._whole:
            self._changed_ns = now_ns
        self._whole = whole

    def sentence(self, now_ns: int) -> str | None:
        """What is wrong with the picture at this moment, else None."""
        absent_ns, still_ns = now_ns - self._seen_ns, now_ns - self._changed_ns
        if absent_ns > self._after_ns:
            return f"no picture has come for {absent_ns // NANO} s"
        if still_ns > self._after_ns:
            return f"the picture has not changed for {still_ns // NANO} s"
        return None


def _checksum_of_rows(pixels: NDArray[np.uint8]) -> int:
    height = pixels.shape[0]
    checksum = zlib.crc32(repr(pixels.shape).encode())
    for number in range(ROWS):
        checksum = zlib.crc32(pixels[(2 * number + 1) * height // (2 * ROWS)].data, checksum)
    return checksum
