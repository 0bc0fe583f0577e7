"""One frame → the faces in it: detection, landmarks, crop, static models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.messages import Face, Hints, Region
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.faces.crop import Outline
from bimodal.models.faces.details import FineLook
from bimodal.models.faces.detections import Candidate
from bimodal.models.faces.locate import FaceLocator, Located
from bimodal.models.faces.mesh import cut_out, square_of_points
from bimodal.models.faces.pose import Camera
from bimodal.models.faces.quality import sharpness
from bimodal.models.session import Artifact
from bimodal.workers.face.following import any_overlap, box_of, moved, region_of, square_of, usable
from bimodal.workers.face.measures import measures_of
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.face.static import StaticModels

COARSE_FRAMES, FULL_FRAMES, FULL_NS = 5, 15, 500_000_000
"""`detect_every: auto`: frames from one coarse look to the next, and from one full look to the next, or the time."""
COARSE = 3.0
"""Smallest face of a coarse look, in smallest faces of a full one: a ninth of its pixels."""

KNOWN_SIZE = 0.6
"""Between two looks for new faces, those without a mesh are searched from this share of their last size on."""

SHARPNESS_CROP = 64


class FacePipeline:
    """All face artifacts behind one call. Keeps no state between frames.

    Args:
        detector, landmarks: opened artifacts of these kinds.
        static: one face-static artifact, or several that are averaged.
        settings: selection of the faces.
        details: a finer look at faces with a mesh; None: none.
        emotions: the set that faces are read for.

    Raises ArtifactError where geometry or crop size can't be read from an artifact, or a static one knows none of
    `emotions`.
    """

    def __init__(
        self,
        detector: Artifact,
        landmarks: Artifact,
        static: Artifact | Sequence[Artifact],
        settings: FaceSettings,
        details: tuple[Artifact, Artifact] | None = None,
        emotions: EmotionSet = SEVEN,
    ) -> None:
        self.locate = FaceLocator(
            detector,
            landmarks,
            min_score=settings.min_score,
            min_size=settings.min_size,
            min_presence=settings.min_presence,
            max_faces=settings.max_faces,
            largest_look=settings.largest_look,
        )
        self._landmarks = self.locate.landmarks
        self._static = StaticModels([static] if isinstance(static, Artifact) else static, emotions)
        self._settings = settings
        self._fine_look = None if details is None else FineLook(*details)

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """uint8 [H, W, 3] RGB → at most `max_faces` faces, the most important first, without hints."""
        return self._read(pixels, self._important(pixels, self.locate(pixels)))

    def look(
        self, pixels: NDArray[np.uint8], seq: int, pts_ns: int, hints: Hints | None
    ) -> tuple[list[Face], Hints | None]:
        """The same for a frame of a live stream: the faces, and hints for the worker of the next frame.

        With `hints` only the landmark model runs, unless it loses one of the faces: then the detector runs too, on
        this same frame.
        """
        every = self._settings.detect_every
        if every == 1:
            return self(pixels), None
        if hints is not None and usable(hints.regions):
            found, coarse = self._follow(pixels, hints.regions), hints.coarse
            if found is not None and coarse is not None and seq >= coarse:
                known = [one.face.row for one in found]
                found += self.locate(pixels, COARSE * self._settings.min_size, known)
                found = self._important(pixels, found)
                coarse = seq + COARSE_FRAMES
            if found is not None:
                return self._read(pixels, found), self._hints(found, hints.until, hints.until_ns, coarse)
        found = self._important(pixels, self.locate(pixels))
        if every == "auto":
            timing = seq + FULL_FRAMES, pts_ns + FULL_NS, seq + COARSE_FRAMES
            return self._read(pixels, found), self._hints(found, *timing)
        return self._read(pixels, found), self._hints(found, seq + every, None, None)

    def _hints(self, found: Sequence[Located], until: int, until_ns: int | None, coarse: int | None) -> Hints:
        regions = tuple(
            region_of(
                one.outline.square
                if one.outline.points is None
                else square_of_points(one.outline.points, self._landmarks.geometry),
                one.face.row[:4],
                one.face.score,
                mesh=one.outline.points is not None,
            )
            for one in found
        )
        return Hints(regions=regions, until=until, until_ns=until_ns, coarse=coarse)

    def _follow(self, pixels: NDArray[np.uint8], regions: Sequence[Region]) -> list[Located] | None:
        """The faces at their new places; None where one is lost, too small, or overlaps another.

        Faces without a mesh can't be followed: with one among them, all are detected anew, from the smallest known on.
        """
        if not all(region.mesh for region in regions):
            again = self.locate(pixels, KNOWN_SIZE * min(max(box_of(region)[2:]) for region in regions))
            return None if len(again) < len(regions) else self._important(pixels, again)
        mesh = self._landmarks(pixels, [square_of(region) for region in regions])
        found = []
        for region, points, presence in zip(regions, mesh.points, mesh.presence.tolist(), strict=True):
            box = box_of(moved(region, square_of_points(points, self._landmarks.geometry)))
            if presence * region.score < self._settings.min_presence or self.locate.too_small(box):
                return None
            found.append(Located(Candidate(region.score, list(box)), presence, Outline(points, square_of(region))))
        if any_overlap([one.face.row for one in found], self.locate.detector.geometry.suppression):
            return None
        return found

    def _important(self, pixels: NDArray[np.uint8], found: Sequence[Located]) -> list[Located]:
        """The `max_faces` most important faces, by size × sharpness."""
        if len(found) <= self._settings.max_faces:
            return list(found)

        def worth(one: Located) -> float:
            return one.face.row[2] * one.face.row[3] * sharpness(cut_out(pixels, one.outline.square, SHARPNESS_CROP))

        return sorted(found, key=worth, reverse=True)[: self._settings.max_faces]

    def _read(self, pixels: NDArray[np.uint8], found: Sequence[Located]) -> list[Face]:
        """Run the static models on every face; the most important face first."""
        if not found:
            return []
        results = self._static(pixels, [one.outline for one in found])
        embeddings = [None] * len(found) if results.embeddings is None else results.embeddings
        novelties = [None] * len(found) if results.novelty is None else results.novelty
        height, width = pixels.shape[:2]
        camera = Camera.of(width, height, self._settings.angle_of_view_deg)
        meshes = [one.outline.points for one in found]
        details = [None] * len(found) if self._fine_look is None else self._fine_look(pixels, meshes)
        affects = [None] * len(found) if results.affect is None else results.affect
        measures = [measures_of(*each) for each in zip(meshes, [camera] * len(found), details, affects, strict=True)]
        faces = [
            Face(
                box=cast("tuple[float, float, float, float]", tuple(one.face.row[:4])),
                score=one.face.score,
                presence=one.presence,
                **quality._asdict(),
                mouth=measured.mouth_open,
                probabilities=probabilities,
                other=other,
                embedding=None if embedding is None else np.asarray(embedding, dtype="<f2").tobytes(),
                novelty=novelty,
                measures=measured,
            )
            for one, quality, probabilities, other, embedding, novelty, measured in zip(
                found,
                results.quality,
                results.probabilities,
                results.other,
                embeddings,
                novelties,
                measures,
                strict=True,
            )
        ]
        return sorted(faces, key=lambda face: -face.box[2] * face.box[3] * face.sharpness)
