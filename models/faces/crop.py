"""Cutting a face out of a frame as a face-static model's metadata ask for it."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from models.contract import Crop
from models.faces.mesh import Square, eye_angle

EYE_CORNERS = (33, 263)
"""The outer corners of the eyes in the 468-point mesh, the one further left in an upright picture first."""

LARGEST_STEP = 4
"""A square is averaged from at most this many samples a pixel and direction; beyond it the frame is shrunk first."""


def crop_face(frame: NDArray[np.uint8], points: NDArray[np.float32], crop: Crop, size: int) -> NDArray[np.uint8]:
    """One face as a square picture.

    Args:
        frame: uint8 [H, W, 3] RGB, or [H, W] grey.
        points: mesh of the face, float32 [468, 2 or 3], x and y in pixels of the frame.
        crop: what the model wants.
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3] (or [size, size]); what lies beyond the frame repeats its edge. A face that is larger in
        the frame is averaged, not sampled.
    """
    return sample_square(frame, crop_square(points, crop), size)


def crop_square(points: NDArray[np.float32], crop: Crop) -> Square:
    """Where `crop_face` cuts: centred on the bounding box of the (levelled) points, moved and scaled as `crop` says.

    `shift_y` moves along the face's own down, in heights of the box.
    """
    angle = eye_angle(points[EYE_CORNERS[0]], points[EYE_CORNERS[1]]) if crop.rotate else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    level = points[:, :2].astype(np.float64) @ np.array([[cos, -sin], [sin, cos]])
    low, high = level.min(axis=0), level.max(axis=0)
    width, height = high - low
    x, y = (low + high) / 2 + (0.0, crop.shift_y * height)
    return Square(cos * x - sin * y, sin * x + cos * y, max(1.0, max(width, height) * crop.scale), angle)


def sample_square(frame: NDArray[np.uint8], square: Square, size: int) -> NDArray[np.uint8]:
    """A turned square of the frame as uint8 [size, size, …]: one warp to a whole multiple of `size`, then the mean."""
    step = max(1, math.ceil(square.side / size - 0.25))
    if step > LARGEST_STEP:
        frame, square = _shrunk(frame, square, step / LARGEST_STEP)
        step = LARGEST_STEP
    # OpenCV puts pixel centres at whole numbers; Square puts them at halves.
    affine = square.to_frame(size * step)
    affine[:, 2] += affine[:, :2] @ (0.5, 0.5) - 0.5
    fine = cv2.warpAffine(
        frame,
        affine,
        (size * step, size * step),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if step > 1:
        fine = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)
    return fine  # type: ignore[return-value]


def _shrunk(frame: NDArray[np.uint8], square: Square, by: float) -> tuple[NDArray[np.uint8], Square]:
    """The part of the frame around the square, shrunk by `by` with averaging, and the square in it."""
    height, width = frame.shape[:2]
    reach = square.side * 0.75 + 2 * by  # more than half a diagonal
    left, right = (int(np.clip(value, 0, width)) for value in (square.x - reach, square.x + reach + 1))
    top, bottom = (int(np.clip(value, 0, height)) for value in (square.y - reach, square.y + reach + 1))
    if right <= left or bottom <= top:
        return frame, square
    part = frame[top:bottom, left:right]
    small_width, small_height = max(1, round(part.shape[1] / by)), max(1, round(part.shape[0] / by))
    small = cv2.resize(part, (small_width, small_height), interpolation=cv2.INTER_AREA)
    x = (square.x - left) * small_width / part.shape[1]
    y = (square.y - top) * small_height / part.shape[0]
    return small, Square(x, y, square.side / by, square.angle)  # type: ignore[return-value]
