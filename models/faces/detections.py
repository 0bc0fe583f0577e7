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
    corner = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], (others[:, :2] + others[:, 2:])[None])
    common = np.prod(np.maximum(end - corner, 0), axis=2)
    areas = np.prod(boxes[:, 2:], axis=1)[:, None] + np.prod(others[:, 2:], axis=1)[None] - common
    shares: Floats = np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)
    return shares


def weighted_suppression(found: Detections, threshold: float) -> Detections:
    """Of boxes that overlap more than `threshold` with a better one, the mean weighted by score; best first.

    MediaPipe's NonMaxSuppressionCalculator with WEIGHTED: a joined face keeps the best score.
    """
    found = found.take(np.argsort(-found.scores, kind="stable"))
    # One row a face: box corners and keypoints, what the weighted mean is taken of.
    corners = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1)
    rows = np.concatenate(
        [corners, found.keypoints.reshape(len(found), int(np.prod(found.keypoints.shape[1:])))], axis=1
    )
    alike = overlaps(found.boxes, found.boxes) > threshold
    left = np.ones(len(found), dtype=bool)
    kept: list[int] = []
    for best in range(len(found)):
        if not left[best]:
            continue
        group = left & alike[best]
        group[best] = True
        rows[best] = np.average(rows[group], axis=0, weights=found.scores[group])
        kept.append(best)
        left &= ~group
    means = rows[kept]
    boxes = np.concatenate([means[:, :2], means[:, 2:4] - means[:, :2]], axis=1)
    return Detections(boxes, found.scores[kept], means[:, 4:].reshape(len(kept), *found.keypoints.shape[1:]))
