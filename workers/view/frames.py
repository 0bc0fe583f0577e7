"""A frame and its event as one binary message, encoded once for all pages. Pure."""

from __future__ import annotations

import struct
from typing import Literal

import cv2
import msgspec
import numpy as np

from bimodal.broker.messages import Emotion
from bimodal.workers.watching import Pixels, Watched

JPEG_QUALITY = 80
# Wider pictures are scaled down: nobody's page shows more, and phones pay for every byte.
WIDEST = 960
_LENGTH = struct.Struct("<I")

Picture = Literal["jpeg", "hidden", "none"]


class FrameHead(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the JPEG.

    Attributes:
        at: seconds of the monotonic clock when the event came.
        size: width and height of the frame that the boxes belong to; None where it is not known.
        picture: "jpeg" follows, "hidden" by `faces: hide`, or "none" (a stream of sound, or a frame that was lost).
    """

    at: float
    size: tuple[int, int] | None
    picture: Picture
    event: Emotion


_encoder = msgspec.json.Encoder()


def packed(watched: Watched, at: float, *, hide: bool) -> bytes:
    """The message: length of the head (uint32, little-endian), the head as JSON, the JPEG or, with `hide`, nothing."""
    pixels = watched.pixels
    picture: Picture = "hidden" if hide else "none" if pixels is None else "jpeg"
    head = _encoder.encode(FrameHead(at=round(at, 4), size=watched.size, picture=picture, event=watched.event))
    body = jpeg(pixels) if pixels is not None and not hide else b""
    return _LENGTH.pack(len(head)) + head + body


def jpeg(pixels: Pixels) -> bytes:
    """RGB uint8 [H, W, 3] as JPEG bytes, at most 960 wide."""
    height, width = pixels.shape[:2]
    if width > WIDEST:
        size = (WIDEST, max(1, round(height * WIDEST / width)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert done
    return np.asarray(data).tobytes()
