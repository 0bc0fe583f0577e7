"""A frame → detected faces, with a face-detector artifact.

Decoding follows MediaPipe's TensorsToDetectionsCalculator. The short-range network sees only faces that are large in
its 128×128 input, so small faces are looked for in overlapping square tiles of the frame as well.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.anchors import make_anchors
from bimodal.models.faces.detections import Candidate, Detections, weighted_suppression
from bimodal.models.faces.geometry import DetectorGeometry, geometry_of
from bimodal.models.faces.letterbox import Letterbox, fit, letterbox
from bimodal.models.faces.tiles import Tile, cut_off, make_tiles
from bimodal.models.session import Artifact

MEANT = 1e-6
"""Nobody asks for more exact scores than that."""


class Detector:
    """Finds faces in one frame at a time; what it finds depends on that frame only.

    Args:
        artifact: of the kind `face-detector`.
        min_score: detections below this are no faces.

    Raises ArtifactError where the artifact's geometry can't be read.
    """

    def __init__(self, artifact: Artifact, *, min_score: float = 0.5) -> None:
        self.geometry = geometry_of(artifact, DetectorGeometry)
        self._artifact = artifact
        self._anchors = anchor_rows(self.geometry)
        self._min_score = min_score

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """uint8 [H, W, 3] RGB → the faces that are large in it, best first, at the cost of one run."""
        height, width = frame.shape[:2]
        return self._joined(self._look(frame, Tile(0, 0, width, height)))

    def look_closer(self, frame: NDArray[np.uint8], large: Detections) -> Detections:
        """The faces `large` of the same frame and the small ones, best first, at the cost of one run a tile."""
        height, width = frame.shape[:2]
        found = list(large.faces)
        for tile in make_tiles(width, height):
            seen = self._look(frame, tile)
            found += [candidate for candidate in seen if not cut_off(candidate.row, tile, width, height)]
        return self._joined(found)

    def _joined(self, found: list[Candidate]) -> Detections:
        return weighted_suppression(found, self.geometry.suppression)

    def _look(self, frame: NDArray[np.uint8], tile: Tile) -> list[Candidate]:
        part = frame[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        size = self.geometry.size
        raw = self._artifact.run(image=letterbox(part, size)[None])
        place = fit(tile.left, tile.top, tile.width, tile.height, size)
        return decode(raw["boxes"][0], raw["scores"][0, :, 0], self._anchors, self.geometry, place, self._min_score)


def anchor_rows(geometry: DetectorGeometry) -> NDArray[np.float32]:
    """What `decode` adds to the raw rows: float32 [K, 4 + 2P] in raw units, 0 under widths and heights."""
    return _spread(make_anchors(geometry.anchors) * geometry.scale, 4 + 2 * len(geometry.keypoints))


def decode(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    anchors: NDArray[np.float32],
    geometry: DetectorGeometry,
    place: Letterbox,
    min_score: float,
) -> list[Candidate]:
    """Raw boxes float32 [K, 4 + 2P] and scores [K] → the candidates of at least `min_score`, not yet joined.

    `anchors` are those of `anchor_rows`.
    """
    likely = (scores >= _raw_floor(min_score)).nonzero()[0]
    if len(likely) == 0:
        return []
    rows = boxes[likely]
    rows += anchors[likely]
    rows *= geometry.size / geometry.scale / place.factor  # pixels of the frame in a raw unit
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
    """What is added to each of a row's numbers: where the square begins in the frame."""
    return _spread(np.array([[place.left, place.top]], np.float32), columns).reshape(columns)


def _spread(places: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Places [K, 2] under the numbers of each row: at its box's x and y and at each keypoint; 0 at width and height."""
    rows = np.tile(places, columns // 2)
    rows[:, 2:4] = 0
    return rows


@lru_cache(maxsize=64)
def _raw_floor(min_score: float) -> float:
    """A raw score that no detection of at least `min_score` lies below: most anchors are left out by it at once."""
    if min_score < MEANT:
        return -math.inf
    score = min(min_score, 1 - MEANT)
    return math.log(score / (1 - score)) - 1.0  # rounding of the probabilities to float32 is worth much less
