"""A frame → detected faces, with a face-detector artifact.

Decoding follows MediaPipe's TensorsToDetectionsCalculator. The short-range network sees only faces that are large in
its 128×128 input, so small faces are looked for in overlapping square tiles of the frame as well.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.faces.anchors import make_anchors
from models.faces.detections import Detections, join, weighted_suppression
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
        return weighted_suppression(self._look(frame, Tile(0, 0, width, height)), self.geometry.suppression)

    def look_closer(self, frame: NDArray[np.uint8], large: Detections) -> Detections:
        """The faces `large` of the same frame and the small ones, best first, at the cost of one run a tile."""
        height, width = frame.shape[:2]
        found = [large]
        for tile in make_tiles(width, height):
            seen = self._look(frame, tile)
            found.append(seen.take(~cut_off(seen.boxes, tile, width, height)))
        return weighted_suppression(join(found), self.geometry.suppression)

    def _look(self, frame: NDArray[np.uint8], tile: Tile) -> Detections:
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
) -> Detections:
    """Raw boxes float32 [K, 4 + 2P] and scores [K] → the detections of at least `min_score`, not yet joined."""
    likely = (scores >= _raw_floor(min_score)).nonzero()[0]
    clip = geometry.score_clip
    found = [1 / (1 + math.exp(-max(-clip, min(clip, score)))) for score in scores[likely].tolist()]
    if found and min(found) < min_score:
        likely = likely[[score >= min_score for score in found]]
        found = [score for score in found if score >= min_score]
    pairs = boxes[likely].reshape(len(found), boxes.shape[1] // 2, 2)  # centre, size, then the keypoints
    if not found:
        return Detections(boxes[:0, :4], scores[:0], pairs[:, 2:])
    pairs /= geometry.scale
    sizes = pairs[:, 1] * np.float32(geometry.size) / np.float32(place.factor)
    pairs += anchors[likely][:, None]
    pairs *= geometry.size
    points = place.to_frame(pairs)
    points[:, 0] -= sizes / 2
    points[:, 1] = sizes
    rows = points.reshape(len(found), boxes.shape[1])
    return Detections(rows[:, :4], np.array(found, np.float32), points[:, 2:])


def _raw_floor(min_score: float) -> float:
    """A raw score that no detection of at least `min_score` lies below: most anchors are left out by it at once."""
    if min_score < MEANT:
        return -math.inf
    score = min(min_score, 1 - MEANT)
    return math.log(score / (1 - score)) - 1.0  # rounding of the probabilities to float32 is worth much less
