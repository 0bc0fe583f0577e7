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

    def take(self, index: NDArray[np.generic]) -> Detections:
        """Those at `index` (positions or a mask), in its order."""
        return Detections(self.boxes[index], self.scores[index], self.keypoints[index])


def join(parts: Sequence[Detections]) -> Detections:
    """All detections of several parts of a frame; `parts` is not empty."""
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.keypoints for part in parts]),
    )


def overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union float32 [A, B] of boxes [A, 4] and [B, 4]; 0 where both are empty."""
    ends, others_ends = boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:]
    sides = np.minimum(ends[:, None], others_ends) - np.maximum(boxes[:, None, :2], others[:, :2])
    np.maximum(sides, 0, out=sides)
    common = sides[..., 0] * sides[..., 1]
    areas = (boxes[:, 2] * boxes[:, 3])[:, None] + others[:, 2] * others[:, 3] - common
    shares: Floats = np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)
    return shares


def weighted_suppression(found: Detections, threshold: float) -> Detections:
    """Of boxes that overlap more than `threshold` with a better one, the mean weighted by score; best first.

    MediaPipe's NonMaxSuppressionCalculator with WEIGHTED: a joined face keeps the best score.
    """
    if len(found) == 0:
        return found
    found = found.take(np.argsort(-found.scores, kind="stable"))
    # One row a face: box corners and keypoints, what the weighted mean is taken of.
    rows = np.concatenate([found.boxes, found.keypoints.reshape(len(found), -1)], axis=1)
    rows[:, 2:4] += rows[:, :2]
    weights = found.scores[:, None]
    left = np.arange(len(found))
    kept: list[int] = []
    while len(left):
        best = int(left[0])
        alike = overlaps(found.boxes[left[:1]], found.boxes[left])[0] > threshold
        alike[0] = True
        group = left[alike]
        if len(group) > 1:
            rows[best] = (rows[group] * weights[group]).sum(axis=0) / weights[group].sum()
        kept.append(best)
        left = left[~alike]
    means = rows[kept]
    means[:, 2:4] -= means[:, :2]
    return Detections(means[:, :4], found.scores[kept], means[:, 4:].reshape(len(kept), *found.keypoints.shape[1:]))
