"""Detected faces of one frame: boxes, scores, keypoints, and the suppression of boxes of one face."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter, mul
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_score = attrgetter("score")


class Candidate(NamedTuple):
    """One detection. Plain numbers, because arrays are slower for the few candidates of a frame.

    Attributes:
        score: 0…1.
        row: x, y, width, height, then x and y of each keypoint in the order of the detector's geometry, in pixels of
            the frame.
        angle: roll of the face in radians, clockwise on screen: 0 upright.
    """

    score: float
    row: list[float]
    angle: float = 0.0


class Detections(msgspec.Struct, frozen=True):
    """The D detected faces of one frame, one by one or as arrays."""

    faces: Sequence[Candidate]

    def __len__(self) -> int:
        """The number of faces."""
        return len(self.faces)

    @property
    def boxes(self) -> Floats:
        """Boxes float32 [D, 4] (x, y, width, height) in pixels of the frame; may reach over its edges."""
        return np.array([face.row[:4] for face in self.faces], np.float32).reshape(len(self.faces), 4)

    @property
    def scores(self) -> Floats:
        """Scores float32 [D] in 0…1."""
        return np.array([face.score for face in self.faces], np.float32)

    def take(self, index: Iterable[int]) -> Detections:
        """Select the faces at these positions, in their order."""
        return Detections([self.faces[place] for place in index])


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height, …), 0…1; 0 if both are empty."""
    common = _common_area(box, other)
    together = box[2] * box[3] + other[2] * other[3] - common
    return common / together if together > 0 else 0.0


def contains(box: Sequence[float], other: Sequence[float]) -> float:
    """Share of the smaller of two boxes (x, y, width, height, …) that lies in the other, 0…1."""
    smaller = min(box[2] * box[3], other[2] * other[3])
    return _common_area(box, other) / smaller if smaller > 0 else 0.0


def _common_area(box: Sequence[float], other: Sequence[float]) -> float:
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def weighted_suppression(found: Iterable[Candidate], threshold: float) -> Detections:
    """Merge boxes that overlap more than `threshold` with a better one into their mean weighted by score; best first.

    As MediaPipe's NonMaxSuppressionCalculator with WEIGHTED: a merged face keeps the best score.
    """
    left = sorted(found, key=_score, reverse=True)
    faces: list[Candidate] = []
    while left:
        best, *others = left
        group, left = [best], []
        for other in others:
            (group if overlap(best.row, other.row) > threshold else left).append(other)
        faces.append(Candidate(best.score, _mean(group), best.angle))
    return Detections(faces)


def suppression(found: Iterable[Candidate], threshold: float, inside: float) -> Detections:
    """Keep the best of boxes that overlap more than `threshold`, or of which one lies in the other by more than
    `inside` (a part of a face seen as one); best first."""
    faces: list[Candidate] = []
    for one in sorted(found, key=_score, reverse=True):
        row = one.row
        if all(overlap(row, kept.row) <= threshold and contains(row, kept.row) <= inside for kept in faces):
            faces.append(one)
    return Detections(faces)


def _mean(group: Sequence[Candidate]) -> list[float]:
    """The mean of all numbers of the candidates, weighted by score."""
    if len(group) == 1:
        return group[0].row
    weights = [candidate.score for candidate in group]
    total = sum(weights)
    return [sum(map(mul, weights, numbers)) / total for numbers in zip(*(one.row for one in group), strict=True)]


# Roll of a face from its keypoints

# Positions in an upright, frontal face; "right" is the person's own, at the left of the picture. In eye distances.
TEMPLATE = {
    "right_eye": complex(-0.5, 0.0),
    "left_eye": complex(0.5, 0.0),
    "nose_tip": complex(0.0, 0.57),
    "mouth_right": complex(-0.41, 1.16),
    "mouth_left": complex(0.41, 1.16),
    "mouth_centre": complex(0.0, 1.16),
}


class Roll:
    """Roll of faces from their keypoints: the turn of the best similarity of the template to them.

    In profile the eyes coincide, and the line from the eyes to the mouth decides.

    Args:
        keypoints: names in the order of the rows; those outside the template are left out.
    """

    def __init__(self, keypoints: Sequence[str]) -> None:
        known = [(place, TEMPLATE[name]) for place, name in enumerate(keypoints) if name in TEMPLATE]
        middle = sum(point for _, point in known) / max(1, len(known))
        # The points' own mean needs no subtraction, as the weights sum to 0.
        self._weights = [(4 + 2 * place, (point - middle).conjugate()) for place, point in known]

    def __call__(self, row: Sequence[float]) -> float:
        """Angle in radians, clockwise on screen; 0 where keypoints don't tell."""
        turn = complex(0.0, 0.0)
        for place, weight in self._weights:
            turn += complex(row[place], row[place + 1]) * weight
        return math.atan2(turn.imag, turn.real) if abs(turn) > 1e-9 else 0.0
