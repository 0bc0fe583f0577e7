"""One process that does everything in a loop, as demos do, against the pipeline: what the design gains."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bimodal.bench.decoded import decoded
from bimodal.bench.figures import Figure, Outcome, figure
from bimodal.bench.in_turn import in_turn
from bimodal.bench.looping import Loop, LoopRun, module_loop
from bimodal.bench.mediapipe_compare import compare
from bimodal.bench.mesh_loop import MeshOrder
from bimodal.bench.plan import Plan
from bimodal.bench.resnet import resnet_artifacts
from bimodal.bench.single_loop import Order
from bimodal.bench.single_torch import FOLDER, Run, against_torch
from bimodal.bench.throughput import frames_per_s
from bimodal.config import Config
from bimodal.models.catalog import resolve
from bimodal.supervisor.processes import ProcessSpec, processes
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings, FusionActorSettings

PART = "single"
DEMO_LIKE, ONE_THREAD = "one loop, threads as ONNX Runtime takes them", "one loop, 1 thread"
"""The first has threads and spinning as ONNX Runtime sets them where nobody says anything, which demos don't."""

PIPELINE = "the pipeline"
WARM_S = 0.5

_T = TypeVar("_T")
_S = TypeVar("_S", FaceActorSettings, AudioActorSettings, FusionActorSettings)


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What the loops look at, and listen to.

    Attributes:
        frames: a .npy file, uint8 [N, H, W, 3] RGB, `fps` of them a second.
        sound: a .npy file, float32 [samples] mono at `rate` Hz; None for a stream without sound.
    """

    frames: Path
    fps: float
    sound: Path | None = None
    rate: int = 0


def measure(plan: Plan) -> Outcome:
    """Frames a second and latency of the loop; with `torch` and `mediapipe`, of the usual demo's parts too.

    Raises BenchError where a loop or the system can't be run.
    """
    if plan.torch:
        # First: what can't be made, or opened, must cost no figures that are done.
        plan.tell(f"{PART}: making ResNet-50, fp32 and INT8, with random weights")
        resnet_artifacts(plan.folder / FOLDER)
    media = decoded(plan.folder)
    heard = Heard(frames=media.frames, fps=media.fps, sound=media.sound, rate=media.rate)

    def run(config: Config) -> float:
        return frames_per_s(plan, config, media.clip)

    mediapipe = [] if plan.mediapipe is None else against_mediapipe(plan, heard.frames, plan.mediapipe)
    torch = against_torch(plan, heard.frames, heard.fps, run) if plan.torch else []
    return Outcome(part=PART, figures=(*gain(plan, heard, run), *torch, *mediapipe), notes=_notes(plan))


def against_mediapipe(plan: Plan, frames: Path, python: Path) -> list[Figure]:
    """Detector and mesh of the config against MediaPipe's FaceMesh."""
    models = plan.config.models
    order = MeshOrder(
        frames=str(frames),
        detector=str(resolve(models.face_detector)),
        landmarks=str(resolve(models.face_landmarks)),
        each_anew=True,
    )
    return compare(python, order, repeats=plan.repeats, seconds=plan.seconds / 2, log=plan.log, tell=plan.tell)


def _notes(plan: Plan) -> tuple[str, ...]:
    notes = ["The loop is the product's own code for faces, speech and fusion, in one process."]
    if plan.torch:
        notes.append(
            "The loop in torch eager finds faces with MediaPipe's networks in ONNX Runtime, which cost less than "
            "MediaPipe itself, on frames of a quarter; weights are random, and features of speech come for nothing."
        )
    return tuple(notes)


def gain(plan: Plan, heard: Heard, run: Run) -> list[Figure]:
    """Frames a second of the loop and of the pipeline, in turn; and how long a frame takes in the loop."""
    runs: dict[str, list[LoopRun]] = {DEMO_LIKE: [], ONE_THREAD: []}
    with contextlib.ExitStack() as loops:
        demo = loops.enter_context(_loop(plan, heard, threads=0, spinning=True, opencv_threads=0))
        one = loops.enter_context(_loop(plan, heard, threads=1, spinning=False, opencv_threads=1))
        for loop in (demo, one):
            loop.run(min(plan.seconds, WARM_S))

        def keep(name: str, loop: Loop) -> float:
            runs[name].append(loop.run(plan.seconds))
            return runs[name][-1].frames_per_s

        found = in_turn(
            {
                DEMO_LIKE: lambda: keep(DEMO_LIKE, demo),
                ONE_THREAD: lambda: keep(ONE_THREAD, one),
                PIPELINE: lambda: run(plan.config),
            },
            plan.repeats,
            plan.tell,
        )
    loops_found = [figure(name, found[name], "frames/s") for name in runs]
    faster = max(loops_found, key=lambda each: each.value)
    return [
        *loops_found,
        figure(PIPELINE, found[PIPELINE], "frames/s", against=faster),
        *(figure(f"{name}: a frame", [each.median_ms for each in several], "ms") for name, several in runs.items()),
        *(figure(f"{name}: CPU a frame", [each.cpu_ms for each in several], "ms") for name, several in runs.items()),
    ]


def _loop(plan: Plan, heard: Heard, *, threads: int, spinning: bool, opencv_threads: int) -> Loop:
    order = order_of(plan.config, heard, threads=threads, spinning=spinning, opencv_threads=opencv_threads)
    return module_loop("bimodal.bench.single_loop", order, what="everything in one loop", log=plan.log)


def order_of(config: Config, heard: Heard, *, threads: int, spinning: bool, opencv_threads: int) -> Order:
    """What a loop with the config's models and settings is told; raises CatalogError where a model is unknown."""
    rows = processes(config, record=None, counts={"face": 1, "audio": 1})
    face, audio = _told(rows, FaceActorSettings), _told(rows, AudioActorSettings)
    fusion = _told(rows, FusionActorSettings)
    runtime = {"threads": threads, "spinning": spinning}
    return Order(
        frames=str(heard.frames),
        sound=None if heard.sound is None else str(heard.sound),
        rate=heard.rate,
        fps=heard.fps,
        hop_s=config.capture.hop_s,
        window_s=config.capture.window_s,
        face=_running(face[0], runtime),
        audio=_running(audio[0], runtime) if audio else None,
        fusion=_running(fusion[0], runtime),
        opencv_threads=opencv_threads,
    )


def _told(rows: Sequence[ProcessSpec], kind: type[_T]) -> list[_T]:
    return [row.settings for row in rows if isinstance(row.settings, kind)]


def _running(settings: _S, runtime: Mapping[str, Any]) -> _S:
    """What a worker is told, with ONNX Runtime running otherwise."""
    return msgspec.structs.replace(settings, runtime=msgspec.structs.replace(settings.runtime, **runtime))
