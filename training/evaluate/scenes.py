"""Composed pictures with faces whose places are known, and pictures without a face. Seeded; nothing is shipped.

Faces are cut out of labelled pictures (FER2013) or of clips, and put into backgrounds that are drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 1280, 720
Picture = NDArray[np.uint8]
Random = np.random.Generator
Box = tuple[float, float, float, float]

BASE_SIZE = 48.0
BASE_FACES = 4
GAP = 0.35
"""Least distance of two faces, in the larger side."""
PLACEMENTS = 200


class Cutout(NamedTuple):
    """A face with what surrounds it.

    Attributes:
        picture: uint8 [H, W, 3] RGB.
        mask: opacity float32 [H, W], 0…1.
        box: of the face in the picture: x, y, width, height.
    """

    picture: Picture
    mask: NDArray[np.float32]
    box: Box


@dataclass(frozen=True)
class Condition:
    """How the faces of a scene look.

    Attributes:
        sizes: smallest and largest longer side of their boxes, in pixels.
        faces: number of them.
        close_up: longer side of a further face that fills much of the picture, in pixels; 0 for none.
        roll: largest turn in degrees to either side; `turned` adds one that all share.
        light: factor of all values; noise of a dark sensor below 0.5.
        blur: length of a motion blur in pixels; 0 for none.
    """

    sizes: tuple[float, float] = (BASE_SIZE, BASE_SIZE)
    faces: int = BASE_FACES
    close_up: float = 0.0
    roll: float = 8.0
    turned: float = 0.0
    light: float = 1.0
    blur: int = 0


def _conditions() -> dict[str, Condition]:
    base = Condition()
    found = {f"{size} px": replace(base, sizes=(size, size)) for size in (12, 16, 20, 24, 32, 48, 64, 100, 200)}
    found["24 to 60 px beside a close-up"] = replace(base, sizes=(24, 60), close_up=400.0)
    found |= {f"turned by {angle}°": replace(base, roll=0.0, turned=angle) for angle in (30, 60, 90, 180)}
    found |= {f"light × {light}": replace(base, light=light) for light in (0.3, 0.12)}
    found |= {f"motion blur of {blur} px": replace(base, blur=blur) for blur in (5, 9)}
    found |= {f"{count} faces": replace(base, faces=count) for count in (1, 8, 24)}
    return found


CONDITIONS: Mapping[str, Condition] = MappingProxyType(_conditions())
"""Conditions of composed scenes by name; what is not named is as in the base: four upright faces of 48 pixels."""


@dataclass
class Scene:
    """A picture and the boxes of all faces in it."""

    picture: Picture
    boxes: list[Box] = field(default_factory=list)


def compose(cutouts: Sequence[Cutout], condition: Condition, random: Random) -> Scene:
    """Compose a scene of 1280×720 pixels."""
    scene = Scene(background(random))
    sizes = [condition.close_up] if condition.close_up else []
    sizes += [random.uniform(*condition.sizes) for _ in range(condition.faces)]
    for size in sizes:
        _place(scene, cutouts[int(random.integers(len(cutouts)))], size, condition, random)
    scene.picture = _seen(scene.picture, condition, random)
    return scene


def fer_cutout(grey: Picture) -> Cutout:
    """A picture of FER2013, uint8 [48, 48], which a face fills: its edge fades away."""
    size = len(grey)
    y, x = np.mgrid[:size, :size]
    reach = np.hypot((x - size / 2 + 0.5) / (0.52 * size), (y - size / 2 + 0.5) / (0.56 * size))
    mask = np.clip((1.08 - reach) / 0.12, 0, 1).astype(np.float32)
    side = size * 0.86
    return Cutout(np.repeat(grey[..., None], 3, axis=2), mask, (size * 0.14, size * 0.09, size * 0.72, side))


def frame_cutout(frame: Picture, box: Box) -> Cutout:
    """A face of a frame with its head and some of what surrounds it; its edge fades away."""
    x, y, width, height = box
    side = max(width, height)
    left, right = (int(np.clip(x + width / 2 + way * 0.95 * side, 0, frame.shape[1])) for way in (-1, 1))
    top, bottom = int(max(0, y + height / 2 - 0.95 * side)), int(min(frame.shape[0], y + height / 2 + 1.05 * side))
    part = frame[top:bottom, left:right]
    yy, xx = np.mgrid[: part.shape[0], : part.shape[1]]
    centre = (x + width / 2 - left, y + height / 2 - top)
    reach = np.hypot((xx - centre[0]) / (0.85 * side), (yy - centre[1]) / (0.95 * side))
    mask = np.clip((1.0 - reach) / 0.15, 0, 1).astype(np.float32)
    return Cutout(part, mask, (x - left, y - top, width, height))


def _place(scene: Scene, cutout: Cutout, size: float, condition: Condition, random: Random) -> None:
    """Put a face where it covers no other; leave it out where there is no room."""
    turn = math.radians(condition.turned + random.uniform(-1, 1) * condition.roll)
    scale = size / max(cutout.box[2:])
    half = 0.75 * size
    for _ in range(PLACEMENTS):
        centre = random.uniform(half, WIDTH - half), random.uniform(half, max(half + 1, HEIGHT - half))
        box = (centre[0] - size / 2, centre[1] - size / 2, size, size)
        if all(_apart(box, other) for other in scene.boxes):
            break
    else:
        return
    x, y, width, height = cutout.box
    cos, sin = math.cos(turn) * scale, math.sin(turn) * scale
    middle = (x + width / 2, y + height / 2)
    affine = np.array(
        [
            [cos, -sin, centre[0] - cos * middle[0] + sin * middle[1]],
            [sin, cos, centre[1] - sin * middle[0] - cos * middle[1]],
        ]
    )
    # Smoothed before it is reduced, as a camera would.
    source, mask = cutout.picture, cutout.mask
    if scale < 1:
        sigma = 0.4 * (1 / scale - 1) + 1e-3
        source = np.asarray(cv2.GaussianBlur(source, (0, 0), sigma), np.uint8)
    picture = cv2.warpAffine(source, affine, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    opacity = cv2.warpAffine(mask, affine, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)[..., None]
    scene.picture = np.asarray(picture * opacity + scene.picture * (1 - opacity), np.uint8)
    scene.boxes.append(box_turned(centre, width * scale, height * scale, turn))


def box_turned(centre: tuple[float, float], width: float, height: float, turn: float) -> Box:
    """The upright box of an ellipse of that width and height, turned by `turn` radians."""
    half_width = math.hypot(width / 2 * math.cos(turn), height / 2 * math.sin(turn))
    half_height = math.hypot(width / 2 * math.sin(turn), height / 2 * math.cos(turn))
    return centre[0] - half_width, centre[1] - half_height, 2 * half_width, 2 * half_height


def _apart(box: Box, other: Box) -> bool:
    gap = GAP * max(box[2], other[2])
    return (
        box[0] > other[0] + other[2] + gap
        or other[0] > box[0] + box[2] + gap
        or box[1] > other[1] + other[3] + gap
        or other[1] > box[1] + box[3] + gap
    )


def _seen(picture: Picture, condition: Condition, random: Random) -> Picture:
    if condition.blur:
        kernel = np.zeros((condition.blur, condition.blur), np.float32)
        kernel[condition.blur // 2] = 1 / condition.blur
        picture = np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)
    if condition.light != 1.0:
        noise = random.normal(0, 2.0 if condition.light < 0.5 else 0.0, picture.shape)
        picture = np.clip(picture * condition.light + noise, 0, 255).astype(np.uint8)
    return picture


# Backgrounds without a face


def background(random: Random, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """Draw a picture without a face: clouds of noise, shapes, stripes, writing, foliage, in random colours."""
    picture = _clouds(random, width, height)
    for draw in random.permutation(np.array(DRAWN, dtype=object))[: random.integers(1, len(DRAWN) + 1)]:
        draw(picture, random)
    return np.ascontiguousarray(picture)


def _clouds(random: Random, width: int, height: int) -> Picture:
    """Noise whose power falls with frequency as in photographs, tinted."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    fall = np.maximum(np.hypot(fy, fx), 1 / max(width, height)) ** random.uniform(1.0, 1.8)
    phases = np.exp(2j * np.pi * random.random((height, width // 2 + 1)))
    noise = np.fft.irfft2(phases / fall, s=(height, width))
    noise = (noise - noise.mean()) / (noise.std() + 1e-9)
    colour, tint = random.uniform(40, 200, 3), random.uniform(10, 50, 3)
    return np.asarray(np.clip(colour + noise[..., None] * tint, 0, 255), np.uint8)


def _colour(random: Random) -> tuple[int, int, int]:
    return tuple(int(value) for value in random.integers(0, 256, 3))  # type: ignore[return-value]


def _shapes(picture: Picture, random: Random) -> None:
    height, width = picture.shape[:2]
    for _ in range(random.integers(3, 25)):
        centre = int(random.integers(width)), int(random.integers(height))
        axes = int(random.integers(4, 160)), int(random.integers(4, 160))
        if random.random() < 0.5:
            cv2.ellipse(picture, centre, axes, float(random.uniform(0, 180)), 0, 360, _colour(random), -1, cv2.LINE_AA)
        else:
            corner = centre[0] + axes[0], centre[1] + axes[1]
            cv2.rectangle(picture, centre, corner, _colour(random), int(random.choice([-1, 2, 6])))


def _stripes(picture: Picture, random: Random) -> None:
    height, width = picture.shape[:2]
    x, y, step = int(random.integers(width)), int(random.integers(height)), int(random.integers(4, 40))
    part = picture[y : y + int(random.integers(60, 400)), x : x + int(random.integers(60, 500))]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    axis = rows if random.random() < 0.5 else columns
    other = (rows // step) if random.random() < 0.3 else 0
    part[((axis // step + other) % 2).astype(bool)] = _colour(random)


def _writing(picture: Picture, random: Random) -> None:
    height, width = picture.shape[:2]
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;()&%@#oO0QG8"))
    for _ in range(random.integers(2, 14)):
        text = "".join(random.choice(letters, random.integers(3, 30)))
        place = int(random.integers(-50, width)), int(random.integers(height))
        scale, thick = float(random.uniform(0.4, 4)), int(random.integers(1, 8))
        cv2.putText(picture, text, place, int(random.integers(0, 8)), scale, _colour(random), thick, cv2.LINE_AA)


def _foliage(picture: Picture, random: Random) -> None:
    height, width = picture.shape[:2]
    x, y = random.integers(width), random.integers(height)
    for _ in range(random.integers(100, 800)):
        spot = int(x + random.normal(0, 120)), int(y + random.normal(0, 120))
        axes = int(random.integers(2, 16)), int(random.integers(1, 8))
        shade = (int(random.integers(0, 120)), int(random.integers(40, 220)), int(random.integers(0, 110)))
        cv2.ellipse(picture, spot, axes, float(random.uniform(0, 180)), 0, 360, shade, -1, cv2.LINE_AA)


DRAWN: tuple[Callable[[Picture, Random], None], ...] = (_shapes, _stripes, _writing, _foliage)
