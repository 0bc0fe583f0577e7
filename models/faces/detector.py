"""Face detection in a frame with a face-detector artifact.

Decoding follows MediaPipe's TensorsToDetectionsCalculator. The short-range network finds only faces that are large in
its 128×128 input, so small faces are detected in overlapping square tiles of the frame in addition.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import attrgetter, mul
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.models.errors import ArtifactError
from bimodal.models.faces.resampling import Letterbox, fit, letterbox
from bimodal.models.session import Artifact

# Scores nearer to 0 or 1 than this are treated as equal to them.
SCORE_TOLERANCE = 1e-6


class Detector:
    """Detects faces in single frames, without state.

    Args:
        artifact: an artifact of kind `face-detector`.
        min_score: detections with a lower score are discarded.

    Raises ArtifactError if the artifact's geometry is invalid.
    """

    def __init__(self, artifact: Artifact, *, min_score: float = 0.5) -> None:
        self.geometry = geometry_of(artifact, DetectorGeometry)
        self._artifact = artifact
        self._anchors = anchor_rows(self.geometry)
        self._min_score = min_score

    def __call__(self, frame: NDArray[np.uint8]) -> Detections:
        """Detect large faces in uint8 [H, W, 3] RGB with one run; best first."""
        height, width = frame.shape[:2]
        return self._joined(self._detect(frame, Tile(0, 0, width, height)))

    def detect_small(self, frame: NDArray[np.uint8], large: Detections) -> Detections:
        """Detect small faces, one run per tile; return them with the faces `large` of the same frame, best first."""
        height, width = frame.shape[:2]
        found = list(large.faces)
        for tile in make_tiles(width, height):
            seen = self._detect(frame, tile)
            found += [candidate for candidate in seen if not cut_off(candidate.row, tile, width, height)]
        return self._joined(found)

    def _joined(self, found: list[Candidate]) -> Detections:
        return weighted_suppression(found, self.geometry.suppression)

    def _detect(self, frame: NDArray[np.uint8], tile: Tile) -> list[Candidate]:
        part = frame[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        size = self.geometry.size
        raw = self._artifact.run(image=letterbox(part, size)[None])
        place = fit(tile.left, tile.top, tile.width, tile.height, size)
        return decode(raw["boxes"][0], raw["scores"][0, :, 0], self._anchors, self.geometry, place, self._min_score)


def anchor_rows(geometry: DetectorGeometry) -> NDArray[np.float32]:
    """The offsets that `decode` adds to raw rows: float32 [K, 4 + 2P] in raw units, 0 for widths and heights."""
    return _spread(make_anchors(geometry.anchors) * geometry.scale, 4 + 2 * len(geometry.keypoints))


def decode(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    anchors: NDArray[np.float32],
    geometry: DetectorGeometry,
    place: Letterbox,
    min_score: float,
) -> list[Candidate]:
    """Decode raw boxes float32 [K, 4 + 2P] and scores [K] to candidates of at least `min_score`, not yet suppressed.

    `anchors` are those of `anchor_rows`.
    """
    likely = (scores >= _raw_floor(min_score)).nonzero()[0]
    if len(likely) == 0:
        return []
    rows = boxes[likely]
    rows += anchors[likely]
    rows *= geometry.size / geometry.scale / place.factor  # pixels of the frame per raw unit
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
    """The offset of the square in the frame, for each number of a row."""
    return _spread(np.array([[place.left, place.top]], np.float32), columns).reshape(columns)


def _spread(places: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Repeat positions [K, 2] for the box and each keypoint of a row; 0 for width and height."""
    rows = np.tile(places, columns // 2)
    rows[:, 2:4] = 0
    return rows


@lru_cache(maxsize=64)
def _raw_floor(min_score: float) -> float:
    """A raw score below which no detection reaches `min_score`, so that most anchors are discarded at once."""
    if min_score < SCORE_TOLERANCE:
        return -math.inf
    score = min(min_score, 1 - SCORE_TOLERANCE)
    return math.log(score / (1 - score)) - 1.0  # a margin far above the rounding of probabilities to float32


# Anchors


def make_anchors(layers: Sequence[AnchorLayer]) -> NDArray[np.float32]:
    """Anchor centres float32 [K, 2] (x, y) in 0…1 of the input, in the order of the raw boxes: row by row, repeated.

    As MediaPipe's SsdAnchorsCalculator with fixed_anchor_size.
    """
    return np.concatenate([_layer(layer) for layer in layers])


def _layer(layer: AnchorLayer) -> NDArray[np.float32]:
    centres = (np.arange(layer.cells, dtype=np.float32) + np.float32(0.5)) / np.float32(layer.cells)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    return np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), layer.repeats, axis=0)


# Tiles

# Side of a tile over the shorter side of the frame. The detector finds faces from about a tenth of its input on.
SHARE = 0.5
# Share of the side that neighbours have in common, so that a face of up to a third of a tile is whole in one of them.
OVERLAP = 1 / 3
# A box nearer to an inner edge of its tile than this share of the side is cut off; another tile has all of it.
EDGE = 0.02


class Tile(NamedTuple):
    """A rectangle of whole pixels of the frame."""

    left: int
    top: int
    width: int
    height: int


@lru_cache(maxsize=64)
def make_tiles(width: int, height: int) -> tuple[Tile, ...]:
    """Overlapping squares that cover a frame of that size, row by row."""
    side = max(1, round(min(width, height) * SHARE))
    return tuple(Tile(left, top, side, side) for top in _starts(height, side) for left in _starts(width, side))


def cut_off(box: Sequence[float], tile: Tile, width: int, height: int) -> bool:
    """True if a box (x, y, width, height, …) reaches an edge of the tile that is not an edge of the frame."""
    margin = EDGE * tile.width
    right, bottom = tile.left + tile.width, tile.top + tile.height
    return (
        (box[0] < tile.left + margin and tile.left > 0)
        or (box[1] < tile.top + margin and tile.top > 0)
        or (box[0] + box[2] > right - margin and right < width)
        or (box[1] + box[3] > bottom - margin and bottom < height)
    )


def _starts(length: int, side: int) -> list[int]:
    """The positions of tiles of `side` that cover `length` evenly with at least OVERLAP."""
    if side >= length:
        return [0]
    steps = math.ceil((length - side) / (side * (1 - OVERLAP)))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


# Detections and their suppression

Floats = NDArray[np.float32]
_score = attrgetter("score")


class Candidate(NamedTuple):
    """One anchor's detection. Plain numbers, because arrays are slower for the few candidates of a frame.

    Attributes:
        score: 0…1.
        row: x, y, width, height, then x and y of each keypoint (right eye, left eye, nose tip, mouth centre, right ear,
            left ear), in pixels of the frame.
    """

    score: float
    row: list[float]


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
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    together = box[2] * box[3] + other[2] * other[3] - common
    return common / together if together > 0 else 0.0


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
        faces.append(Candidate(best.score, _mean(group)))
    return Detections(faces)


def _mean(group: Sequence[Candidate]) -> list[float]:
    """The mean of all numbers of the candidates, weighted by score."""
    if len(group) == 1:
        return group[0].row
    weights = [candidate.score for candidate in group]
    total = sum(weights)
    return [sum(map(mul, weights, numbers)) / total for numbers in zip(*(one.row for one in group), strict=True)]


# Geometry in the metadata of detectors and landmark models


class AnchorLayer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A square grid of `cells` × `cells` points with `repeats` anchors each; anchors are points, their size is 1."""

    cells: int
    repeats: int


class DetectorGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters for decoding a single-shot detector's raw boxes (MediaPipe's TensorsToDetectionsCalculator).

    Attributes:
        size: side of the square input in pixels; the frame is scaled to fit, centred, and padded with black.
        scale: raw box and keypoint values are in units of 1 / scale of the input's side, relative to their anchor.
        anchors: grids in the order of the raw boxes, row by row.
        score_clip: raw scores are clipped to ± this before the sigmoid.
        suppression: boxes with a larger intersection over union are one face.
        keypoints: names in the order of the raw values; "right" and "left" are the person's own.
    """

    size: int
    scale: float
    anchors: tuple[AnchorLayer, ...]
    score_clip: float
    suppression: float
    keypoints: tuple[str, ...]


class MeshGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Geometry of the face crop for a landmark model (MediaPipe's FaceDetectionFrontDetectionToRoi).

    Attributes:
        size: side of the square input in pixels.
        margin: side of the square over the longer side of the detection (or of the last points' box).
        eye_points: the two mesh points that are level in the crop, the one further left in it first.
    """

    size: int
    margin: float
    eye_points: tuple[int, int]


_G = TypeVar("_G", DetectorGeometry, MeshGeometry)


def geometry_of(artifact: Artifact, kind: type[_G]) -> _G:
    """Read the typed geometry of an artifact.

    Raises ArtifactError if its metadata are invalid.
    """
    try:
        return msgspec.convert(artifact.metadata.geometry, kind)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{artifact.path}: metadata 'geometry' is wrong: {error}") from error
