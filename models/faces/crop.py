"""Face crops for face-static models, as their metadata describe them."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Crop
from bimodal.models.faces.mesh import eye_angle
from bimodal.models.faces.resampling import Square, warp

# Outer corners of the eyes in the 468-point mesh, the one further left in an upright picture first.
EYE_CORNERS = (33, 263)
# A square is averaged from at most this many samples per pixel and direction; larger ones are halved first.
LARGEST_STEP = 4


class Outline(NamedTuple):
    """Where a face is: its mesh, or, where the landmark model fails, the square around the landmarks to be expected.

    Attributes:
        points: mesh float32 [468, 2 or 3] in pixels of the frame; None without one.
        square: from the detection; used without a mesh.
    """

    points: NDArray[np.float32] | None
    square: Square


def crop_outline(frame: NDArray[np.uint8], outline: Outline, crop: Crop, size: int) -> NDArray[np.uint8]:
    """Cut a face out as `crop_face`, with or without its mesh."""
    if outline.points is not None:
        return crop_face(frame, outline.points, crop, size)
    return sample_square(frame, crop_square_of_detection(outline.square, crop), size)


def crop_square_of_detection(square: Square, crop: Crop) -> Square:
    """The square of a crop around the landmarks to be expected, `square` (models/faces/detector.py)."""
    angle = square.angle if crop.rotate else 0.0
    down = crop.shift_y * square.side
    x, y = square.x - math.sin(angle) * down, square.y + math.cos(angle) * down
    return Square(x, y, max(1.0, square.side * crop.scale), angle)


def crop_face(frame: NDArray[np.uint8], points: NDArray[np.float32], crop: Crop, size: int) -> NDArray[np.uint8]:
    """Cut a face out of a frame as a square picture.

    Args:
        frame: uint8 [H, W, 3] RGB, or [H, W] grey.
        points: mesh of the face, float32 [468, 2 or 3], x and y in pixels of the frame.
        crop: geometry of the model's metadata.
        size: side of the result in pixels.

    Returns:
        uint8 [size, size, 3] (or [size, size]); pixels beyond the frame repeat its edge. A face that is larger in the
        frame is averaged, not sampled.
    """
    return sample_square(frame, crop_square(points, crop), size)


def crop_square(points: NDArray[np.float32], crop: Crop) -> Square:
    """The square of `crop_face`: centred on the bounding box of the (levelled) points, moved and scaled by `crop`.

    `shift_y` moves it down in the face's own direction, in heights of the box.
    """
    angle = eye_angle(points[EYE_CORNERS[0]], points[EYE_CORNERS[1]]) if crop.rotate else 0.0
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.zeros((2, points.shape[1] + 1))
    turn[0, :2], turn[1, :2] = (cos, sin), (-sin, cos)
    level = cv2.transform(points[:, None], turn)
    left, top = cv2.reduce(level, 0, cv2.REDUCE_MIN)[0, 0].tolist()
    right, bottom = cv2.reduce(level, 0, cv2.REDUCE_MAX)[0, 0].tolist()
    width, height = right - left, bottom - top
    x, y = (left + right) / 2, (top + bottom) / 2 + crop.shift_y * height
    return Square(cos * x - sin * y, sin * x + cos * y, max(1.0, max(width, height) * crop.scale), angle)


def sample_square(frame: NDArray[np.uint8], square: Square, size: int) -> NDArray[np.uint8]:
    """Sample a rotated square of the frame as uint8 [size, size, …]: warp to a multiple of `size`, then average."""
    while _step(square, size) > LARGEST_STEP and min(frame.shape[:2]) > 1:
        frame, square = _halved(frame, square)
    step = min(_step(square, size), LARGEST_STEP)
    # OpenCV's pixel centres are at whole numbers, those of Square at halves.
    (a, b, x), (c, d, y) = square.to_frame(size * step)
    affine = (a, b, x + (a + b) / 2 - 0.5), (c, d, y + (c + d) / 2 - 0.5)
    fine = warp(frame, affine, size * step)
    if step > 1:
        fine = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    return fine


def _step(square: Square, size: int) -> int:
    """Pixels of the frame per pixel of the picture, along one side."""
    return max(1, math.ceil(square.side / size - 0.25))


def _halved(frame: NDArray[np.uint8], square: Square) -> tuple[NDArray[np.uint8], Square]:
    """Halve the part of the frame around the square, each pixel the mean of four; return it with the square in it."""
    reach = square.side * 0.75 + 8  # more than half a diagonal
    left, right = _even(square.x - reach, square.x + reach, frame.shape[1])
    top, bottom = _even(square.y - reach, square.y + reach, frame.shape[0])
    part = frame[top:bottom, left:right]
    if (right - left) % 2 or (bottom - top) % 2:  # at the edge of a frame of odd size: repeat it
        odd = ((bottom - top) % 2, (right - left) % 2)
        part = cv2.copyMakeBorder(part, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE)  # type: ignore[assignment]
    half = cv2.resize(part, (part.shape[1] // 2, part.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return half, Square((square.x - left) / 2, (square.y - top) / 2, square.side / 2, square.angle)  # type: ignore[return-value]


def _even(low: float, high: float, length: int) -> tuple[int, int]:
    """The range of pixels from `low` to `high` within the frame: at least one, and an even number if possible."""
    start = min(max(math.floor(low), 0), length - 1)
    end = max(min(math.ceil(high), length), start + 1)
    if (end - start) % 2 and end < length:
        return start, end + 1
    return (start - 1, end) if (end - start) % 2 and start > 0 else (start, end)
