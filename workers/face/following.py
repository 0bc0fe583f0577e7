"""Faces followed from one frame of a live stream to the next without the detector, as in MediaPipe. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from bimodal.broker.messages import Region
from bimodal.models.faces.detections import overlap
from bimodal.models.faces.resampling import Square

Box = tuple[float, float, float, float]

LARGEST = 1e5
"""Upper limit of coordinates and sides, in pixels."""


def region_of(square: Square, box: Sequence[float], score: float, *, mesh: bool = True) -> Region:
    """Region of a detected face in which the next frame's landmark model runs.

    Args:
        square: around its mesh, or around the landmarks to be expected, in pixels of the frame.
        box: of its detection (x, y, width, height); kept relative to the square, so that it moves with the face and
            does not jump when the detector runs again.
        score: of its detection.
        mesh: whether the landmark model was sure of it.
    """
    x, y, width, height = box
    middle = ((x + width / 2 - square.x) / square.side, (y + height / 2 - square.y) / square.side)
    return Region(
        x=square.x,
        y=square.y,
        side=square.side,
        angle=square.angle,
        score=score,
        box=(*middle, width / square.side, height / square.side),
        mesh=mesh,
    )


def moved(region: Region, square: Square) -> Region:
    """Move the region to the square around the face's mesh in a later frame; its thumbnails are those of that frame."""
    return Region(
        x=square.x,
        y=square.y,
        side=square.side,
        angle=square.angle,
        score=region.score,
        box=region.box,
        mesh=region.mesh,
    )


def square_of(region: Region) -> Square:
    """The square in which the landmark model runs."""
    return Square(region.x, region.y, region.side, region.angle)


def box_of(region: Region) -> Box:
    """The face's box (x, y, width, height) in pixels of the frame."""
    across, down, width, height = (value * region.side for value in region.box)
    return region.x + across - width / 2, region.y + down - height / 2, width, height


def usable(regions: Sequence[Region]) -> bool:
    """True where all are valid places in a picture: regions may come from another machine."""
    numbers = [(one.x, one.y, one.side, one.angle, one.score, *one.box) for one in regions]
    return all(
        math.isfinite(sum(row)) and all(abs(value) < LARGEST for value in row) and row[2] >= 1 and min(row[-2:]) > 0
        for row in numbers
    )


def any_overlap(boxes: Sequence[Sequence[float]], threshold: float) -> bool:
    """True where two boxes overlap more than `threshold`: they may follow the same face."""
    return any(overlap(first, second) > threshold for first, second in combinations(boxes, 2))


RESTS = 0.02
"""A face rests that moves and grows by less than this share of its side from one frame to the next."""


def stays(region: Region, later: Region) -> bool:
    """True where a face is nearly where it was."""
    most = RESTS * region.side
    return max(abs(later.x - region.x), abs(later.y - region.y), abs(later.side - region.side)) < most
