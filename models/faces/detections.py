"""Detected faces as arrays, and the joining of overlapping ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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

    def take(self, index: NDArray[np.generic] | list[int]) -> Detections:
        """Those at `index` (positions or a mask), in its order."""
        return Detections(self.boxes[index], self.scores[index], self.keypoints[index])


def join(parts: Sequence[Detections]) -> Detections:
    """All detections of several parts of a frame; `parts` is not empty."""
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.keypoints for part in parts]),
    )


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height), 0…1; 0 where both are empty."""
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    together = box[2] * box[3] + other[2] * other[3] - common
    return common / together if together > 0 else 0.0


def weighted_suppression(found: Detections, threshold: float) -> Detections:
    """Of boxes that overlap more than `threshold` with a better one, the mean weighted by score; best first.

    MediaPipe's NonMaxSuppressionCalculator with WEIGHTED: a joined face keeps the best score.
    """
    if len(found) < 2:
        return found
    found = found.take(np.argsort(-found.scores, kind="stable"))
    # One row a face: box corners and keypoints, what the weighted mean is taken of.
    rows = np.concatenate([found.boxes, found.keypoints.reshape(len(found), -1)], axis=1)
    rows[:, 2:4] += rows[:, :2]
    groups = _alike(found.boxes.tolist(), threshold)
    for group in groups:
        if len(group) > 1:
            weights = found.scores[group]
            rows[group[0]] = (rows[group] * weights[:, None]).sum(axis=0) / weights.sum()
    best = [group[0] for group in groups]
    means = rows[best]
    means[:, 2:4] -= means[:, :2]
    return Detections(means[:, :4], found.scores[best], means[:, 4:].reshape(len(best), *found.keypoints.shape[1:]))


def _alike(boxes: Sequence[Sequence[float]], threshold: float) -> list[list[int]]:
    """Positions of boxes that are one face, the best first. There are few boxes: plain numbers beat arrays."""
    groups: list[list[int]] = []
    left = list(range(len(boxes)))
    while left:
        best, *others = left
        group, left = [best], []
        for other in others:
            (group if overlap(boxes[best], boxes[other]) > threshold else left).append(other)
        groups.append(group)
    return groups
