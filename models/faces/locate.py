"""Where the faces of a frame are: detection, close looks at doubtful ones, landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.models.faces.crop import Outline
from bimodal.models.faces.detections import Candidate, overlap
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks
from bimodal.models.session import Artifact

SPARE = 8
"""Number of detections kept above the number of faces wanted, since some turn out to be no face."""
CANDIDATE = 0.6
"""Detections from this share of the least score on are candidates: a close look may confirm them."""
CERTAIN = 0.92
"""Faces with a lower detection score are looked at closely: upright, frontal ones reach 0.93, others at most 0.91."""
CONFIRMED, CONFIRMED_ALONE = 0.55, 0.7
"""Least score of a close look for a face without a mesh; the second where the first look was too weak by itself."""
SIZE_TOLERANCE = 0.8
"""Faces from this share of the least size on are kept: boxes of the smallest are measured up to a sixth too small."""


class Located(NamedTuple):
    """A face and where it is.

    Attributes:
        face: its detection; `score` is the better one of the first and the close look.
        presence: confidence of the landmark model that its crop shows a face, 0…1.
        outline: its mesh, or the square around the landmarks to be expected.
    """

    face: Candidate
    presence: float
    outline: Outline


class FaceLocator:
    """Finds faces with a detector and a landmark model, without state.

    Args:
        detector, landmarks: opened artifacts of these kinds.
        min_score: least score of a detection, 0…1.
        min_size: least longer side of a box in pixels of the frame.
        min_presence: least score × presence for a face with a mesh.
        max_faces: about as many faces are wanted; the largest and surest detections are tried.
        largest_look: longest side of the detector's input in pixels.

    Raises ArtifactError where the geometry can't be read from an artifact.
    """

    def __init__(
        self,
        detector: Artifact,
        landmarks: Artifact,
        *,
        min_score: float = 0.5,
        min_size: float = 24.0,
        min_presence: float = 0.5,
        max_faces: int = 8,
        largest_look: int = 1280,
    ) -> None:
        self.detector = Detector(detector, min_score=CANDIDATE * min_score, largest_look=largest_look)
        self.landmarks = Landmarks(landmarks)
        self._min_score, self._min_size, self._min_presence = min_score, min_size, min_presence
        self._max_faces = max_faces

    def __call__(
        self,
        pixels: NDArray[np.uint8],
        smallest: float = 0.0,
        known: Sequence[Sequence[float]] = (),
        part: tuple[int, int, int, int] | None = None,
    ) -> list[Located]:
        """Find the faces in uint8 [H, W, 3] RGB of at least `min_size` and about `smallest` pixels, in no order.

        Weak detections are looked at closely, which confirms them and tells which way is up. A face counts where the
        landmark model agrees with the detector (letters and foliage may pass for a face with one of the two, seldom
        with both), or where the close look is sure: in profile, turned away, dark or small faces have no mesh.
        Faces at the boxes `known` are left out; `part` (left, top, right, bottom) is the only part that is searched.
        """
        if part is None:
            seen = self.detector(pixels, max(self._min_size, smallest)).faces
        else:
            left, top, right, bottom = part
            there = self.detector(pixels[top:bottom, left:right], max(self._min_size, smallest)).faces
            seen = [moved(face, left, top) for face in there]
        limit = self.detector.geometry.suppression
        fresh = [face for face in seen if all(overlap(face.row, box) <= limit for box in known)]
        faces = self._candidates(fresh)
        doubtful = [place for place, face in enumerate(faces) if face.score < CERTAIN]
        looks = self.detector.look_closely(pixels, [faces[place] for place in doubtful])
        sure = {place for place in range(len(faces)) if place not in doubtful}
        for place, look in zip(doubtful, looks, strict=True):
            enough = CONFIRMED if faces[place].score >= self._min_score else CONFIRMED_ALONE
            if look.score >= enough:
                sure.add(place)
            faces[place] = Candidate(max(faces[place].score, look.score), faces[place].row, look.angle)
        kept = [place for place, face in enumerate(faces) if face.score >= self._min_score]
        found = self._with_mesh(pixels, [faces[place] for place in kept])
        return [one for place, one in zip(kept, found, strict=True) if one.outline.points is not None or place in sure]

    def too_small(self, box: Sequence[float]) -> bool:
        """Whether a box (x, y, width, height, …) is smaller than the faces wanted."""
        return max(box[2:4]) < SIZE_TOLERANCE * self._min_size

    def _candidates(self, found: Sequence[Candidate]) -> list[Candidate]:
        large = [face for face in found if not self.too_small(face.row)]
        large.sort(key=lambda face: -face.row[2] * face.row[3] * face.score**2)
        return large[: self._max_faces + SPARE]

    def _with_mesh(self, pixels: NDArray[np.uint8], faces: Sequence[Candidate]) -> list[Located]:
        """Locate detections; those that the landmark model is not sure of get no mesh."""
        squares = [self.detector.square(face) for face in faces]
        mesh = self.landmarks(pixels, [square.scaled(self.landmarks.geometry.margin) for square in squares])
        return [
            Located(face, sure, Outline(points if sure * face.score >= self._min_presence else None, square))
            for face, square, points, sure in zip(faces, squares, mesh.points, mesh.presence.tolist(), strict=True)
        ]


def moved(face: Candidate, across: float, down: float) -> Candidate:
    """A detection in a part of a frame, in pixels of the frame."""
    row = list(face.row)
    for place in (0, *range(4, len(row), 2)):
        row[place] += across
        row[place + 1] += down
    return Candidate(face.score, row, face.angle)
