"""One frame → the faces in it: detection, landmarks, crop, static models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import FaceMeasures
from bimodal.broker.messages import MOST_FOLLOWED, Face, Hints, Region
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.faces.crop import Outline
from bimodal.models.faces.details import FineLook
from bimodal.models.faces.detections import Candidate, contains
from bimodal.models.faces.locate import FaceLocator, Located
from bimodal.models.faces.mesh import cut_out, square_of_points
from bimodal.models.faces.pose import Camera
from bimodal.models.faces.quality import sharpness
from bimodal.models.session import Artifact
from bimodal.workers.face.change import Grey, around, changed, face_of, outside, scene_of, shape_change, shape_of, still
from bimodal.workers.face.following import any_overlap, box_of, moved, region_of, square_of, stays, usable
from bimodal.workers.face.measures import measures_of
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.face.static import StaticModels
from bimodal.workers.fusion.settings import MEAN, Ensemble

COARSE_FRAMES, FULL_FRAMES, FULL_NS = 5, 15, 500_000_000
"""`detect_every: auto`, where something changes: frames from one coarse look to the next, and from one full look to the
next, or the time."""
IDLE_FRAMES, UNCHANGED_NS = 10, 4_000_000_000
"""Where nothing changes: frames more until a coarse look, and the time until a full one."""
MOST_CHANGED = 0.1
"""Of files: where a larger share of a frame has changed, it is searched in full."""
CONTEXT = 3
"""A part of a frame is searched with so many smallest faces around what has changed."""
PART_OF_KNOWN = 0.6
"""A new face that lies in a known one by a larger share is a part of it."""
SAME_SHAPE, MOST_KEPT = 0.015, 4
"""A face whose shape differs by less keeps its answer, for fewer frames than that."""
COARSE = 3.0
"""Smallest face of a coarse look, in smallest faces of a full one: a ninth of its pixels."""

KNOWN_SIZE = 0.6
"""Between two looks for new faces, those without a mesh are searched from this share of their last size on."""

SHARPNESS_CROP = 64


class FacePipeline:
    """All face artifacts behind one call. Keeps no state between frames.

    Args:
        detector, landmarks: opened artifacts of these kinds.
        static: one face-static artifact, or several that are an `ensemble`.
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
        ensemble: Ensemble = MEAN,
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
        self._static = StaticModels([static] if isinstance(static, Artifact) else static, emotions, ensemble)
        self._settings = settings
        self._fine_look = None if details is None else FineLook(*details)

    def __call__(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """uint8 [H, W, 3] RGB → at most `max_faces` faces, the most important first, without hints."""
        return self._read(pixels, self._important(pixels, self.locate(pixels)))

    def look(
        self, pixels: NDArray[np.uint8], seq: int, pts_ns: int, hints: Hints | None, seen: Sequence[Face] = ()
    ) -> tuple[list[Face], Hints | None]:
        """The same for a frame whose stream gives its frames in order: the faces, and hints for the worker of the next.

        With `hints` only the landmark model runs, unless it loses one of the faces: then the detector runs too, on
        this same frame. With `detect_every: auto` the detector looks where something has changed, and what has not
        changed in a face is taken from `seen`, the faces of the frame that the hints are of.
        """
        every = self._settings.detect_every
        if every == 1:
            return self(pixels), None
        if hints is not None and not usable(hints.regions):
            hints = None
        if every == "auto":
            return self._look_for_changes(pixels, seq, pts_ns, hints, seen)
        if hints is not None:
            found = self._follow(pixels, hints.regions)
            if found is not None:
                return self._read(pixels, found), self._hints(found, hints.until)
        found = self._important(pixels, self.locate(pixels))
        return self._read(pixels, found), self._hints(found, seq + every)

    def _look_for_changes(
        self, pixels: NDArray[np.uint8], seq: int, pts_ns: int, hints: Hints | None, seen: Sequence[Face]
    ) -> tuple[list[Face], Hints]:
        scene = scene_of(pixels)
        # Frames are counted where they are looked at: of a stream that loses most of its frames, those that are left
        # must not each cost a look for new faces.
        frame = 0 if hints is None else hints.frames + 1
        if hints is not None and self._settings.quick and self._unsettled(scene, hints):
            hints = None
        known = self._followed(pixels, hints, seen) if hints is not None else None
        if hints is None or known is None:
            found = [_Known(one) for one in self._important(pixels, self.locate(pixels))]
            return self._answer(pixels, found, frame, _searched(seq, frame, pts_ns, scene))
        found, size = known, (pixels.shape[1], pixels.shape[0])
        boxes = [one.located.face.row[:4] for one in found]
        news = outside(changed(scene, hints.scene), size, [body_of(box, size[1]) for box in boxes])
        something = bool(news.any())
        if something and (frame >= hints.full or pts_ns >= hints.full_ns):
            part = around(news, size, CONTEXT * self._settings.min_size, boxes)
            found = self._with_new(pixels, found, self.locate(pixels, known=boxes, part=part))
            # What is told apart from is the frame in which a place was searched: the followed faces' places were not.
            hints = _searched(seq, frame, pts_ns, scene, hints)
        elif hints.coarse is not None and (
            (something and (frame >= hints.coarse or self._settings.quick))
            or frame >= hints.coarse + IDLE_FRAMES
            or pts_ns >= hints.coarse_ns
        ):
            found = self._with_new(pixels, found, self.locate(pixels, COARSE * self._settings.min_size, boxes))
            hints = msgspec.structs.replace(hints, coarse=frame + COARSE_FRAMES, coarse_ns=pts_ns + FULL_NS)
        return self._answer(pixels, found, frame, hints)

    def _unsettled(self, scene: Grey, hints: Hints) -> bool:
        """True where a frame of a file is searched in full all the same: something has changed, and that is much of it
        (a cut, a camera that moves), or there are several faces, or one that can't be followed."""
        news = changed(scene, hints.scene)
        several = len(hints.regions) > 1 or not all(region.mesh for region in hints.regions)
        return float(news.mean()) > (0.0 if several else MOST_CHANGED)

    def _with_new(self, pixels: NDArray[np.uint8], known: list[_Known], new: Sequence[Located]) -> list[_Known]:
        """The followed faces and new ones that are no part of them, at most `max_faces`."""
        boxes = [one.located.face.row for one in known]
        new = [one for one in new if all(contains(box, one.face.row) <= PART_OF_KNOWN for box in boxes)]
        if not new:
            return known
        kept = self._important(pixels, [*(one.located for one in known), *new])
        of = {id(one.located): one for one in known}
        return [of.get(id(one)) or _Known(one) for one in kept]

    def _followed(self, pixels: NDArray[np.uint8], hints: Hints, seen: Sequence[Face]) -> list[_Known] | None:
        """The faces of the hints in this frame, each with what is known of it; None where one is lost."""
        before: Sequence[Face | None] = seen if len(seen) == len(hints.regions) else [None] * len(hints.regions)
        same = [
            face is not None and region.still != b"" and still(face_of(pixels, square_of(region)), region.still)
            for region, face in zip(hints.regions, before, strict=True)
        ]
        moving = [region for region, as_before in zip(hints.regions, same, strict=True) if not as_before]
        if not all(region.mesh for region in moving):
            again = self._follow(pixels, hints.regions)
            return None if again is None else [_Known(one) for one in again]
        found = self._follow(pixels, moving) if moving else []
        if found is None:
            return None
        rest = iter(found)
        followed = [
            _still(region, face) if as_before and face is not None else _Known(next(rest), region, face)
            for region, face, as_before in zip(hints.regions, before, same, strict=True)
        ]
        if any_overlap([one.located.face.row for one in followed], self.locate.detector.geometry.suppression):
            return None
        return followed

    def _answer(
        self, pixels: NDArray[np.uint8], found: list[_Known], frame: int, hints: Hints
    ) -> tuple[list[Face], Hints]:
        """Read the faces that are not as they were, and give all with the hints for the next frame."""
        fresh = [one for one in found if not one.same]
        read = iter(self._read_again(pixels, fresh, frame) if fresh else ())
        rows = []
        for one in found:
            if one.same and one.region is not None and one.face is not None:
                rows.append((one.face, one.region))
            else:
                rows.append(next(read))
        rows.sort(key=lambda row: _importance(row[0]))
        regions = tuple(region for _, region in rows)
        return [face for face, _ in rows], msgspec.structs.replace(hints, regions=regions, frames=frame)

    def _read_again(self, pixels: NDArray[np.uint8], found: Sequence[_Known], frame: int) -> list[tuple[Face, Region]]:
        """Run the static models on the faces whose shape has changed; the others keep their answers, at new places."""
        shapes = [b"" if one.located.outline.points is None else shape_of(one.located.outline.points) for one in found]
        kept = [one.keeps(shape, frame) for one, shape in zip(found, shapes, strict=True)]
        read = iter(self._faces(pixels, [one.located for one, face in zip(found, kept, strict=True) if face is None]))
        again = [one.located for one, face in zip(found, kept, strict=True) if face is not None]
        measured = iter(self._measured(pixels, again) if again else ())
        rows = []
        for one, shape, before in zip(found, shapes, kept, strict=True):
            region = self._region(one.located)
            # A face that moves is not compared: it will have changed.
            rests = one.region is None or stays(one.region, region)
            still = face_of(pixels, square_of(region)).tobytes() if rests else b""
            if before is None or one.region is None:
                face = next(read)
                region = msgspec.structs.replace(region, still=still, shape=shape, read=frame)
            else:
                face = _with_answer_of(before, one.located, next(measured))
                region = msgspec.structs.replace(region, still=still, shape=one.region.shape, read=one.region.read)
            rows.append((face, region))
        return rows

    def _hints(self, found: Sequence[Located], until: int) -> Hints:
        return Hints(regions=tuple(map(self._region, found)), until=until)

    def _region(self, one: Located) -> Region:
        square = one.outline.square
        if one.outline.points is not None:
            square = square_of_points(one.outline.points, self._landmarks.geometry)
        return region_of(square, one.face.row[:4], one.face.score, mesh=one.outline.points is not None)

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
        return sorted(self._faces(pixels, found), key=_importance) if found else []

    def _faces(self, pixels: NDArray[np.uint8], found: Sequence[Located]) -> list[Face]:
        """The faces, read by the static models."""
        if not found:
            return []
        results = self._static(pixels, [one.outline for one in found])
        embeddings = [None] * len(found) if results.embeddings is None else results.embeddings
        novelties = [None] * len(found) if results.novelty is None else results.novelty
        measures = self._measured(pixels, found, results.affect)
        return [
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

    def _measured(
        self,
        pixels: NDArray[np.uint8],
        found: Sequence[Located],
        affects: Sequence[tuple[float, float] | None] | None = None,
    ) -> list[FaceMeasures]:
        """What the faces do beside their emotion."""
        height, width = pixels.shape[:2]
        camera = Camera.of(width, height, self._settings.angle_of_view_deg)
        meshes = [one.outline.points for one in found]
        details = [None] * len(found) if self._fine_look is None else self._fine_look(pixels, meshes)
        said = [None] * len(found) if affects is None else affects
        return [measures_of(*each) for each in zip(meshes, [camera] * len(found), details, said, strict=True)]


class _Known(NamedTuple):
    """A face in this frame, and what is known of it.

    Attributes:
        located: where it is.
        region, face: its place in the hints and its answer in the frame that they are of; None of a new one.
        same: whether nothing has changed there.
    """

    located: Located
    region: Region | None = None
    face: Face | None = None
    same: bool = False

    def keeps(self, shape: bytes, frame: int) -> Face | None:
        """The answer of the earlier frame, where it holds for a face of this shape; else None."""
        if self.region is None or frame - self.region.read >= MOST_KEPT:
            return None
        return self.face if shape_change(shape, self.region.shape) < SAME_SHAPE else None


def _still(region: Region, face: Face) -> _Known:
    """A face that is as it was."""
    located = Located(Candidate(region.score, list(box_of(region))), face.presence, Outline(None, square_of(region)))
    return _Known(located, region, face, same=True)


def _searched(seq: int, frame: int, pts_ns: int, scene: Grey, before: Hints | None = None) -> Hints:
    """The hints after a frame that was searched in full, or, with those `before` it, where something had changed."""
    return Hints(
        regions=(),
        until=seq + MOST_FOLLOWED if before is None else before.until,
        until_ns=pts_ns + UNCHANGED_NS if before is None else before.until_ns,
        coarse=frame + COARSE_FRAMES,
        coarse_ns=pts_ns + FULL_NS,
        scene=scene.tobytes(),
        full=frame + FULL_FRAMES,
        full_ns=pts_ns + FULL_NS,
    )


def body_of(box: Sequence[float], height: float) -> tuple[float, float, float, float]:
    """The place of a face with the hair and the body that move with it, in a frame of that height."""
    x, y, width, high = box
    top = y - 0.4 * high
    return x - 0.75 * width, top, 2.5 * width, max(0.0, height - top)


def _with_answer_of(before: Face, one: Located, measures: FaceMeasures) -> Face:
    """A face at a new place with the answer of an earlier frame."""
    said = before.measures
    if said is not None and said.affect == "model":
        affect = {"valence": said.valence, "arousal": said.arousal, "affect": said.affect}
        measures = msgspec.structs.replace(measures, **affect)
    box = cast("tuple[float, float, float, float]", tuple(one.face.row[:4]))
    return msgspec.structs.replace(
        before, box=box, score=one.face.score, presence=one.presence, mouth=measures.mouth_open, measures=measures
    )


def _importance(face: Face) -> float:
    """Key by which faces are sorted: large and sharp ones first."""
    return -face.box[2] * face.box[3] * face.sharpness
