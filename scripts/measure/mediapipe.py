"""Detector and mesh in ONNX Runtime against MediaPipe's FaceMesh, on the same frames in the same run, in turn.

MediaPipe 0.10.14 still has FaceMesh, but conflicts with our packages over `cv2`; so it has an environment of its own,
whose Python BIMODAL_MEDIAPIPE names:

    python3.11 -m venv ~/mediapipe
    ~/mediapipe/bin/pip install mediapipe==0.10.14 "numpy>=2"
    BIMODAL_MEDIAPIPE=~/mediapipe/bin/python python -m scripts.measure mediapipe
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.bench.figures import BenchError, Figure, Outcome, figure
from bimodal.bench.loops import Loop, LoopRun, module_loop, serve
from bimodal.bench.media import decoded
from bimodal.bench.plan import Plan
from bimodal.models.catalog import resolve
from bimodal.models.faces.detector import Detector
from bimodal.models.faces.mesh import Landmarks, square_of_points
from bimodal.models.faces.resampling import Square
from bimodal.models.session import open_artifact

PYTHON_KEY = "BIMODAL_MEDIAPIPE"
PROGRAM = Path(__file__).with_name("mediapipe_program.py")
NO_DEARER = 1.0


def measure(plan: Plan) -> Outcome:
    """Measure detector and mesh of the config against MediaPipe's FaceMesh.

    Raises BenchError if BIMODAL_MEDIAPIPE names no Python with mediapipe 0.10.14.
    """
    python = Path(os.environ.get(PYTHON_KEY, ""))
    if not python.is_file():
        raise BenchError(f"{PYTHON_KEY} must name the Python of an environment with mediapipe 0.10.14")
    models = plan.config.models
    order = MeshOrder(
        frames=str(decoded(plan.folder).frames),
        detector=str(resolve(models.face_detector)),
        landmarks=str(resolve(models.face_landmarks)),
        each_anew=True,
    )
    figures = compare(
        python, order, repeats=plan.repeats, seconds=plan.seconds / 2, log=plan.log, progress=plan.progress
    )
    return Outcome(part="mediapipe", figures=tuple(figures))


def compare(
    python: Path,
    order: MeshOrder,
    *,
    repeats: int,
    seconds: float,
    log: Path | None,
    progress: Callable[[str], None] = lambda _line: None,
) -> list[Figure]:
    """Compare CPU and wall time per frame, ours over MediaPipe's: detecting in each frame, and following the face.

    Args:
        python: of an environment with mediapipe 0.10.14.
        order: frames and artifacts; its `each_anew` is ignored.

    Raises BenchError if mediapipe is missing, or no face is found in the frames.
    """
    figures: list[Figure] = []
    for each_anew, how in ((True, "each frame anew"), (False, "following the face")):
        progress(f"MediaPipe's FaceMesh, {how}")
        theirs, ours = _in_turn(
            python, msgspec.structs.replace(order, each_anew=each_anew), repeats=repeats, seconds=seconds, log=log
        )
        figures += _figures(theirs, ours, how)
    return figures


def _in_turn(
    python: Path, order: MeshOrder, *, repeats: int, seconds: float, log: Path | None
) -> tuple[list[LoopRun], list[LoopRun]]:
    """Run both loops in turn: (MediaPipe's runs, as many of ours)."""
    with contextlib.ExitStack() as open_loops:
        # -I: neither the program's folder nor PYTHONPATH, which leads to our packages, may be on its path.
        command = [str(python), "-I", str(PROGRAM)]
        what = f"MediaPipe in {python}"
        mediapipe = open_loops.enter_context(Loop(command, msgspec.to_builtins(order), what=what, log=log))
        own = open_loops.enter_context(
            module_loop("scripts.measure.mediapipe", order, what="detector and mesh", log=log)
        )
        for loop in (mediapipe, own):
            loop.run(min(seconds, 0.5))  # to warm up
        theirs, ours = [], []
        for _ in range(repeats):
            theirs.append(mediapipe.run(seconds))
            ours.append(own.run(seconds))
    return theirs, ours


def _figures(theirs: list[LoopRun], ours: list[LoopRun], how: str) -> list[Figure]:
    figures = []
    measures: tuple[tuple[str, Callable[[LoopRun], float]], ...] = (
        ("CPU", lambda run: run.cpu_ms),
        ("wall", lambda run: run.median_ms),
    )
    for name, measure in measures:
        yardstick = figure(f"MediaPipe's FaceMesh, {how}, {name}", [measure(run) for run in theirs], "ms")
        figures.append(yardstick)
        figures.append(
            figure(
                f"detector and mesh here, {how}, {name}",
                [measure(run) for run in ours],
                "ms",
                against=yardstick,
                floor=NO_DEARER,
                at_most=True,
            )
        )
    return figures


# Our loop (`python -m scripts.measure.mediapipe`): detector and mesh in ONNX Runtime, working as FaceMesh does.

PRESENT = 0.5
"""FaceMesh's default minimum confidence of detection and of tracking."""


class MeshOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Input and settings of the loop.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        detector, landmarks: paths of artifacts.
        each_anew: detect in each frame (FaceMesh's `static_image_mode`); else crop by the mesh of the previous frame,
            until the face is lost.
    """

    frames: str
    detector: str
    landmarks: str
    each_anew: bool


class FaceMesh:
    """Detector and mesh for at most one face, as in the comparison."""

    def __init__(self, order: MeshOrder) -> None:
        cv2.setNumThreads(1)
        self._frames: NDArray[np.uint8] = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)
        self._detector = Detector(
            open_artifact(order.detector, "face-detector", provider="cpu", threads=1), min_score=PRESENT
        )
        self._landmarks = Landmarks(open_artifact(order.landmarks, "face-landmarks", provider="cpu", threads=1))
        self._each_anew = order.each_anew
        self._square: Square | None = None
        self._seen = 0

    def step(self) -> int:
        """Process the next frame. Returns the number of faces, 0 or 1."""
        frame = self._frames[self._seen % len(self._frames)]
        self._seen += 1
        square = self._detect(frame) if self._each_anew or self._square is None else self._square
        self._square = None
        if square is None:
            return 0
        mesh = self._landmarks(frame, [square])
        if mesh.presence[0] < PRESENT:
            return 0
        self._square = square_of_points(mesh.points[0], self._landmarks.geometry)
        return 1

    def _detect(self, frame: NDArray[np.uint8]) -> Square | None:
        found = self._detector(frame)
        if not found.faces:
            return None
        best = max(found.faces, key=lambda face: face.score)
        return self._detector.square(best).scaled(self._landmarks.geometry.margin)


def prepare(order: MeshOrder) -> Callable[[], int]:
    """Make the function that processes the next frame."""
    return FaceMesh(order).step


if __name__ == "__main__":
    serve(MeshOrder, prepare)
