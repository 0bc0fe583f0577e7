"""How well a face can be seen in its crop: sharpness, light, and whether eyes and mouth are covered. Pure.

The face worker measures each crop once; models/doubt.py says from where on a measure matters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Crop

SIDE = 64
"""Pixels of the grey picture in which all is measured."""
INNER = slice(round(0.14 * SIDE), round(0.86 * SIDE))
"""The middle of the crop, without most of hair and background."""
HALF_SHARP = 0.005
"""Detail at which sharpness is 0.5. Clear faces have 0.01 to 0.1."""
ALONG: tuple[tuple[NDArray[np.float32], float], ...] = (
    (np.array([[0, 0, 0], [1, -2, 1], [0, 0, 0]], np.float32), 1.0),
    (np.array([[0, 1, 0], [0, -2, 0], [0, 1, 0]], np.float32), 1.0),
    (np.array([[1, 0, 0], [0, -2, 0], [0, 0, 1]], np.float32), 0.25),
    (np.array([[0, 0, 1], [0, -2, 0], [1, 0, 0]], np.float32), 0.25),
)
"""Second differences in four directions, and what makes their variances comparable: steps of √2 count four times."""

MOUTH_CONTRAST, EYE_CONTRAST = 0.5, 0.25
"""Contrast of the mouth in that of the eyes, and the other way round, from which on they are open to view."""
EYE_LIGHT = 0.4
"""Brightness of the eyes in that of the cheeks from which on they are open to view: dark glasses have 0.1 to 0.3."""
LEAST_GREY = 2.0
"""Greys and contrasts below that are the noise of a sensor."""


class Regions(NamedTuple):
    """Boxes of a crop in shares of its side, each (top, bottom, left, right)."""

    left_eye: tuple[float, float, float, float]
    right_eye: tuple[float, float, float, float]
    mouth: tuple[float, float, float, float]
    left_cheek: tuple[float, float, float, float]
    right_cheek: tuple[float, float, float, float]


UPRIGHT = Regions(
    left_eye=(0.33, 0.46, 0.2, 0.42),
    right_eye=(0.33, 0.46, 0.58, 0.8),
    mouth=(0.68, 0.86, 0.28, 0.72),
    left_cheek=(0.5, 0.62, 0.2, 0.38),
    right_cheek=(0.5, 0.62, 0.62, 0.8),
)
"""Where they are in a crop of the geometry FRAMED, which is that of FER2013's pictures: eyes at 0.4, mouth at 0.76."""
FRAMED = Crop(scale=1.08, shift_y=-0.054, rotate=True)


class FaceQuality(NamedTuple):
    """Measures of one face.

    Attributes:
        sharpness: 0…1, independent of size, brightness and contrast.
        light: mean brightness of the middle of the crop, 0…1.
        eyes_seen, mouth_seen: 0 covered … 1 open to view; None where nothing tells where they are.
    """

    sharpness: float
    light: float
    eyes_seen: float | None
    mouth_seen: float | None


def regions_of(crop: Crop) -> Regions | None:
    """Where eyes, mouth and cheeks are in crops of a geometry; None where these may be turned."""
    if not crop.rotate:
        return None

    def along(share: float, shift: float) -> float:
        placed = (share - 0.5) * FRAMED.scale + shift
        return 0.5 + placed / crop.scale

    down = FRAMED.shift_y - crop.shift_y
    boxes = ((along(t, down), along(b, down), along(left, 0.0), along(right, 0.0)) for t, b, left, right in UPRIGHT)
    return Regions(*boxes)


def face_quality(crop: NDArray[np.uint8], regions: Regions | None) -> FaceQuality:
    """Measure a crop uint8 [H, W, 3] RGB or [H, W] grey; `regions` where it is upright and a mesh told its place."""
    grey = _grey(crop)
    inner = grey[INNER, INNER]
    eyes, mouth = (None, None) if regions is None else seen(grey, regions)
    return FaceQuality(_sharpness(grey), float(inner.mean()) / 255, eyes, mouth)


def sharpness(crop: NDArray[np.uint8]) -> float:
    """Sharpness of a crop uint8 [H, W, 3] RGB or [H, W] grey, 0…1, independent of its size, brightness and contrast.

    The least variance of second differences in four directions (a moving camera blurs in one), over the variance of the
    picture, mapped to 0…1; 0 for a picture of one colour.
    """
    return _sharpness(_grey(crop))


def _grey(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) if crop.ndim == 3 else crop
    return np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def _sharpness(grey: NDArray[np.uint8]) -> float:
    contrast = _variance(grey[INNER, INNER])
    if contrast < 1.0:
        return 0.0
    details = (
        _variance(cv2.filter2D(grey, cv2.CV_16S, kernel, borderType=cv2.BORDER_REPLICATE)[INNER, INNER]) * weight
        for kernel, weight in ALONG
    )
    detail = min(details) / contrast
    return detail / (detail + HALF_SHARP)


def seen(grey: NDArray[np.uint8], regions: Regions) -> tuple[float, float]:
    """How far eyes and mouth of uint8 [SIDE, SIDE] are open to view, 0…1 each.

    What covers a mouth (a mask, a hand) has less contrast than eyes, and what covers eyes less than a mouth, or, as
    dark glasses, is much darker than cheeks. Where both are covered, or in noise, this tells little.
    """
    eyes = [_of(grey, regions.left_eye), _of(grey, regions.right_eye)]
    of_eyes = sum(_deviation(part) for part in eyes) / 2
    of_mouth = _deviation(_of(grey, regions.mouth))
    light = sum(float(np.median(part)) for part in eyes)
    cheeks = sum(float(np.median(_of(grey, part))) for part in (regions.left_cheek, regions.right_cheek))
    mouth_seen = of_mouth / max(of_eyes, LEAST_GREY) / MOUTH_CONTRAST
    eyes_seen = of_eyes / max(of_mouth, LEAST_GREY) / EYE_CONTRAST
    eyes_lit = max(light, LEAST_GREY) / max(cheeks, LEAST_GREY) / EYE_LIGHT
    return min(1.0, eyes_seen, eyes_lit), min(1.0, mouth_seen)


def _of(grey: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    top, bottom, left, right = (min(SIDE, max(0, round(share * SIDE))) for share in box)
    part = grey[top:bottom, left:right]
    return part if part.size else grey[:1, :1]


def _deviation(part: NDArray[np.uint8]) -> float:
    return float(cv2.meanStdDev(part)[1].item())


def _variance(grey: NDArray[Any]) -> float:
    return float(cv2.meanStdDev(grey)[1].item()) ** 2
