"""Hard cuts: where the picture changes as a whole from one frame to the next."""

from __future__ import annotations

from collections import deque
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 18, 32
SAMPLES = 3
"""Points along each side of a cell that are averaged."""
UNLIKE = 0.6
"""Correlation of two frames' cells below which they may be of two shots. Cuts between talking heads before one wall
have 0.3 to 0.5, a camera that pans fast 0.73 and more, one person seconds apart 0.99."""
LEAST_CHANGE = 6.0
"""Mean change of a cell, in levels of 256: noise of a plain picture correlates with nothing."""
SUDDEN = 3.0
"""Least ratio to the mean change of the frames before: shaking, confetti and strobes change every frame."""
REMEMBERED = 12


class ShotCounter:
    """Counts the shots of one stream, from 0. Looks at each frame once, for some 0.2 ms; keeps 576 numbers of it."""

    def __init__(self) -> None:
        self._shot = 0
        self._cells: NDArray[np.float32] | None = None
        self._changes: deque[float] = deque(maxlen=REMEMBERED)

    def shot(self, pixels: NDArray[np.uint8]) -> int:
        """The shot of the next frame, uint8 [H, W, 3]. A new one begins with the first frame after a hard cut."""
        cells, before = _cells(pixels), self._cells
        self._cells = cells
        if before is None:
            return self._shot
        change = float(np.abs(cells - before).mean())
        usual = max(LEAST_CHANGE / SUDDEN, sum(self._changes) / len(self._changes) if self._changes else 0.0)
        self._changes.append(change)
        if change >= SUDDEN * usual and _alike(cells, before) < UNLIKE:
            self._shot += 1
        return self._shot


def _cells(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean brightness (green) of 18 × 32 cells, from 9 points each."""
    points = pixels.reshape(-1).take(_points(*pixels.shape[:2]))
    # A sum of bytes is exact in float32, so it is the same in any order.
    means: NDArray[np.float32] = points.sum(axis=0, dtype=np.float32) / np.float32(len(points))
    return means.reshape(ROWS, COLUMNS)


@lru_cache(maxsize=4)
def _points(height: int, width: int) -> NDArray[np.intp]:
    """The places of the points in a picture's bytes, [9, 18 · 32]: the n-th point of each cell in row n."""
    rows = ((2 * np.arange(ROWS * SAMPLES) + 1) * height) // (2 * ROWS * SAMPLES)
    columns = ((2 * np.arange(COLUMNS * SAMPLES) + 1) * width) // (2 * COLUMNS * SAMPLES)
    places = (rows[:, None] * width + columns) * 3 + 1
    by_cell = places.reshape(ROWS, SAMPLES, COLUMNS, SAMPLES).transpose(1, 3, 0, 2)
    return np.ascontiguousarray(by_cell.reshape(SAMPLES * SAMPLES, -1))


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of two frames' cells, −1…1: brightness and contrast as a whole don't count."""
    one, other = one - one.mean(), other - other.mean()
    power = float((one * one).sum()) * float((other * other).sum())
    return float((one * other).sum()) / power**0.5 if power > 0 else 0.0
