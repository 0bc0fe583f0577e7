"""Raw outputs of detectors → candidates in pixels of the frame, for both forms of geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.detections import Candidate
from bimodal.models.faces.geometry import AnchorLayer, GridGeometry, SsdGeometry
from bimodal.models.faces.resampling import Letterbox

# Scores nearer to 0 or 1 than this are treated as equal to them.
SCORE_TOLERANCE = 1e-6
# Largest logarithm of a side in units: e⁸ is more than any picture has.
LARGEST_LOGARITHM = 8.0
# Rows of one look that are decoded, best first: a real frame has some tens for each face.
MOST_ROWS = 1000


# Single-shot detectors with anchors (MediaPipe)


@lru_cache(maxsize=8)
def anchor_rows(geometry: SsdGeometry) -> NDArray[np.float32]:
    """The offsets that `decode_anchors` adds to raw rows: float32 [K, 4 + 2P] in raw units, 0 for sides."""
    return _spread(make_anchors(geometry.anchors) * geometry.scale, 4 + 2 * len(geometry.keypoints))


def decode_anchors(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    anchors: NDArray[np.float32],
    geometry: SsdGeometry,
    place: Letterbox,
    min_score: float,
) -> list[Candidate]:
    """Decode raw boxes float32 [K, 4 + 2P] and scores [K] to candidates of at least `min_score`, not yet suppressed.

    Follows MediaPipe's TensorsToDetectionsCalculator. `anchors` are those of `anchor_rows`.
    """
    likely = (scores >= _raw_floor(min_score)).nonzero()[0]
    if len(likely) == 0:
        return []
    rows = boxes[likely]
    rows += anchors[likely]
    rows *= geometry.size / geometry.scale / place.factor  # pixels of the frame per raw unit
    rows += _corner(place, boxes.shape[1])
    found = []
    for score, row in zip(scores[likely].tolist(), rows.tolist(), strict=True):
        clipped = max(-geometry.score_clip, min(geometry.score_clip, score))
        probability = 1 / (1 + math.exp(-clipped))
        if probability >= min_score:
            row[0] -= row[2] / 2
            row[1] -= row[3] / 2
            found.append(Candidate(probability, row))
    return found


@lru_cache(maxsize=256)
def _corner(place: Letterbox, columns: int) -> NDArray[np.float32]:
    """The offset of the square in the frame, for each number of a row."""
    return _spread(np.array([[place.left, place.top]], np.float32), columns).reshape(columns)


def _spread(places: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Repeat positions [K, 2] for the box and each keypoint of a row; 0 for width and height."""
    rows = np.tile(places, columns // 2)
    rows[:, 2:4] = 0
    return rows


@lru_cache(maxsize=64)
def _raw_floor(min_score: float) -> float:
    """A raw score below which no detection reaches `min_score`, so that most anchors are discarded at once."""
    if min_score < SCORE_TOLERANCE:
        return -math.inf
    score = min(min_score, 1 - SCORE_TOLERANCE)
    return math.log(score / (1 - score)) - 1.0  # a margin far above the rounding of probabilities to float32


def make_anchors(layers: Sequence[AnchorLayer]) -> NDArray[np.float32]:
    """Anchor centres float32 [K, 2] (x, y) in 0…1 of the input, in the order of the raw boxes: row by row, repeated.

    As MediaPipe's SsdAnchorsCalculator with fixed_anchor_size.
    """
    return np.concatenate([_layer(layer) for layer in layers])


def _layer(layer: AnchorLayer) -> NDArray[np.float32]:
    centres = (np.arange(layer.cells, dtype=np.float32) + np.float32(0.5)) / np.float32(layer.cells)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), layer.repeats, axis=0)


# Detectors of any size over grids


class Cells(NamedTuple):
    """The anchors of all rows of one input size: float32 [K] each, in pixels of the input."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    unit: NDArray[np.float32]


@lru_cache(maxsize=32)
def make_cells(geometry: GridGeometry, width: int, height: int) -> Cells:
    """The anchors of the rows for an input of that size, in their order."""
    parts = []
    for grid in geometry.grids:
        units = grid.units
        columns, rows = -(-width // grid.stride), -(-height // grid.stride)
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        middle = [(axis.ravel() + geometry.offset) * grid.stride for axis in (x, y)]
        repeated = [np.repeat(axis, len(units)) for axis in middle]
        parts.append((*repeated, np.tile(units, rows * columns)))
    return Cells(*(np.concatenate(column).astype(np.float32) for column in zip(*parts, strict=True)))


def decode_grids(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    geometry: GridGeometry,
    size: tuple[int, int],
    factor: float,
    min_score: float,
) -> list[Candidate]:
    """Decode rows float32 [K, 4 + 2P] and scores [K] in 0…1 to candidates of at least `min_score`, not yet suppressed.

    Args:
        size: width and height of the input.
        factor: pixels of the input per pixel of the frame, whose corner is that of the input.
    """
    likely = (scores >= min_score).nonzero()[0]
    if len(likely) == 0:
        return []
    if len(likely) > MOST_ROWS:
        likely = likely[np.argsort(-scores[likely], kind="stable")[:MOST_ROWS]]
    rows = np.array(boxes[likely, : 4 + 2 * len(geometry.keypoints)], np.float32)
    if geometry.box in ("centre", "sides"):
        x, y, unit = (column[likely, None] for column in make_cells(geometry, *size))
        offsets, logarithms = geometry.variances
        rows[:, 4::2] = rows[:, 4::2] * (unit * offsets) + x
        rows[:, 5::2] = rows[:, 5::2] * (unit * offsets) + y
        if geometry.box == "centre":
            sides = np.exp(np.minimum(rows[:, 2:4] * logarithms, LARGEST_LOGARITHM)) * unit
            rows[:, :2] = rows[:, :2] * (unit * offsets) + np.hstack((x, y)) - sides / 2
            rows[:, 2:4] = sides
        else:
            edges = rows[:, :4] * unit
            rows[:, :2] = np.hstack((x, y)) - edges[:, :2]
            rows[:, 2:4] = edges[:, :2] + edges[:, 2:]
    elif geometry.box == "pixels":
        rows[:, :2] -= rows[:, 2:4] / 2
    else:
        rows[:, 2:4] -= rows[:, :2]
    rows /= np.float32(factor)
    return [
        Candidate(score, row)
        for score, row in zip(scores[likely].tolist(), rows.tolist(), strict=True)
        if min(row[2:4]) > 0 and math.isfinite(sum(row))
    ]
