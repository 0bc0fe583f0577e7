"""One frame → the faces in it: detection, landmarks, crop, static models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import cast

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.messages import Face, Hints, Region
from bimodal.models.faces.detector import Candidate, Detections, Detector, MeshGeometry, overlap
from bimodal.models.faces.mesh import Landmarks, Mesh, Square, mouth_opening, square_of_detection, square_of_points
from bimodal.models.session import Artifact
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.face.static import StaticModels

DOUBT = 0.03
"""Faces with a presence from this to `min_presence` get a second run of the landmark model; those below it do not."""

SPARE = 8
"""Number of detections kept above `max_faces`, since some turn out to be no face."""

CLOSE_UP, CLOSE_UP_PRESENCE = 0.25, 0.9
"""A face of this height, in shorter sides of the frame, with this presence is a close-up."""


class FacePipeline:
    """All face artifacts behind one call. Keeps no state between frames.

    Args:
        detector, landmarks: opened artifacts of these kinds.
        static: one face-static artifact, or several that are averaged.
        settings: selection of the faces.

    Raises ArtifactError where geometry or crop size can't be read from an artifact.
    """

    def __init__(
        self, detector: Artifact, landmarks: Artifact, static: Artifact | Sequence[Artifact], settings: FaceSettings
    ) -> None:
        self._detector = Detector(detector, min_score=settings.min_score)
        self._landmarks = Landmarks(landmarks)
        self._static = StaticModels([static] if isinstance(static, Artifact) else static)
        self._settings = settings

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """uint8 [H, W, 3] RGB → at most `max_faces` faces, the largest first, without hints."""
        return self._read(pixels, *self._detect(pixels))

    def look(self, pixels: NDArray[np.uint8], seq: int, hints: Hints | None) -> tuple[list[Face], Hints | None]:
        """The same for frame `seq` of a live stream: the faces, and hints for the worker of the next frame.

        With `hints` only the landmark model runs, unless it loses one of the faces: then the detector runs too, on
        this same frame.
        """
        every = self._settings.detect_every
        if every == 1:
            return self(pixels), None
        followed = None if hints is None else self._follow(pixels, hints.regions)
        if hints is not None and followed is not None:
            found, mesh, regions = followed
            return self._read(pixels, found, mesh), Hints(regions=regions, until=hints.until)
        found, mesh = self._detect(pixels)
        regions = tuple(
            region_of(points, face.row[:4], face.score, self._landmarks.geometry)
            for points, face in zip(mesh.points, found.faces, strict=True)
        )
        return self._read(pixels, found, mesh), Hints(regions=regions, until=seq + every)

    def _follow(
        self, pixels: NDArray[np.uint8], regions: Sequence[Region]
    ) -> tuple[Detections, Mesh, tuple[Region, ...]] | None:
        """The faces at their new places, the largest first; None where one is lost or overlaps another."""
        if not usable(regions):
            return None
        mesh = self._landmarks(pixels, [square_of(region) for region in regions])
        sure = [presence * region.score for presence, region in zip(mesh.presence.tolist(), regions, strict=True)]
        if min(sure, default=1.0) < self._settings.min_presence:
            return None
        now = [moved(one, points, self._landmarks.geometry) for one, points in zip(regions, mesh.points, strict=True)]
        boxes = [box_of(region) for region in now]
        small = any(box[2] < self._settings.min_size for box in boxes)
        if small or any_overlap(boxes, self._detector.geometry.suppression):
            return None
        order = sorted(range(len(now)), key=lambda face: -boxes[face][2] * boxes[face][3])
        found = Detections([Candidate(now[face].score, list(boxes[face])) for face in order])
        return found, Mesh(mesh.points[order], mesh.presence[order]), tuple(now[face] for face in order)

    def _detect(self, pixels: NDArray[np.uint8]) -> tuple[Detections, Mesh]:
        """The faces with enough score × presence, the largest first."""
        found, mesh = self._find(pixels)
        # Letters and foliage may pass for a face with one of the two networks, seldom with both.
        least = self._settings.min_presence
        both = zip(mesh.presence.tolist(), found.faces, strict=True)
        sure = [place for place, (presence, face) in enumerate(both) if presence * face.score >= least]
        largest = sure[: self._settings.max_faces]
        if len(largest) < len(found.faces):
            found, mesh = found.take(largest), Mesh(mesh.points[largest], mesh.presence[largest])
        return found, mesh

    def _find(self, pixels: NDArray[np.uint8]) -> tuple[Detections, Mesh]:
        """Detections and their landmarks, with tiles as the settings say."""
        large = self._detector(pixels)
        if self._settings.tiles == "always":
            return self._with_mesh(pixels, self._detector.detect_small(pixels, large))
        found, mesh = self._with_mesh(pixels, large)
        if self._settings.tiles == "off" or close_up(found, mesh, min(pixels.shape[:2])):
            return found, mesh
        return self._with_mesh(pixels, self._detector.detect_small(pixels, large))

    def _with_mesh(self, pixels: NDArray[np.uint8], found: Detections) -> tuple[Detections, Mesh]:
        found = self._candidates(found)
        squares = [square_of_detection(face, self._landmarks.geometry) for face in found.faces]
        return found, self._retry_doubtful(pixels, self._landmarks(pixels, squares))

    def _candidates(self, found: Detections) -> Detections:
        """The largest detections, SPARE more than `max_faces`: not all of them are faces."""
        large = [face for face in found.faces if face.row[2] >= self._settings.min_size]
        large.sort(key=lambda face: -face.row[2] * face.row[3])
        return Detections(large[: self._settings.max_faces + SPARE])

    def _retry_doubtful(self, pixels: NDArray[np.uint8], mesh: Mesh) -> Mesh:
        """Run the landmark model again on doubtful faces, in the square around their points; the higher presence wins.

        A face in profile fits badly into the square around its detection; the second run finds many of those.
        """
        presences = mesh.presence.tolist()
        doubtful = [face for face, sure in enumerate(presences) if DOUBT <= sure < self._settings.min_presence]
        if not doubtful:
            return mesh
        squares = [square_of_points(mesh.points[face], self._landmarks.geometry) for face in doubtful]
        retried = self._landmarks(pixels, squares)
        points, presence = mesh.points.copy(), mesh.presence.copy()
        for face, new_points, new_presence in zip(doubtful, retried.points, retried.presence, strict=True):
            if new_presence > presence[face]:
                points[face], presence[face] = new_points, new_presence
        return Mesh(points, presence)

    def _read(self, pixels: NDArray[np.uint8], found: Detections, mesh: Mesh) -> list[Face]:
        """Run the static models on every face."""
        if not found.faces:
            return []
        results = self._static(pixels, mesh.points)
        embeddings = [None] * len(found.faces) if results.embeddings is None else results.embeddings
        return [
            Face(
                box=cast("tuple[float, float, float, float]", tuple(face.row[:4])),
                score=face.score,
                sharpness=sharp,
                mouth=mouth_opening(points),
                probabilities=probabilities,
                embedding=None if embedding is None else np.asarray(embedding, dtype="<f2").tobytes(),
            )
            for face, points, sharp, probabilities, embedding in zip(
                found.faces, mesh.points, results.sharpness, results.probabilities, embeddings, strict=True
            )
        ]


def close_up(found: Detections, mesh: Mesh, side: int) -> bool:
    """True where a large, certain face fills much of a frame with this shorter side: then tiles are skipped."""
    return any(
        face.row[3] >= CLOSE_UP * side and presence >= CLOSE_UP_PRESENCE
        for face, presence in zip(found.faces, mesh.presence.tolist(), strict=True)
    )


# Faces followed from one frame to the next without the detector, as in MediaPipe. Pure.

Box = tuple[float, float, float, float]

LARGEST = 1e5
"""Upper limit of coordinates and sides, in pixels."""


def region_of(points: NDArray[np.float32], box: Sequence[float], score: float, geometry: MeshGeometry) -> Region:
    """Region of a detected face in which the next frame's landmark model runs.

    Args:
        points: its mesh float32 [468, 3], in pixels of the frame.
        box: of its detection (x, y, width, height); kept relative to the mesh, so that it moves with the face and does
            not jump when the detector runs again.
        score: of its detection.
    """
    square = square_of_points(points, geometry)
    x, y, width, height = box
    middle = ((x + width / 2 - square.x) / square.side, (y + height / 2 - square.y) / square.side)
    return Region(
        x=square.x,
        y=square.y,
        side=square.side,
        angle=square.angle,
        score=score,
        box=(*middle, width / square.side, height / square.side),
    )


def moved(region: Region, points: NDArray[np.float32], geometry: MeshGeometry) -> Region:
    """Move the region to the face's mesh in a later frame."""
    square = square_of_points(points, geometry)
    return Region(x=square.x, y=square.y, side=square.side, angle=square.angle, score=region.score, box=region.box)


def square_of(region: Region) -> Square:
    """The square in which the landmark model runs."""
    return Square(region.x, region.y, region.side, region.angle)


def box_of(region: Region) -> Box:
    """The face's box (x, y, width, height) in pixels of the frame."""
    across, down, width, height = (value * region.side for value in region.box)
    return region.x + across - width / 2, region.y + down - height / 2, width, height


def usable(regions: Sequence[Region]) -> bool:
    """True where all are valid places in a picture: regions may come from another machine."""
    numbers = [(one.x, one.y, one.side, one.angle, one.score, *one.box) for one in regions]
    return all(
        math.isfinite(sum(row)) and all(abs(value) < LARGEST for value in row) and row[2] >= 1 and min(row[-2:]) > 0
        for row in numbers
    )


def any_overlap(boxes: Sequence[Box], threshold: float) -> bool:
    """True where two boxes overlap more than `threshold`: they may follow the same face."""
    return any(overlap(first, second) > threshold for first, second in combinations(boxes, 2))
