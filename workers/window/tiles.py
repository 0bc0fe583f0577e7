"""Several pictures in one: a grid of tiles, each picture as large as its tile allows. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from bimodal.drawing.style import GROUND, Pixels

MOST_WIDTH, MOST_HEIGHT = 1920, 1080


def grid(count: int) -> tuple[int, int]:
    """(columns, rows) for so many tiles."""
    columns = max(1, math.ceil(math.sqrt(count)))
    return columns, max(1, math.ceil(count / columns))


def fit(size: tuple[int, int], within: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a picture after scaling down into a rectangle; a smaller one stays as it is."""
    factor = min(1.0, within[0] / size[0], within[1] / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def tile_size(pictures: int) -> tuple[int, int]:
    """(width, height) that one of so many pictures may take in the window."""
    columns, rows = grid(pictures)
    return MOST_WIDTH // columns, MOST_HEIGHT // rows


def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """uint8 [H, W, 3] scaled to `size` = (width, height)."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def tiled(pictures: Sequence[Pixels]) -> Pixels:
    """The pictures in rows, each in the middle of its tile; all tiles are as large as the largest picture."""
    if len(pictures) == 1:
        return pictures[0]
    columns, rows = grid(len(pictures))
    width = max(picture.shape[1] for picture in pictures)
    height = max(picture.shape[0] for picture in pictures)
    whole = np.full((rows * height, columns * width, 3), GROUND, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top = row * height + (height - picture.shape[0]) // 2
        left = column * width + (width - picture.shape[1]) // 2
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return whole
