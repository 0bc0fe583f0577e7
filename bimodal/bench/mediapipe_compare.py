"""Detector and mesh in ONNX Runtime against MediaPipe's FaceMesh, on the same frames in the same run, in turn.

MediaPipe 0.10.14 still carries FaceMesh, and fights with our packages over `cv2`; so it has an environment of its own,
whose Python `bimodal bench single --mediapipe` is told:

    python3.11 -m venv ~/mediapipe
    ~/mediapipe/bin/pip install mediapipe==0.10.14 "numpy>=2"
    bimodal bench single --mediapipe ~/mediapipe/bin/python
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from bimodal.bench.figures import Figure, figure
from bimodal.bench.looping import Loop, LoopRun, module_loop
from bimodal.bench.mesh_loop import MeshOrder

PROGRAM = Path(__file__).with_name("mediapipe_program.py")
NO_DEARER = 1.0


def compare(
    python: Path,
    order: MeshOrder,
    *,
    repeats: int,
    seconds: float,
    log: Path | None,
    tell: Callable[[str], None] = lambda _line: None,
) -> list[Figure]:
    """CPU and wall time of a frame, ours over MediaPipe's: each frame anew, and following the face.

    Args:
        python: of an environment with mediapipe 0.10.14.
        order: frames and artifacts; its `each_anew` is ignored.

    Raises BenchError where mediapipe is not there, or nobody finds a face in the frames.
    """
    figures: list[Figure] = []
    for each_anew, how in ((True, "each frame anew"), (False, "following the face")):
        tell(f"MediaPipe's FaceMesh, {how}")
        theirs, ours = _in_turn(
            python, msgspec.structs.replace(order, each_anew=each_anew), repeats=repeats, seconds=seconds, log=log
        )
        figures += _figures(theirs, ours, how)
    return figures


def _in_turn(
    python: Path, order: MeshOrder, *, repeats: int, seconds: float, log: Path | None
) -> tuple[list[LoopRun], list[LoopRun]]:
    """MediaPipe's runs, and as many of ours."""
    with contextlib.ExitStack() as open_loops:
        # -I: the folder of the program, and what leads to our packages, must not be looked into.
        command = [str(python), "-I", str(PROGRAM)]
        what = f"MediaPipe in {python}"
        mediapipe = open_loops.enter_context(Loop(command, msgspec.to_builtins(order), what=what, log=log))
        own = open_loops.enter_context(module_loop("bimodal.bench.mesh_loop", order, what="detector and mesh", log=log))
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
