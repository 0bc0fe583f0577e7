"""What can be told of a face from its mesh and its crop without a network."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

UPPER_LIP, LOWER_LIP = 13, 14
"""Middle of the inner lips in the 468-point mesh."""

RIGHT_EYE, LEFT_EYE = (33, 133), (362, 263)
"""Outer and inner corner of the person's right eye, inner and outer of the left."""

NOSE_TIP = 1

SHARPNESS_SIZE = 64
HALF_SHARP = 0.02
"""A face with this much detail is half sharp: blurred by a fiftieth of its width. Sharp ones have 0.2 to 0.5."""


def eye_distance(points: NDArray[np.float32]) -> float:
    """Distance of the eyes' middles in pixels, in space: turning the head does not shorten it.

    Args:
        points: mesh float32 [468, 3].
    """
    return math.dist(_middle(points, RIGHT_EYE), _middle(points, LEFT_EYE))


def mouth_opening(points: NDArray[np.float32]) -> float:
    """Gap between the inner lips over the distance of the eyes: 0 closed, about 0.5 wide open.

    Args:
        points: mesh float32 [468, 3].
    """
    gap = math.dist(points[UPPER_LIP].tolist(), points[LOWER_LIP].tolist())
    return gap / max(eye_distance(points), 1e-6)


def frontalness(points: NDArray[np.float32]) -> float:
    """How straight the face looks into the camera, sideways: 1 frontal, 0 profile.

    The nose tip's place between the outer corners of the eyes, along the line through them.
    """
    first, second = points[RIGHT_EYE[0], :2], points[LEFT_EYE[1], :2]
    way = second - first
    length = float(way @ way)
    if length < 1e-6:
        return 0.0
    place = float((points[NOSE_TIP, :2] - first) @ way) / length
    return float(np.clip(1 - 2 * abs(place - 0.5), 0.0, 1.0))


def sharpness(crop: NDArray[np.uint8]) -> float:
    """How sharp a crop is, 0…1, whatever its size, brightness and contrast.

    The variance of the Laplacian over the variance of the picture, at one size, squeezed into 0…1; 0 for a picture
    of one colour.

    Args:
        crop: uint8 [H, W, 3] RGB or [H, W] grey.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) if crop.ndim == 3 else crop
    grey = cv2.resize(grey, (SHARPNESS_SIZE, SHARPNESS_SIZE), interpolation=cv2.INTER_AREA)
    contrast = _variance(grey)
    if contrast < 1.0:
        return 0.0
    detail = _variance(cv2.Laplacian(grey, cv2.CV_16S, borderType=cv2.BORDER_REPLICATE)) / contrast
    return detail / (detail + HALF_SHARP)


def _middle(points: NDArray[np.float32], pair: tuple[int, int]) -> list[float]:
    return [
        (first + second) / 2 for first, second in zip(points[pair[0]].tolist(), points[pair[1]].tolist(), strict=True)
    ]


def _variance(grey: NDArray[Any]) -> float:
    return float(cv2.meanStdDev(grey)[1].item()) ** 2
