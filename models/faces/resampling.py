"""Resampling of parts of a frame: rotated squares and letterboxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", bound=np.generic)

# A 2×3 matrix, row by row, as plain numbers: making an array of it would cost more than its use.
Affine = tuple[tuple[float, float, float], tuple[float, float, float]]
# Pixels of the frame around the square: bilinear sampling reads one neighbour.
MARGIN = 2


class Square(NamedTuple):
    """A rotated square of the frame.

    Attributes:
        x, y: centre in pixels.
        side: in pixels.
        angle: of its x axis relative to the frame's, in radians, clockwise on screen.
    """

    x: float
    y: float
    side: float
    angle: float

    def to_frame(self, size: int) -> Affine:
        """The affine matrix 2×3 from pixels of a crop of this square, `size` pixels wide, to pixels of the frame."""
        step = self.side / size
        cos, sin = math.cos(self.angle) * step, math.sin(self.angle) * step
        half = size / 2
        return (cos, -sin, self.x - half * (cos - sin)), (sin, cos, self.y - half * (sin + cos))

    def scaled(self, factor: float) -> Square:
        """The square around the same centre with `factor` times the side."""
        return Square(self.x, self.y, self.side * factor, self.angle)


def warp(frame: NDArray[np.uint8], affine: Affine, size: int) -> NDArray[np.uint8]:
    """Sample a square picture from a frame, bilinear; the edge repeats beyond the frame.

    OpenCV samples four channels five times as fast as three, with identical results, so the sampled part of an RGB
    frame gets a fourth channel first.

    Args:
        frame: uint8 [H, W, 3], or [H, W] grey.
        affine: matrix from pixels of the picture to pixels of the frame (centres at whole numbers).
        size: side of the picture in pixels.

    Returns:
        uint8 [size, size, 3] (or [size, size]).
    """
    height, width = frame.shape[:2]
    left, right = _span(*affine[0], size, width)
    top, bottom = _span(*affine[1], size, height)
    part = frame[top:bottom, left:right]
    if frame.ndim == 2:
        return _sampled(part, affine, left, top, size)
    four = cv2.cvtColor(part, cv2.COLOR_RGB2RGBA)
    return cv2.cvtColor(_sampled(four, affine, left, top, size), cv2.COLOR_RGBA2RGB)  # type: ignore[return-value, arg-type]


def stacked(arrays: Sequence[NDArray[_Number]]) -> NDArray[_Number]:
    """Stack arrays of one shape along a new first axis; a single array is not copied."""
    return arrays[0][None] if len(arrays) == 1 else np.stack(arrays)


def _sampled(part: NDArray[np.uint8], affine: Affine, left: int, top: int, size: int) -> NDArray[np.uint8]:
    (a, b, x), (c, d, y) = affine
    to_part = np.array(((a, b, x - left), (c, d, y - top)))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, to_part, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[return-value]


def _span(by_column: float, by_row: float, start: float, size: int, length: int) -> tuple[int, int]:
    """The range of the frame's pixels along one axis that the picture may read: first, last + 1; at least one."""
    low = start + size * (min(by_column, 0.0) + min(by_row, 0.0)) - MARGIN
    high = start + size * (max(by_column, 0.0) + max(by_row, 0.0)) + MARGIN + 1
    first = min(max(math.floor(min(low, length)), 0), length - 1)
    return first, max(min(math.ceil(max(high, 0.0)), length), first + 1)


# Letterbox: scaled to fit a square and centred on black, as MediaPipe's ImageToTensorCalculator does

# Pictures of up to this many times the square's side get a fourth channel before they are sampled.
FOUR_CHANNELS = 4


class Letterbox(NamedTuple):
    """Position of a rectangle of the frame in the square: square = (frame − (left, top)) × factor.

    Attributes:
        left, top: frame pixel at the square's corner (negative if the square has a black edge there).
        factor: square pixels per frame pixel.
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
    """Letterbox uint8 [H, W, 3] into uint8 [size, size, 3], bilinear, black outside.

    Sampled without prior smoothing, as in MediaPipe and in the detector's training: pixel (i, j) of the square is the
    frame at exactly (i, j) / factor.
    """
    height, width = part.shape[:2]
    side = max(width, height)
    if side % size == 0 and all(_falls_on_pixels(length, side, side // size) for length in (width, height)):
        return _picked(part, size, side // size)
    place = fit(0.0, 0.0, width, height, size)
    to_part = np.array([[1 / place.factor, 0, place.left], [0, 1 / place.factor, place.top]], np.float64)
    if side > FOUR_CHANNELS * size:
        return _letterboxed(part, to_part, size)
    # Identical, and cheaper unless there is much more to convert than to sample.
    four = _letterboxed(cv2.cvtColor(part, cv2.COLOR_RGB2RGBA), to_part, size)  # type: ignore[arg-type]
    return cv2.cvtColor(four, cv2.COLOR_RGBA2RGB)  # type: ignore[return-value]


def _falls_on_pixels(length: int, side: int, step: int) -> bool:
    """True if the samples along one axis are exactly every `step`-th pixel, so that nothing is interpolated."""
    return length % step == 0 and (side - length) % (2 * step) == 0


def _picked(part: NDArray[np.uint8], size: int, step: int) -> NDArray[np.uint8]:
    """Take every `step`-th pixel, centred on black."""
    height, width = part.shape[0] // step, part.shape[1] // step
    square = np.zeros((size, size, part.shape[2]), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    inner = square[top : top + height, left : left + width]
    cv2.resize(part, (width, height), dst=inner, interpolation=cv2.INTER_NEAREST)
    return square


def _letterboxed(part: NDArray[np.uint8], to_part: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, to_part, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[return-value]
