"""Face detection in a frame with a face-detector artifact: one look of the right size, close looks where in doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.models.errors import ArtifactError
from bimodal.models.faces.decoding import anchor_rows, decode_anchors, decode_grids
from bimodal.models.faces.detections import Candidate, Detections, Roll, suppression, weighted_suppression
from bimodal.models.faces.geometry import DetectorGeometry, GridGeometry, SsdGeometry, detector_geometry
from bimodal.models.faces.resampling import Letterbox, Square, fit, letterbox, warp
from bimodal.models.session import Artifact, check_finite

# Smaller pictures are enlarged to this many pixels on their longer side: a face that fills one has no context else.
LEAST_SIDE = 160
# A smaller box that lies in a better one by more than this is a part of the same face.
INSIDE = 0.8

# A close look shows the face in this many directions, as squares of so many pixels, with so many times its width.
TURNS = 4
CLOSE_SIZE, CLOSE_SCALE = 64, 2.0
# The face of a close look lies in its middle, in shares of the picture, and is about as large as it should be.
OFF_CENTRE, SIZES = 0.2, (0.5, 2.0)
# Weakest detection that a close look compares.
CLOSE_SCORE = 0.1
# A face is turned if another direction scores so much more, and at least that.
CLEARER, CLEAR = 0.03, 0.85


class Detector:
    """Detects faces in single frames, without state.

    Args:
        artifact: an artifact of kind `face-detector`.
        min_score: detections with a lower score are discarded.
        largest_look: longest side of the network's input in pixels, where it takes any size: the budget of a look.

    Raises ArtifactError if the artifact's geometry is invalid.
    """

    def __init__(self, artifact: Artifact, *, min_score: float = 0.5, largest_look: int = 1280) -> None:
        self.geometry = detector_geometry(artifact)
        self._artifact = artifact
        self._min_score = min_score
        self._largest_look = largest_look
        names = self.geometry.keypoints
        if isinstance(self.geometry, SsdGeometry):  # as MediaPipe: level with the eyes
            names = tuple(name if name in ("right_eye", "left_eye") else "" for name in names)
        self._roll = Roll(names)
        self._fixed = fixed_size(artifact, self.geometry)

    def __call__(self, frame: NDArray[np.uint8], smallest: float = 24.0) -> Detections:
        """Detect faces in uint8 [H, W, 3] RGB with one run; best first.

        Args:
            smallest: side of the smallest face wanted, in pixels of the frame. A network of one size ignores it.
        """
        geometry = self.geometry
        height, width = frame.shape[:2]
        if isinstance(geometry, SsdGeometry):
            place = fit(0, 0, width, height, geometry.size)
            raw = self._run_single_shot(letterbox(frame, geometry.size), geometry, place, self._min_score)
            found = weighted_suppression(raw, geometry.suppression)
        else:
            if self._fixed is not None:
                look = fitted_look(width, height, *self._fixed)
            else:
                look = look_of(width, height, smallest, geometry, self._largest_look)
            raw = self._run_grids(scaled(frame, look), geometry, look.factor, self._min_score)
            found = suppression(raw, geometry.suppression, INSIDE)
        return Detections([Candidate(face.score, face.row, self._roll(face.row)) for face in found.faces])

    def square(self, face: Candidate) -> Square:
        """The square around the landmarks to be expected, turned as the face is."""
        x, y, width, height = face.row[:4]
        scale, lower = self.geometry.landmarks
        side = max(width, height)
        down = lower * side
        return Square(
            x + width / 2 - math.sin(face.angle) * down,
            y + height / 2 + math.cos(face.angle) * down,
            max(1.0, side * scale),
            face.angle,
        )

    def squares(self, found: Detections, margin: float) -> list[Square]:
        """The squares of all faces in which a landmark model of that margin looks."""
        return [self.square(face).scaled(margin) for face in found.faces]

    def look_closely(self, frame: NDArray[np.uint8], faces: Sequence[Candidate]) -> list[CloseLook]:
        """Look at each face again at one size, in four directions, all in as few runs as the network's input allows.

        What is no face is seldom one at another size, and a face is found best when it is upright.
        """
        if not faces:
            return []
        squares = [self.square(face).scaled(CLOSE_SCALE) for face in faces]
        turned = [
            Square(square.x, square.y, square.side, square.angle + turn * 2 * math.pi / TURNS)
            for square in squares
            for turn in range(TURNS)
        ]
        seen: list[Candidate | None] = []
        most = self._most_close_looks()
        for start in range(0, len(turned), most):
            seen += self._close_looks(frame, turned[start : start + most])
        return [
            close_look(seen[place : place + TURNS], turned[place : place + TURNS])
            for place in range(0, len(seen), TURNS)
        ]

    def _most_close_looks(self) -> int:
        """Number of close looks that one run takes."""
        wide, high = self._fixed or (self._largest_look, self._largest_look)
        return max(1, (wide // CLOSE_SIZE) * (high // CLOSE_SIZE))

    def _close_looks(self, frame: NDArray[np.uint8], squares: Sequence[Square]) -> list[Candidate | None]:
        """The best detection in the middle of each square, with `row` in pixels of its picture; None without one."""
        geometry = self.geometry
        if self._fixed is not None:
            width, height = self._fixed
        else:
            assert isinstance(geometry, GridGeometry)  # a single-shot network has one size
            columns = math.ceil(math.sqrt(len(squares)))
            cells = columns, math.ceil(len(squares) / columns)
            width, height = (_whole(count * CLOSE_SIZE, geometry.multiple) for count in cells)
        columns = width // CLOSE_SIZE
        picture = np.zeros((height, width, 3), np.uint8)
        for place, square in enumerate(squares):
            top, left = (at * CLOSE_SIZE for at in divmod(place, columns))
            picture[top : top + CLOSE_SIZE, left : left + CLOSE_SIZE] = warp(
                frame, square.to_frame(CLOSE_SIZE), CLOSE_SIZE
            )
        if isinstance(geometry, SsdGeometry):
            found = self._run_single_shot(picture, geometry, Letterbox(0.0, 0.0, 1.0), CLOSE_SCORE)
        else:
            found = self._run_grids(picture, geometry, 1.0, CLOSE_SCORE)
        best: list[Candidate | None] = [None] * len(squares)
        usual = CLOSE_SIZE / CLOSE_SCALE / geometry.landmarks[0]
        for one in found:
            x, y, wide, high = one.row[:4]
            column, row = int((x + wide / 2) // CLOSE_SIZE), int((y + high / 2) // CLOSE_SIZE)
            place = row * columns + column
            if not (0 <= column < columns and 0 <= place < len(squares)):
                continue
            off = max(
                abs((x + wide / 2) % CLOSE_SIZE - CLOSE_SIZE / 2), abs((y + high / 2) % CLOSE_SIZE - CLOSE_SIZE / 2)
            )
            fits = off <= OFF_CENTRE * CLOSE_SIZE and SIZES[0] <= max(wide, high) / usual <= SIZES[1]
            known = best[place]
            if fits and (known is None or one.score > known.score):
                best[place] = Candidate(one.score, one.row, self._roll(one.row))
        return best

    def _run_single_shot(
        self, picture: NDArray[np.uint8], geometry: SsdGeometry, place: Letterbox, min_score: float
    ) -> list[Candidate]:
        raw = self._artifact.run(image=picture[None])
        scores = raw["scores"][0, :, 0]
        check_finite(self._artifact, scores)
        return decode_anchors(raw["boxes"][0], scores, anchor_rows(geometry), geometry, place, min_score)

    def _run_grids(
        self, picture: NDArray[np.uint8], geometry: GridGeometry, factor: float, min_score: float
    ) -> list[Candidate]:
        raw = self._artifact.run(image=picture[None])
        boxes, scores = raw["boxes"][0], raw["scores"][0, :, 0]
        check_finite(self._artifact, scores)
        columns = 4 + 2 * len(geometry.keypoints)
        if boxes.shape[1] < columns:
            raise ArtifactError(f"{self._artifact.path}: 'boxes' has {boxes.shape[1]} columns, 'geometry' {columns}")
        height, width = picture.shape[:2]
        return decode_grids(boxes, scores, geometry, (width, height), factor, min_score)


def fixed_size(artifact: Artifact, geometry: DetectorGeometry) -> tuple[int, int] | None:
    """Width and height of a detector's input; None where it takes any size."""
    if isinstance(geometry, SsdGeometry):
        return geometry.size, geometry.size
    height, width = artifact.inputs[0].shape[1:3]
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


class CloseLook(NamedTuple):
    """What a close look at a face says.

    Attributes:
        score: of the face in the middle, in the direction chosen, 0…1; 0 where there is none.
        angle: roll of the face in the frame, in radians, clockwise.
        turned: whether that is another direction than the detection's.
    """

    score: float
    angle: float
    turned: bool


def close_look(seen: Sequence[Candidate | None], squares: Sequence[Square]) -> CloseLook:
    """Choose among the directions of one face, the first being the detection's own."""
    scores = [0.0 if one is None else one.score for one in seen]
    best = max(range(len(scores)), key=scores.__getitem__)
    turned = scores[best] >= max(CLEAR, scores[0] + CLEARER)
    chosen = best if turned else 0
    found = seen[chosen]
    angle = squares[chosen].angle + (found.angle if turned and found is not None else 0.0)
    return CloseLook(scores[chosen], math.remainder(angle, 2 * math.pi), turned)


class Look(NamedTuple):
    """Input of a detector for one frame: the scaled frame at the upper left, black beyond.

    Attributes:
        width, height: of the input, in pixels.
        factor: pixels of the input per pixel of the frame.
    """

    width: int
    height: int
    factor: float


@lru_cache(maxsize=256)
def look_of(width: int, height: int, smallest: float, geometry: GridGeometry, largest: int) -> Look:
    """The smallest input in which a face of `smallest` pixels of a frame of that size can be found.

    Frames are reduced in steps of a half, which is sharp and fast, and not to more than `largest` pixels on the longer
    side; only small pictures are enlarged.
    """
    longer = max(width, height)
    budget = math.ceil(2 * longer / largest) / 2
    wanted = math.floor(2 * smallest / geometry.smallest) / 2
    reduction = max(budget, min(wanted, longer / LEAST_SIDE), 1.0)
    factor = max(1 / reduction, LEAST_SIDE / longer if longer < LEAST_SIDE else 0.0)
    wide, high = (_whole(side * factor, geometry.multiple) for side in (width, height))
    return Look(wide, high, factor)


def fitted_look(width: int, height: int, wide: int, high: int) -> Look:
    """The input of a network of one size."""
    return Look(wide, high, min(wide / width, high / height))


def _whole(length: float, multiple: int) -> int:
    return max(1, math.ceil(round(length) / multiple)) * multiple


def scaled(frame: NDArray[np.uint8], look: Look) -> NDArray[np.uint8]:
    """Scale uint8 [H, W, 3] into uint8 [look.height, look.width, 3]."""
    rows, columns = frame.shape[:2]
    height = min(max(1, round(rows * look.factor)), look.height)
    width = min(max(1, round(columns * look.factor)), look.width)
    if (rows, columns) == (height, width) == (look.height, look.width):
        return frame
    picture = np.zeros((look.height, look.width, 3), np.uint8)
    inner = picture[:height, :width]
    if (rows, columns) == (height, width):
        inner[:] = frame
    else:
        step = round(1 / look.factor)
        if look.factor < 1 and abs(step * look.factor - 1) < 1e-9:
            # OpenCV averages whole blocks of pixels several times as fast as parts of them.
            height, width = min(rows // step, look.height), min(columns // step, look.width)
            frame, inner = frame[: height * step, : width * step], picture[:height, :width]
        smooth = cv2.INTER_AREA if look.factor <= 0.5 else cv2.INTER_LINEAR
        cv2.resize(frame, (width, height), dst=inner, interpolation=smooth)
    return picture
