"""Detected faces, and the joining of those that are one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter, mul
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_score = attrgetter("score")


class Candidate(NamedTuple):
    """What one anchor takes for a face. A frame has few of them, and for few numbers plain ones beat arrays.

    Attributes:
        score: 0…1.
        row: x, y, width, height, then x and y of each keypoint (right eye, left eye, nose tip, mouth centre, right ear,
            left ear), in pixels of the frame.
    """

    score: float
    row: list[float]


class Detections(msgspec.Struct, frozen=True):
    """D detected faces of one frame: one by one, or as arrays for whoever reckons with them."""

    faces: Sequence[Candidate]

    def __len__(self) -> int:
        """How many faces."""
        return len(self.faces)

    @property
    def boxes(self) -> Floats:
        """float32 [D, 4] (x, y, width, height) in pixels of the frame; may reach over its edges."""
        return np.array([face.row[:4] for face in self.faces], np.float32).reshape(len(self.faces), 4)

    @property
    def scores(self) -> Floats:
        """float32 [D] in 0…1."""
        return np.array([face.score for face in self.faces], np.float32)

    def take(self, index: Iterable[int]) -> Detections:
        """Those at these positions, in their order."""
        return Detections([self.faces[place] for place in index])


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height, …), 0…1; 0 where both are empty."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    together = box[2] * box[3] + other[2] * other[3] - common
    return common / together if together > 0 else 0.0


def weighted_suppression(found: Iterable[Candidate], threshold: float) -> Detections:
    """Of boxes that overlap more than `threshold` with a better one, the mean weighted by score; best first.

    MediaPipe's NonMaxSuppressionCalculator with WEIGHTED: a joined face keeps the best score.
    """
    left = sorted(found, key=_score, reverse=True)
    faces: list[Candidate] = []
    while left:
        best, *others = left
        group, left = [best], []
        for other in others:
            (group if overlap(best.row, other.row) > threshold else left).append(other)
        faces.append(Candidate(best.score, _mean(group)))
    return Detections(faces)


def _mean(group: Sequence[Candidate]) -> list[float]:
    """Of all their numbers, weighted by score."""
    if len(group) == 1:
        return group[0].row
    weights = [candidate.score for candidate in group]
    total = sum(weights)
    return [sum(map(mul, weights, numbers)) / total for numbers in zip(*(one.row for one in group), strict=True)]
