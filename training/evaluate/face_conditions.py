"""Simulated conditions under which a camera sees a face: darkness, motion, distance, things in front of it. Pure and
seeded.

Each changes one crop uint8 [S, S, 3] RGB of any size. Sizes are those of a face of 48 pixels, FER2013's, and grow with
the crop; places are those of a face that is framed as there: eyes at 0.4 of the height, mouth at 0.76.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Picture: TypeAlias = "NDArray[np.uint8]"
Change: TypeAlias = "Callable[[Picture, np.random.Generator], Picture]"

SIDE = 48
MASK = (205, 215, 225)
DARK_GLASSES = (25, 25, 25)
SENSOR_NOISE = 1.0


def light(picture: Picture, share: float, random: np.random.Generator) -> Picture:
    """So much of the light, with the noise of a sensor, one grey level, and its whole steps."""
    dark = picture.astype(np.float32) * share + random.standard_normal((*picture.shape[:2], 1)) * SENSOR_NOISE
    return _bytes(dark)


def motion(picture: Picture, pixels: float, degrees: float) -> Picture:
    """Blur along a line of so many pixels of 48, in a direction."""
    length = pixels * len(picture) / SIDE
    reach = int(np.ceil(length / 2)) + 1
    places = np.arange(-reach, reach + 1, dtype=np.float64)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, off = places[None] * cos + places[:, None] * sin, places[:, None] * cos - places[None] * sin
    taps = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(off), 0, 1)
    return _bytes(cv2.filter2D(picture, cv2.CV_32F, taps / taps.sum(), borderType=cv2.BORDER_REPLICATE))


def small(picture: Picture, pixels: int) -> Picture:
    """A face of so many pixels, enlarged."""
    side = len(picture)
    shrunk = cv2.resize(picture, (pixels, pixels), interpolation=cv2.INTER_AREA)
    return _bytes(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR))


def covered(
    picture: Picture, rows: tuple[float, float], columns: tuple[float, float], colour: Sequence[int]
) -> Picture:
    """One colour from and to shares of height and width."""
    side, changed = len(picture), picture.copy()
    top, bottom = round(rows[0] * side), round(rows[1] * side)
    changed[top:bottom, round(columns[0] * side) : round(columns[1] * side)] = colour
    return changed


def jpeg(picture: Picture, quality: int) -> Picture:
    """Compressed as by a camera that saves bandwidth."""
    _, code = cv2.imencode(".jpg", picture[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, quality))
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)[..., ::-1].copy()


def back_light(picture: Picture) -> Picture:
    """A window behind the head: the borders white, the face dark and flat."""
    side = len(picture)
    place = (np.arange(side) + 0.5) / side - 0.5
    away = np.sqrt((place[None] / 0.42) ** 2 + ((place[:, None] - 0.05) / 0.55) ** 2)
    glow = np.clip((away - 0.8) / 0.4, 0, 1)[..., None] * 230
    return _bytes(picture * 0.3 + glow + 12)


def colour_cast(picture: Picture) -> Picture:
    """A warm lamp."""
    return _bytes(picture.astype(np.float32) * (1.15, 0.95, 0.6))


def _bytes(values: NDArray[Any]) -> Picture:
    return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)


DEGRADED: Mapping[str, Change] = MappingProxyType(
    {
        "light × 0.12": lambda picture, random: light(picture, 0.12, random),
        "motion blur of 7 px": lambda picture, random: motion(picture, 7, random.uniform(0, 180)),
        "lower half covered": lambda picture, _random: covered(picture, (0.5, 1), (0, 1), MASK),
        "16 px": lambda picture, _random: small(picture, 16),
        "eyes covered": lambda picture, _random: covered(picture, (0.27, 0.5), (0.08, 0.92), DARK_GLASSES),
    }
)
"""The conditions whose mean UAR is the figure of degraded faces, by name."""

CONDITIONS: Mapping[str, Change] = MappingProxyType(
    {
        **DEGRADED,
        "light × 0.3": lambda picture, random: light(picture, 0.3, random),
        "motion blur of 4 px": lambda picture, random: motion(picture, 4, random.uniform(0, 180)),
        "24 px": lambda picture, _random: small(picture, 24),
        "JPEG of quality 15": lambda picture, _random: jpeg(picture, 15),
        "back light": lambda picture, _random: back_light(picture),
        "warm lamp": lambda picture, _random: colour_cast(picture),
    }
)
"""All conditions under which a face-static model is measured, by name."""


def changed_by(name: str, picture: Picture, place: int) -> Picture:
    """Apply a condition of CONDITIONS to one crop; the same for the same `place` in the data set."""
    return CONDITIONS[name](picture, np.random.default_rng((list(CONDITIONS).index(name), place)))


def under_condition(name: str, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Apply a condition of CONDITIONS to crops uint8 [N, S, S, 3] RGB: same shape, deterministic."""
    return np.stack([changed_by(name, picture, place) for place, picture in enumerate(pictures)])
