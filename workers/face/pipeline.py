"""One frame → the faces in it, each with what the static model sees: detect, landmarks, crop, static models."""

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
"""A face whose presence lies between this and `min_presence` is looked at again; below it there is nothing to see."""

SPARE = 8
"""So many detections more than `max_faces` are looked at, since some turn out to be no face."""

CLOSE_UP, CLOSE_UP_PRESENCE = 0.25, 0.9
"""A face this high, in shorter sides of the frame, that surely looks into the camera is a close-up."""


class FacePipeline:
    """All face artifacts behind one call. Keeps nothing from frame to frame.

    Args:
        detector, landmarks: opened artifacts of these kinds.
        static: one face-static artifact, or several that are averaged.
        settings: which faces are looked at.

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
        """uint8 [H, W, 3] RGB → at most `max_faces` faces, the largest first; each frame looked at by itself."""
        return self._read(pixels, *self._detect(pixels))

    def look(self, pixels: NDArray[np.uint8], seq: int, hints: Hints | None) -> tuple[list[Face], Hints | None]:
        """The same for frame `seq` of a live stream: the faces, and what the next frame's worker should know.

        With `hints` only the landmark model looks, unless it loses one of the faces: then the detector looks again,
        in this same frame.
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
        """The faces where they are by now, the largest first; None where one of them is not to be told from another or
        from nothing."""
        if not usable(regions):
            return None
        mesh = self._landmarks(pixels, [square_of(region) for region in regions])
        sure = [presence * region.score for presence, region in zip(mesh.presence.tolist(), regions, strict=True)]
        if min(sure, default=1.0) < self._settings.min_presence:
            return None
        now = [moved(one, points, self._landmarks.geometry) for one, points in zip(regions, mesh.points, strict=True)]
        boxes = [box_of(region) for region in now]
        if meet(boxes, self._detector.geometry.suppression) or any(box[2] < self._settings.min_size for box in boxes):
            return None
        order = sorted(range(len(now)), key=lambda face: -boxes[face][2] * boxes[face][3])
        found = Detections([Candidate(now[face].score, list(boxes[face])) for face in order])
        return found, Mesh(mesh.points[order], mesh.presence[order]), tuple(now[face] for face in order)

    def _detect(self, pixels: NDArray[np.uint8]) -> tuple[Detections, Mesh]:
        """The faces that both networks believe in, the largest first."""
        found, mesh = self._find(pixels)
        # Letters and foliage may look like a face to one of the two networks, seldom to both.
        least = self._settings.min_presence
        both = zip(mesh.presence.tolist(), found.faces, strict=True)
        sure = [place for place, (presence, face) in enumerate(both) if presence * face.score >= least]
        largest = sure[: self._settings.max_faces]
        if len(largest) < len(found.faces):
            found, mesh = found.take(largest), Mesh(mesh.points[largest], mesh.presence[largest])
        return found, mesh

    def _find(self, pixels: NDArray[np.uint8]) -> tuple[Detections, Mesh]:
        """Detections and their landmarks; into tiles only as the settings say."""
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
        return found, self._look_again(pixels, self._landmarks(pixels, squares))

    def _candidates(self, found: Detections) -> Detections:
        """The largest detections, some more than faces are wanted: not all of them are faces."""
        wide = [face for face in found.faces if face.row[2] >= self._settings.min_size]
        wide.sort(key=lambda face: -face.row[2] * face.row[3])
        return Detections(wide[: self._settings.max_faces + SPARE])

    def _look_again(self, pixels: NDArray[np.uint8], mesh: Mesh) -> Mesh:
        """Doubtful faces once more, in the square around their own points; the surer look counts.

        A face in profile lies badly in the square around its detection; the second look finds many of those.
        """
        presences = mesh.presence.tolist()
        doubtful = [face for face, sure in enumerate(presences) if DOUBT <= sure < self._settings.min_presence]
        if not doubtful:
            return mesh
        squares = [square_of_points(mesh.points[face], self._landmarks.geometry) for face in doubtful]
        again = self._landmarks(pixels, squares)
        points, presence = mesh.points.copy(), mesh.presence.copy()
        for face, again_points, again_presence in zip(doubtful, again.points, again.presence, strict=True):
            if again_presence > presence[face]:
                points[face], presence[face] = again_points, again_presence
        return Mesh(points, presence)

    def _read(self, pixels: NDArray[np.uint8], found: Detections, mesh: Mesh) -> list[Face]:
        """Run the static models on every face."""
        if not found.faces:
            return []
        seen = self._static(pixels, mesh.points)
        embeddings = [None] * len(found.faces) if seen.embeddings is None else seen.embeddings
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
                found.faces, mesh.points, seen.sharpness, seen.probabilities, embeddings, strict=True
            )
        ]


def close_up(found: Detections, mesh: Mesh, side: int) -> bool:
    """Whether one face is so large and sure, in a frame with that shorter side, that small ones don't matter.

    One person in front of a camera is told from a hall full of people by this, and costs one look.
    """
    return any(
        face.row[3] >= CLOSE_UP * side and presence >= CLOSE_UP_PRESENCE
        for face, presence in zip(found.faces, mesh.presence.tolist(), strict=True)
    )


# Faces followed from one frame to the next without the detector, as MediaPipe does it. Pure.


Box = tuple[float, float, float, float]

LARGEST = 1e5
"""Nobody's picture has a square with more pixels a side."""


def region_of(points: NDArray[np.float32], box: Sequence[float], score: float, geometry: MeshGeometry) -> Region:
    """Where a face that was detected will be looked for.

    Args:
        points: its mesh float32 [468, 3], in pixels of the frame.
        box: of its detection (x, y, width, height); kept as it lies around the mesh, so that it goes with the face
            and does not jump when the detector looks again.
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
    """The same face where its mesh of a later frame is."""
    square = square_of_points(points, geometry)
    return Region(x=square.x, y=square.y, side=square.side, angle=square.angle, score=region.score, box=region.box)


def square_of(region: Region) -> Square:
    """Where the landmark model looks."""
    return Square(region.x, region.y, region.side, region.angle)


def box_of(region: Region) -> Box:
    """The face's box (x, y, width, height) in pixels of the frame."""
    across, down, width, height = (value * region.side for value in region.box)
    return region.x + across - width / 2, region.y + down - height / 2, width, height


def usable(regions: Sequence[Region]) -> bool:
    """Whether they are places in a picture: they may come from another machine."""
    numbers = [(one.x, one.y, one.side, one.angle, one.score, *one.box) for one in regions]
    return all(
        math.isfinite(sum(row)) and all(abs(value) < LARGEST for value in row) and row[2] >= 1 and min(row[-2:]) > 0
        for row in numbers
    )


def meet(boxes: Sequence[Box], threshold: float) -> bool:
    """Whether two of them overlap more than that: they may follow one face by now."""
    return any(overlap(first, second) > threshold for first, second in combinations(boxes, 2))
