"""Messages of a visitor's browser, parsed and checked before anything else touches them. Pure.

One WebSocket message is a header of 32 bytes, little-endian, and the data:

    0   2 bytes   "bv"
    2   uint8     version of this layout: 1
    3   uint8     1: a picture (JPEG), 2: sound (int16 samples, mono)
    4   uint32    samples a second; 0 of a picture
    8   float64   ms: when it was captured (of sound: its first sample)
    16  float64   ms: when it was sent; both on the browser's own clock, performance.now()
    24  uint64    of a picture its number, of sound the number of its first sample
"""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from bimodal.broker.visitors import MediaKind
from bimodal.workers.errors import WorkerError
from bimodal.workers.view.settings import VisitorSettings

HEADER = struct.Struct("<2sBBIddQ")
MAGIC, VERSION = b"bv", 1
KINDS: dict[int, MediaKind] = {1: "picture", 2: "sound"}

# Codes of WebSocket closes: 44xx as the HTTP answers of the same number, 4400 a message that makes no sense.
BAD, WRONG_TOKEN, NO_SUCH_STREAM, SILENT, TAKEN, TOO_LARGE, TOO_MUCH = 4400, 4401, 4404, 4408, 4409, 4413, 4429

RATES = range(8_000, 192_001)
MOST_SOUND_S = 1.0
# What may lie between capture and sending; a clock that is read in between does not go back by more.
MOST_LATE_MS, MOST_EARLY_MS = 10_000.0, 1_000.0
MOST_MS = 2.0**53 / 1e6
MOST_POSITION = 2**53
MOST_SCANS = 4

_BASELINE = {0xC0, 0xC1}
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_START_OF_SCAN = 0xDA


class VisitorRefusedError(WorkerError):
    """A visit can't begin or go on; carries the code and the reason that its WebSocket is closed with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class VisitorMessage(NamedTuple):
    """One picture or piece of sound; times in ns of the browser's clock, fields as in `broker.visitors.Media`."""

    kind: MediaKind
    captured_ns: int
    sent_ns: int
    position: int
    rate: int
    data: bytes


def read(message: bytes, limits: VisitorSettings) -> VisitorMessage:
    """Parse one message; raises VisitorRefusedError where it is invalid or too large."""
    if len(message) > HEADER.size + limits.max_picture_kbytes * 1000:
        raise VisitorRefusedError(TOO_LARGE, f"a message may have {limits.max_picture_kbytes} kB")
    if len(message) <= HEADER.size:
        raise VisitorRefusedError(BAD, "a message without data")
    magic, version, kind, rate, captured_ms, sent_ms, position = HEADER.unpack_from(message)
    if magic != MAGIC or version != VERSION or kind not in KINDS:
        raise VisitorRefusedError(BAD, "this page is of another version; load it again")
    if not (math.isfinite(captured_ms) and math.isfinite(sent_ms) and 0 <= sent_ms <= MOST_MS):
        raise VisitorRefusedError(BAD, "times that are no times")
    if not -MOST_EARLY_MS <= sent_ms - captured_ms <= MOST_LATE_MS or position > MOST_POSITION:
        raise VisitorRefusedError(BAD, "captured long before or after it was sent")
    data = message[HEADER.size :]
    if KINDS[kind] == "picture":
        _check_picture(data, limits)
        rate = 0
    else:
        _check_sound(data, rate)
    return VisitorMessage(KINDS[kind], round(captured_ms * 1e6), round(sent_ms * 1e6), position, rate, data)


def _check_picture(jpeg: bytes, limits: VisitorSettings) -> None:
    width, height = jpeg_size(jpeg)
    if width > limits.max_width or height > limits.max_height:
        most = f"{limits.max_width} × {limits.max_height}"
        raise VisitorRefusedError(TOO_LARGE, f"a picture of {width} × {height}; it may have {most}")


def _check_sound(samples: bytes, rate: int) -> None:
    if rate not in RATES or len(samples) % 2 or len(samples) > 2 * rate * MOST_SOUND_S:
        raise VisitorRefusedError(BAD, "sound must be int16, 8 to 192 kHz, at most a second at once")


def jpeg_size(jpeg: bytes) -> tuple[int, int]:
    """(width, height) that the decoder will find, so that no picture makes it allocate gigabytes.

    Stricter than decoders, so that they can't find another size: nothing between the segments, baseline only, and few
    scans (browsers write baseline with one; thousands would keep a decoder busy).
    Raises VisitorRefusedError for anything else.
    """
    if jpeg[:2] != b"\xff\xd8":
        raise VisitorRefusedError(BAD, "a picture must be a JPEG")
    size = None
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN and size is not None and jpeg.count(b"\xff\xda", at) <= MOST_SCANS:
            return size
        if marker in _FRAMES:
            if marker not in _BASELINE or size is not None or at + 9 > len(jpeg):
                break
            size = int.from_bytes(jpeg[at + 7 : at + 9], "big"), int.from_bytes(jpeg[at + 5 : at + 7], "big")
            if 0 in size:
                break
        if marker < 0xC0 or 0xD0 <= marker <= 0xDA or marker == 0xFF or length < 2:
            break
        at += 2 + length
    raise VisitorRefusedError(BAD, "a picture must be a whole baseline JPEG")
