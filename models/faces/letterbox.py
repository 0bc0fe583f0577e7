"""A part of a frame, scaled to fit a square and centred on black, as MediaPipe's ImageToTensorCalculator does."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class Letterbox(NamedTuple):
    """Where a rectangle of the frame lies in the square: square = (frame − (left, top)) × factor.

    Attributes:
        left, top: frame pixel at the square's corner (negative where the square has a black edge).
        factor: square pixels a frame pixel.
    """

    left: float
    top: float
    factor: float

    def to_frame(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """[..., 2] from pixels of the square to pixels of the frame."""
        corner = np.array([self.left, self.top], np.float32)
        return (points / np.float32(self.factor) + corner).astype(np.float32)


def fit(left: float, top: float, width: float, height: float, size: int) -> Letterbox:
    """The letterbox of a rectangle of the frame in a square of `size` pixels."""
    side = max(width, height)
    return Letterbox(left + (width - side) / 2, top + (height - side) / 2, size / side)


def letterbox(part: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] → uint8 [size, size, 3], bilinear, black outside.

    Sampled without smoothing first, as MediaPipe does it and as the detector was trained.
    """
    height, width = part.shape[:2]
    place = fit(0.0, 0.0, width, height, size)
    to_part = np.array([[1 / place.factor, 0, place.left], [0, 1 / place.factor, place.top]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, to_part, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[return-value]
