"""A part of a frame, scaled to fit a square and centred on black, as MediaPipe's ImageToTensorCalculator does."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

FOUR_CHANNELS = 4
"""Pictures up to so many times the square's side get a fourth channel before they are sampled."""


class Letterbox(NamedTuple):
    """Where a rectangle of the frame lies in the square: square = (frame − (left, top)) × factor.

    Attributes:
        left, top: frame pixel at the square's corner (negative where the square has a black edge).
        factor: square pixels a frame pixel.
    """

    left: float
    top: float
    factor: float


@lru_cache(maxsize=256)
def fit(left: float, top: float, width: float, height: float, size: int) -> Letterbox:
    """The letterbox of a rectangle of the frame in a square of `size` pixels."""
    side = max(width, height)
    return Letterbox(left + (width - side) / 2, top + (height - side) / 2, size / side)


def letterbox(part: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] → uint8 [size, size, 3], bilinear, black outside.

    Sampled without smoothing first, as MediaPipe does it and as the detector was trained: pixel (i, j) of the square is
    the frame at exactly (i, j) / factor.
    """
    height, width = part.shape[:2]
    side = max(width, height)
    if side % size == 0 and all(_falls_on_pixels(length, side, side // size) for length in (width, height)):
        return _picked(part, size, side // size)
    place = fit(0.0, 0.0, width, height, size)
    to_part = np.array([[1 / place.factor, 0, place.left], [0, 1 / place.factor, place.top]], np.float64)
    if side > FOUR_CHANNELS * size:
        return _sampled(part, to_part, size)
    # To the last bit the same, and cheaper unless there is much more to convert than to sample (models/faces/warp.py).
    four = _sampled(cv2.cvtColor(part, cv2.COLOR_RGB2RGBA), to_part, size)  # type: ignore[arg-type]
    return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)  # type: ignore[return-value]


def _falls_on_pixels(length: int, side: int, step: int) -> bool:
    """Whether every `step`-th pixel along one axis is one that is asked for, so that nothing lies between pixels."""
    return length % step == 0 and (side - length) % (2 * step) == 0


def _picked(part: NDArray[np.uint8], size: int, step: int) -> NDArray[np.uint8]:
    """Every `step`-th pixel, on black."""
    height, width = part.shape[0] // step, part.shape[1] // step
    square = np.zeros((size, size, part.shape[2]), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    inner = square[top : top + height, left : left + width]
    cv2.resize(part, (width, height), dst=inner, interpolation=cv2.INTER_NEAREST)
    return square


def _sampled(part: NDArray[np.uint8], to_part: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, to_part, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[return-value]
