"""The usual demo in torch eager, as the program that this project began with runs it, against the pipeline with the
same architectures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from bimodal.bench.figures import Figure, figure
from bimodal.bench.in_turn import in_turn
from bimodal.bench.looping import Loop, module_loop
from bimodal.bench.plan import Plan
from bimodal.bench.resnet import resnet_artifacts
from bimodal.bench.seed_program import SeedOrder
from bimodal.config import Config
from bimodal.models.catalog import resolve

TWICE = "torch eager in one loop, ResNet-50 twice a frame"
ONCE = "torch eager in one loop, ResNet-50 once a frame"
FP32, INT8 = "the pipeline with ResNet-50 fp32", "the pipeline with ResNet-50 INT8"
FLOORS = {FP32: 3.5, INT8: 10.0}
FOLDER = "resnet"
SEED_SPEECH = "speech-keras"
FEWEST_S = 3.0
"""A frame of the loop takes a tenth of a second and more."""

Run = Callable[[Config], float]
"""The whole system with these models: frames a second."""


def against_torch(plan: Plan, frames: Path, fps: float, run: Run) -> list[Figure]:
    """Frames a second of both loops, and of the pipeline with fp32 and INT8 against each.

    Args:
        frames: a .npy file, uint8 [N, H, W, 3] RGB.
        fps: of the frames.

    Raises BenchError where torch is not there, ResNet-50 can't be made, or something can't be run.
    """
    fp32, int8 = resnet_artifacts(plan.folder / FOLDER)
    with contextlib.ExitStack() as loops:
        twice = loops.enter_context(_loop(plan, frames, fps, times=2))
        once = loops.enter_context(_loop(plan, frames, fps, times=1))
        seconds = max(plan.seconds, FEWEST_S)
        found = in_turn(
            {
                TWICE: lambda: twice.run(seconds).frames_per_s,
                ONCE: lambda: once.run(seconds).frames_per_s,
                FP32: lambda: run(with_static(plan.config, fp32)),
                INT8: lambda: run(with_static(plan.config, int8)),
            },
            plan.repeats,
            plan.tell,
        )
    seed, lighter = (figure(name, found[name], "frames/s") for name in (TWICE, ONCE))
    figures = [seed, lighter]
    for name, floor in FLOORS.items():
        figures.append(figure(name, found[name], "frames/s", against=seed, floor=floor))
        figures.append(figure(f"{name}, against once", found[name], "frames/s", against=lighter))
    return figures


def with_static(config: Config, static: Path) -> Config:
    """The config with this static model, with a speech model of the seed's form (352 × 15 features into an LSTM), and
    without a dynamic one, whose embeddings would be another's."""
    changes = {"face_static": (str(static),), "face_dynamic": "none", "speech": SEED_SPEECH}
    models = config.models.model_copy(update=changes)
    return config.model_copy(update={"models": models})


def _loop(plan: Plan, frames: Path, fps: float, times: int) -> Loop:
    models = plan.config.models
    order = SeedOrder(
        frames=str(frames),
        fps=fps,
        hop_s=plan.config.capture.hop_s,
        detector=str(resolve(models.face_detector)),
        landmarks=str(resolve(models.face_landmarks)),
        times=times,
    )
    return module_loop("bimodal.bench.seed_program", order, what="the loop in torch eager", log=plan.log)
