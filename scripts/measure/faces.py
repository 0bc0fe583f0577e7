"""What looking for faces costs: CPU of a face worker a frame, live and in files, with and without a face."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.bench.figures import Figure, Outcome, figure, in_turn
from bimodal.bench.plan import Plan
from bimodal.broker.messages import FaceResult, Hints, Job
from bimodal.broker.streams import LastSeen
from bimodal.models.catalog import resolve
from bimodal.models.faces.detector import Detector
from bimodal.models.session import open_artifact
from bimodal.workers.demo import DEMO
from bimodal.workers.face.pipeline import FULL_FRAMES, FacePipeline
from bimodal.workers.face.settings import FaceSettings

PART = "faces"
SIZE = (1280, 720)
FRAMES = 2 * FULL_FRAMES
FRAME_NS = 33_333_333
SMALLEST = (16, 24, 32, 48)
LIVE_EMPTY, FILES_EMPTY = "live, an empty picture", "a file, an empty picture"
LIVE_FACE, FILES_FACE = "live, one close face", "a file, one close face"
FOLLOWED = "the same face, followed only"

Picture = NDArray[np.uint8]


def measure(plan: Plan) -> Outcome:
    """CPU milliseconds a frame of 1280×720 pixels, each in turn."""
    cv2.setNumThreads(1)
    models = plan.config.models
    detector = open_artifact(resolve(models.face_detector), "face-detector", provider="cpu")
    landmarks = open_artifact(resolve(models.face_landmarks), "face-landmarks", provider="cpu")
    static = [open_artifact(resolve(name), "face-static", provider="cpu") for name in models.face_static]
    settings = plan.config.face

    def pipeline(how: FaceSettings = settings) -> FacePipeline:
        return FacePipeline(detector, landmarks, static, how)

    find = Detector(detector)
    empty, face = empty_picture(), close_face()
    looks = {f"a look for faces from {size} px on": _look(find, empty, float(size)) for size in SMALLEST}
    found = in_turn(
        {
            FILES_EMPTY: lambda: cpu(lambda: pipeline()(empty), 5),
            LIVE_EMPTY: lambda: live(pipeline(), empty, FRAMES),
            FILES_FACE: lambda: cpu(lambda: pipeline()(face), 5),
            LIVE_FACE: lambda: live(pipeline(), face, FRAMES),
            FOLLOWED: lambda: live(pipeline(), face, FRAMES, first=1),
            **looks,
        },
        plan.repeats,
        plan.progress,
    )
    return Outcome(part=PART, figures=tuple(figures(found)))


def figures(found: dict[str, list[float]]) -> list[Figure]:
    """The figures, live ones against those of files."""
    made: dict[str, Figure] = {}
    for name, values in found.items():
        against = {LIVE_EMPTY: FILES_EMPTY, LIVE_FACE: FILES_FACE, FOLLOWED: LIVE_FACE}.get(name)
        made[name] = figure(name, values, "ms", against=made[against] if against else None)
    return list(made.values())


def cpu(run: Callable[[], object], frames: int) -> float:
    """CPU milliseconds of a frame."""
    begun = time.process_time()
    for _ in range(frames):
        run()
    return 1000 * (time.process_time() - begun) / frames


def live(pipeline: FacePipeline, picture: Picture, frames: int, first: int = 0) -> float:
    """CPU milliseconds of a frame of a live stream at 30 frames a second, with hints as the broker passes them.

    Args:
        first: frames from here on count; with 1, those up to the next look only.
    """
    last = LastSeen()
    spent, counted = 0.0, 0
    for seq in range(frames):
        hints = last.for_job(_job(seq))
        looks = hints is None or (hints.coarse is not None and seq >= hints.coarse)
        begun = time.process_time()
        _, after = pipeline.look(picture, seq, seq * FRAME_NS, hints)
        if not (first and looks):
            spent, counted = spent + time.process_time() - begun, counted + 1
        last.remember(_answer(seq, after))
    return 1000 * spent / counted


def _look(find: Detector, picture: Picture, smallest: float) -> Callable[[], float]:
    return lambda: cpu(lambda: find(picture, smallest), 5)


def _job(seq: int) -> Job:
    return Job(
        stream="desk", run=1, modality="face", seq=seq, pts_ns=seq * FRAME_NS, grab_ns=0, ring="", slot=0, generation=0,
        shape=(SIZE[1], SIZE[0], 3),
    )  # fmt: skip


def _answer(seq: int, hints: Hints | None) -> FaceResult:
    return FaceResult(
        number=1, stream="desk", run=1, seq=seq, pts_ns=0, grab_ns=0, faces=(), queue_ns=0, inference_ns=0, hints=hints
    )  # fmt: skip


def empty_picture() -> Picture:
    """A picture of a wall with a little noise."""
    noise = np.random.default_rng(0).normal(110, 6, (SIZE[1], SIZE[0], 3))
    return np.clip(noise, 0, 255).astype(np.uint8)


def close_face() -> Picture:
    """The shipped portrait, filling the height of the picture."""
    portrait = cv2.cvtColor(cv2.imread(str(DEMO.parent / "portrait.jpg")), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    picture = empty_picture()
    factor = min(SIZE[0] / portrait.shape[1], SIZE[1] / portrait.shape[0])
    large = cv2.resize(portrait, None, fx=factor, fy=factor)
    picture[: large.shape[0], : large.shape[1]] = large
    return picture
