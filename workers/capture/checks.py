"""Checks of what a source delivers: a live picture that stands still, a file that is cut off. No sockets.

A real camera's picture is never the same twice: even a covered lens gives noise. So two equal pictures mean that the
source hangs (or has no noise, such as a screen: then the sentence is true and harmless).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.messages import Modality
from bimodal.workers.capture.types import SourceInfo

# Length of a file against its header.

# Picture and sound of a file may be shorter than its header says, or than each other, by this much without a report.
UNEVEN_NS = 1_000_000_000
NANO = 1_000_000_000


def uneven(info: SourceInfo, ends_ns: Mapping[Modality, int], frames: int, *, all_read: bool) -> str | None:
    """Report a file that is cut off, or whose picture and sound differ by more than a second, in a sentence; else None.

    Args:
        ends_ns: `pts_ns` of the last picture and of the end of the last sound, if there were any.
        frames: number of pictures read.
        all_read: True if the file was read to its end.
    """
    if not ends_ns:
        return None
    end_ns, promised_ns = max(ends_ns.values()), info.promised_ns or 0
    # A last picture that is shown for long ends early too; then the number of pictures is as estimated.
    fewer = info.frames_estimate is None or frames < info.frames_estimate
    if all_read and fewer and promised_ns - end_ns > UNEVEN_NS:
        return f"it is cut off: of {promised_ns / NANO:.1f} s, {end_ns / NANO:.1f} s are there"
    if len(ends_ns) == 2 and abs(ends_ns["face"] - ends_ns["speech"]) > UNEVEN_NS:
        longer_s = (ends_ns["speech"] - ends_ns["face"]) / NANO
        first, then = ("picture", "sound") if longer_s > 0 else ("sound", "picture")
        return f"its {first} ends {abs(longer_s):.1f} s before its {then}"
    return None


AFTER_S = 5.0
LOOK_EVERY_S = 0.5
ROWS = 8


class Stillness:
    """Detects a live picture that froze or stays away.

    Twice a second it compares a few rows of a picture, and all of it only if those have not changed. One thread calls
    `check`, another may call `sentence`.
    """

    def __init__(self, now_ns: int, after_s: float = AFTER_S) -> None:
        """
        Args:
            now_ns: time of the monotonic clock from which on pictures are expected.
            after_s: seconds for which the picture may be absent or unchanged.
        """
        self._after_ns = round(after_s * NANO)
        self._seen_ns = self._changed_ns = now_ns
        self._due_ns = 0
        self._rows: int | None = None
        self._whole: int | None = None

    def check(self, pixels: NDArray[np.uint8], now_ns: int) -> None:
        """Check a new picture: uint8 [H, W, 3], C-contiguous."""
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
        """Describe what is wrong with the picture now; None if nothing is."""
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
