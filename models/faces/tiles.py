"""Overlapping square parts of a frame, in which small faces are large enough for the detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

SHARE = 0.5
"""Side of a tile over the shorter side of the frame. The detector sees faces from about a tenth of its picture on."""

OVERLAP = 1 / 3
"""Neighbours share this much of their side, so that a face of up to a third of a tile is whole in one of them."""

EDGE = 0.02
"""A box this near to an inner edge of its tile (as a share of the side) is cut off: another tile has all of it."""


class Tile(NamedTuple):
    """A rectangle of whole pixels of the frame."""

    left: int
    top: int
    width: int
    height: int


@lru_cache(maxsize=64)
def make_tiles(width: int, height: int) -> tuple[Tile, ...]:
    """Squares that cover a frame of that size, row by row."""
    side = max(1, round(min(width, height) * SHARE))
    return tuple(Tile(left, top, side, side) for top in _starts(height, side) for left in _starts(width, side))


def cut_off(box: Sequence[float], tile: Tile, width: int, height: int) -> bool:
    """Whether a box (x, y, width, height, …) reaches an edge of the tile that is not an edge of the frame."""
    margin = EDGE * tile.width
    right, bottom = tile.left + tile.width, tile.top + tile.height
    return (
        (box[0] < tile.left + margin and tile.left > 0)
        or (box[1] < tile.top + margin and tile.top > 0)
        or (box[0] + box[2] > right - margin and right < width)
        or (box[1] + box[3] > bottom - margin and bottom < height)
    )


def _starts(length: int, side: int) -> list[int]:
    """Where tiles of `side` begin so that they cover `length` evenly with at least OVERLAP."""
    if side >= length:
        return [0]
    steps = math.ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]
