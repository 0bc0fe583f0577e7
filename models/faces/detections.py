"""Detected faces, and the joining of those that are one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


class Candidate(NamedTuple):
    """What one anchor takes for a face. A frame has few of them, and for few numbers plain ones beat arrays.

    Attributes:
        score: 0…1.
        row: x, y, width, height, then x and y of each keypoint, in pixels of the frame.
    """

    score: float
    row: list[float]


@dataclass(frozen=True)
class Detections:
    """D detected faces of one frame.

    Attributes:
        boxes: float32 [D, 4] (x, y, width, height) in pixels of the frame; may reach over its edges.
        scores: float32 [D] in 0…1.
        keypoints: float32 [D, 6, 2] (x, y) in pixels: right eye, left eye, nose tip, mouth centre, right ear, left ear.
    """

    boxes: Floats
    scores: Floats
    keypoints: Floats

    def __len__(self) -> int:
        """How many faces."""
        return len(self.scores)

    def take(self, index: Sequence[int]) -> Detections:
        """Those at these positions, in their order."""
        return Detections(self.boxes[index], self.scores[index], self.keypoints[index])

    def candidates(self) -> list[Candidate]:
        """The same one by one."""
        rows = np.concatenate([self.boxes, self.keypoints.reshape(len(self), 2 * self.keypoints.shape[1])], axis=1)
        return [Candidate(score, row) for score, row in zip(self.scores.tolist(), rows.tolist(), strict=True)]


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height, …), 0…1; 0 where both are empty."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    together = box[2] * box[3] + other[2] * other[3] - common
    return common / together if together > 0 else 0.0


def weighted_suppression(found: Iterable[Candidate], threshold: float, keypoints: int) -> Detections:
    """Of boxes that overlap more than `threshold` with a better one, the mean weighted by score; best first.

    MediaPipe's NonMaxSuppressionCalculator with WEIGHTED: a joined face keeps the best score. `keypoints` is how many
    there are of a face.
    """
    left = sorted(found, key=lambda candidate: -candidate.score)
    scores: list[float] = []
    rows: list[list[float]] = []
    while left:
        best, *others = left
        group, left = [best], []
        for other in others:
            (group if overlap(best.row, other.row) > threshold else left).append(other)
        scores.append(best.score)
        rows.append(_mean(group))
    faces = np.array(rows, np.float32).reshape(len(rows), 4 + 2 * keypoints)
    points = faces[:, 4:].reshape(len(rows), keypoints, 2)
    return Detections(faces[:, :4], np.array(scores, np.float32), points)


def _mean(group: Sequence[Candidate]) -> list[float]:
    """Of all their numbers, weighted by score."""
    if len(group) == 1:
        return group[0].row
    weights = [candidate.score for candidate in group]
    total = sum(weights)
    return [sum(map(mul, weights, numbers)) / total for numbers in zip(*(one.row for one in group), strict=True)]
