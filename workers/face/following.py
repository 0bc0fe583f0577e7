"""Faces followed from one frame to the next without the detector, as MediaPipe does it. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.messages import Region
from bimodal.models.faces.detections import overlap
from bimodal.models.faces.geometry import MeshGeometry
from bimodal.models.faces.mesh import Square, square_of_points

Box = tuple[float, float, float, float]

LARGEST = 1e5
"""Nobody's picture has a square with more pixels a side."""


def region_of(points: NDArray[np.float32], box: Sequence[float], score: float, geometry: MeshGeometry) -> Region:
    """Where a face that was detected will be looked for.

    Args:
        points: its mesh float32 [468, 3], in pixels of the frame.
        box: of its detection (x, y, width, height); kept as it lies around the mesh, so that it goes with the face
            and does not jump when the detector looks again.
        score: of its detection.
    """
    square = square_of_points(points, geometry)
    x, y, width, height = box
    middle = ((x + width / 2 - square.x) / square.side, (y + height / 2 - square.y) / square.side)
    return Region(
        x=square.x,
        y=square.y,
        side=square.side,
        angle=square.angle,
        score=score,
        box=(*middle, width / square.side, height / square.side),
    )


def moved(region: Region, points: NDArray[np.float32], geometry: MeshGeometry) -> Region:
    """The same face where its mesh of a later frame is."""
    square = square_of_points(points, geometry)
    return Region(x=square.x, y=square.y, side=square.side, angle=square.angle, score=region.score, box=region.box)


def square_of(region: Region) -> Square:
    """Where the landmark model looks."""
    return Square(region.x, region.y, region.side, region.angle)


def box_of(region: Region) -> Box:
    """The face's box (x, y, width, height) in pixels of the frame."""
    across, down, width, height = (value * region.side for value in region.box)
    return region.x + across - width / 2, region.y + down - height / 2, width, height


def usable(regions: Sequence[Region]) -> bool:
    """Whether they are places in a picture: they may come from another machine."""
    numbers = [(one.x, one.y, one.side, one.angle, one.score, *one.box) for one in regions]
    return all(
        math.isfinite(sum(row)) and all(abs(value) < LARGEST for value in row) and row[2] >= 1 and min(row[-2:]) > 0
        for row in numbers
    )


def meet(boxes: Sequence[Box], threshold: float) -> bool:
    """Whether two of them overlap more than that: they may follow one face by now."""
    return any(overlap(first, second) > threshold for first, second in combinations(boxes, 2))
