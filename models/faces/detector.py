"""A frame → detected faces, with a face-detector artifact.

Decoding follows MediaPipe's TensorsToDetectionsCalculator. The short-range network sees only faces that are large in
its 128×128 input, so small faces are looked for in overlapping square tiles of the frame as well.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.faces.anchors import make_anchors
from models.faces.detections import Candidate, Detections, weighted_suppression
from models.faces.geometry import DetectorGeometry, geometry_of
from models.faces.letterbox import Letterbox, fit, letterbox
from models.faces.tiles import Tile, cut_off, make_tiles
from models.session import Artifact

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
        self._anchors = make_anchors(self.geometry.anchors)
        self._min_score = min_score

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """uint8 [H, W, 3] RGB → the faces that are large in it, best first, at the cost of one run."""
        height, width = frame.shape[:2]
        return self._joined(self._look(frame, Tile(0, 0, width, height)))

    def look_closer(self, frame: NDArray[np.uint8], large: Detections) -> Detections:
        """The faces `large` of the same frame and the small ones, best first, at the cost of one run a tile."""
        height, width = frame.shape[:2]
        found = large.candidates()
        for tile in make_tiles(width, height):
            seen = self._look(frame, tile)
            found += [candidate for candidate in seen if not cut_off(candidate.row, tile, width, height)]
        return self._joined(found)

    def _joined(self, found: list[Candidate]) -> Detections:
        return weighted_suppression(found, self.geometry.suppression, len(self.geometry.keypoints))

    def _look(self, frame: NDArray[np.uint8], tile: Tile) -> list[Candidate]:
        part = frame[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        size = self.geometry.size
        raw = self._artifact.run(image=letterbox(part, size)[None])
        place = fit(tile.left, tile.top, tile.width, tile.height, size)
        return decode(raw["boxes"][0], raw["scores"][0, :, 0], self._anchors, self.geometry, place, self._min_score)


def decode(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    anchors: NDArray[np.float32],
    geometry: DetectorGeometry,
    place: Letterbox,
    min_score: float,
) -> list[Candidate]:
    """Raw boxes float32 [K, 4 + 2P] and scores [K] → the candidates of at least `min_score`, not yet joined."""
    likely = (scores >= _raw_floor(min_score)).nonzero()[0]
    if len(likely) == 0:
        return []
    side = geometry.size / place.factor  # of the whole square, in pixels of the frame
    found = []
    for score, raw, (x, y) in zip(*(array[likely].tolist() for array in (scores, boxes, anchors)), strict=True):
        clipped = max(-geometry.score_clip, min(geometry.score_clip, score))
        probability = 1 / (1 + math.exp(-clipped))
        if probability >= min_score:
            found.append(
                Candidate(probability, _row(raw, place.left + x * side, place.top + y * side, side / geometry.scale))
            )
    return found


def _row(raw: list[float], x: float, y: float, unit: float) -> list[float]:
    """Raw numbers of one anchor at (x, y), in units of so many pixels, all in pixels: box and keypoints."""
    row = [0.0] * len(raw)
    row[::2] = [x + value * unit for value in raw[::2]]
    row[1::2] = [y + value * unit for value in raw[1::2]]
    width, height = raw[2] * unit, raw[3] * unit
    row[:4] = row[0] - width / 2, row[1] - height / 2, width, height
    return row


def _raw_floor(min_score: float) -> float:
    """A raw score that no detection of at least `min_score` lies below: most anchors are left out by it at once."""
    if min_score < MEANT:
        return -math.inf
    score = min(min_score, 1 - MEANT)
    return math.log(score / (1 - score)) - 1.0  # rounding of the probabilities to float32 is worth much less
