"""What has changed since an earlier frame: grey thumbnails, compared against their own noise. Pure.

A thumbnail is small enough to travel with the hints for the next frame, so that face workers keep no state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.resampling import Square

SCENE_CELLS, FACE_CELLS = 40, 32
"""Cells along the longer side of a frame, and along a face."""
LEAST_CELL = 4
"""Pixels along a cell at least: of fewer, the noise of a sensor would be all that is seen."""
LINES = 4
"""Rows of pixels that are read of each cell, at least."""
LEAST_CHANGE, NOISE_TIMES, MOST_NOISE = 2.5, 5.0, 1.5
"""A cell has changed by more grey levels than that, and than so many deviations of the noise. The noise is at most the
last: what changes everywhere by more is none."""
SHAPE_STEP = 4
"""Of so many points of a mesh one belongs to its shape."""

Grey = NDArray[np.uint8]


def scene_of(pixels: NDArray[np.uint8]) -> Grey:
    """The thumbnail of a frame, uint8 [H, W, 3] RGB: grey [rows, columns]."""
    height, width = pixels.shape[:2]
    return _thumbnail(pixels, max(LEAST_CELL, max(height, width) // SCENE_CELLS))


def face_of(pixels: NDArray[np.uint8], square: Square) -> Grey:
    """The thumbnail of the upright square around a face in a frame; empty where that lies outside."""
    half = square.side / 2
    height, width = pixels.shape[:2]
    left, top = (max(0, round(middle - half)) for middle in (square.x, square.y))
    right, bottom = min(width, round(square.x + half)), min(height, round(square.y + half))
    if right - left < LEAST_CELL or bottom - top < LEAST_CELL:
        return np.zeros((0, 0), np.uint8)
    return _thumbnail(pixels[top:bottom, left:right], max(LEAST_CELL, round(square.side) // FACE_CELLS))


def _thumbnail(part: NDArray[np.uint8], cell: int) -> Grey:
    """Average cells of so many pixels; what is left over at the right and at the bottom is left out."""
    rows, columns = (max(1, length // cell) for length in part.shape[:2])
    step = next(step for step in (8, 4, 2, 1) if cell % step == 0 and (cell // step >= LINES or step == 1))
    lines = part[: rows * cell : step, : columns * cell]
    # Whole numbers of pixels a cell: OpenCV averages them several times as fast.
    small = cv2.resize(lines, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def changed(now: Grey, before: bytes) -> NDArray[np.bool_]:
    """The cells of a thumbnail that differ from those of an earlier one; all of them where that was of another size.

    A change of brightness that all cells share is the camera's, and does not count.
    """
    if now.size == 0 or len(before) != now.size:
        return np.ones(now.shape, np.bool_)
    differences = now.astype(np.int16) - np.frombuffer(before, np.uint8).reshape(now.shape)
    apart = np.abs(differences - _median(differences))
    noise = min(MOST_NOISE, 1.4826 * float(_median(apart)))
    return np.asarray(apart > max(LEAST_CHANGE, NOISE_TIMES * noise))


def _median(values: NDArray[np.int16]) -> np.int16:
    """The median, as numpy's for odd counts, without its checks."""
    flat = values.reshape(-1)
    return np.int16(np.partition(flat, flat.size // 2)[flat.size // 2])


def still(now: Grey, before: bytes) -> bool:
    """True where no cell has changed."""
    return now.size > 0 and len(before) == now.size and not changed(now, before).any()


def shape_of(points: NDArray[np.float32]) -> bytes:
    """The shape of a face by every fourth point of its mesh, float32 [468 or more, 3] in pixels: what is left without
    place and size, as float16."""
    flat = points[::SHAPE_STEP, :2]
    centred = flat - flat.mean(axis=0)
    size = float(np.sqrt(np.mean(centred * centred) * 2))
    shape: bytes = (centred / max(size, 1e-6)).astype("<f2").tobytes()
    return shape


def shape_change(now: bytes, before: bytes) -> float:
    """How far two shapes differ: root mean square distance of their points, in mean distances from the face's middle;
    infinite where one is unknown."""
    if not now or len(now) != len(before):
        return float("inf")
    apart = np.frombuffer(now, "<f2").astype(np.float32) - np.frombuffer(before, "<f2").astype(np.float32)
    return float(np.sqrt(2 * np.mean(apart * apart)))


def outside(cells: NDArray[np.bool_], frame: tuple[int, int], boxes: Iterable[Sequence[float]]) -> NDArray[np.bool_]:
    """The cells that have changed outside of some boxes (x, y, width, height) of a frame of (width, height)."""
    left = cells.copy()
    cell = max(LEAST_CELL, max(frame) // SCENE_CELLS)
    for x, y, width, height in boxes:
        rows = slice(max(0, int(y // cell)), max(0, int((y + height) // cell) + 1))
        left[rows, max(0, int(x // cell)) : max(0, int((x + width) // cell) + 1)] = False
    return left


def around(
    cells: NDArray[np.bool_], frame: tuple[int, int], margin: int, boxes: Sequence[Sequence[float]] = ()
) -> tuple[int, int, int, int]:
    """The part (left, top, right, bottom) in pixels of a frame of (width, height) around the cells that have changed,
    with a margin. It cuts through none of the `boxes`; where it would be most of the frame, it is all of it."""
    width, height = frame
    cell = max(LEAST_CELL, max(frame) // SCENE_CELLS)
    rows, columns = (np.flatnonzero(cells.any(axis=axis)) for axis in (1, 0))
    left, top = float(columns[0] * cell - margin), float(rows[0] * cell - margin)
    right, bottom = float((columns[-1] + 1) * cell + margin), float((rows[-1] + 1) * cell + margin)
    for _ in boxes:  # one that is put in may reach into another
        for x, y, wide, high in boxes:
            if x < right and y < bottom and x + wide > left and y + high > top:
                left, right = min(left, x - wide / 4), max(right, x + 1.25 * wide)
                top, bottom = min(top, y - high / 4), max(bottom, y + 1.25 * high)
    part = max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))
    if (part[2] - part[0]) * (part[3] - part[1]) > MOST_PART * width * height:
        return 0, 0, width, height
    return part


MOST_PART = 0.7
"""Of a part that is larger than this share of the frame, all of the frame is searched."""
