"""One process that does everything in a loop, as demos do, against the pipeline."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.bench.figures import Figure, Outcome, figure, in_turn
from bimodal.bench.limit_process import face_models, speech_models
from bimodal.bench.loops import Loop, LoopRun, module_loop, serve
from bimodal.bench.media import decoded
from bimodal.bench.orders import LoopInput, Order, order_of
from bimodal.bench.pipeline import frames_per_s
from bimodal.bench.plan import Plan
from bimodal.broker.events import Emotion
from bimodal.broker.messages import FaceResult, SpeechResult, StreamOpened
from bimodal.config import Config
from bimodal.workers.audio.pipeline import SpeechPipeline
from bimodal.workers.face.actor import face_message
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.fusion.actor import load
from bimodal.workers.fusion.streams import Fusion

PART = "single"
DEMO_LIKE, ONE_THREAD = "one loop, threads as ONNX Runtime takes them", "one loop, 1 thread"
"""The first has ONNX Runtime's default threads and spinning, as in most demos."""

PIPELINE = "the pipeline"
WARM_S = 0.5

NOTE = "The loop is the product's own code for faces, speech and fusion, in one process."

Run = Callable[[Config], float]
"""Measures frames a second of the whole system with these models."""


def measure(plan: Plan) -> Outcome:
    """Measure frames a second and latency of the loop against the pipeline. Raises BenchError if one can't be run."""
    media = decoded(plan.folder)
    inputs = LoopInput(frames=media.frames, fps=media.fps, sound=media.sound, rate=media.rate)
    figures = gain(plan, inputs, lambda config: frames_per_s(plan, config, media.clip))
    return Outcome(part=PART, figures=tuple(figures), notes=(NOTE,))


def gain(plan: Plan, inputs: LoopInput, run: Run) -> list[Figure]:
    """Measure frames a second of loop and pipeline in turn, and the loop's time per frame."""
    runs: dict[str, list[LoopRun]] = {DEMO_LIKE: [], ONE_THREAD: []}
    with contextlib.ExitStack() as loops:
        demo = loops.enter_context(_loop(plan, inputs, threads=0, spinning=True, opencv_threads=0))
        one = loops.enter_context(_loop(plan, inputs, threads=1, spinning=False, opencv_threads=1))
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
            plan.progress,
        )
    loops_found = [figure(name, found[name], "frames/s") for name in runs]
    faster = max(loops_found, key=lambda each: each.value)
    return [
        *loops_found,
        figure(PIPELINE, found[PIPELINE], "frames/s", against=faster),
        *(figure(f"{name}: a frame", [each.median_ms for each in several], "ms") for name, several in runs.items()),
        *(figure(f"{name}: CPU a frame", [each.cpu_ms for each in several], "ms") for name, several in runs.items()),
    ]


def _loop(plan: Plan, inputs: LoopInput, *, threads: int, spinning: bool, opencv_threads: int) -> Loop:
    order = order_of(plan.config, inputs, threads=threads, spinning=spinning, opencv_threads=opencv_threads)
    return module_loop("scripts.measure.single", order, what="everything in one loop", log=plan.log)


# The loop (`python -m scripts.measure.single`): the product's own code for faces, speech and fusion in one process,
# one after another, without a queue.

STREAM = "bench"


class Everything:
    """Frames and sound in, events out. The frames are repeated on a continuing time line."""

    def __init__(self, order: Order) -> None:
        self._order = order
        if order.opencv_threads:
            cv2.setNumThreads(order.opencv_threads)
        self._frames: NDArray[np.uint8] = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)
        self._sound = None if order.sound is None else np.load(Path(order.sound), allow_pickle=False)
        detector, landmarks, static = face_models(order.face)
        self._see = FacePipeline(detector, landmarks, static, order.face.face)
        # Fusion feeds a dynamic model only embeddings of the static model it was trained with.
        self._models = {"face-static": "+".join(artifact.identity for artifact in static)}
        self._hear = None
        if order.audio is not None and self._sound is not None:
            self._hear = SpeechPipeline(*speech_models(order.audio), order.audio.audio)
        loaded = load(order.fusion)
        self._fusion = Fusion(loaded.settings.fusion, loaded.dynamic, loaded.learned)
        self._seq = self.hops = 0
        self.events = 0
        self._tell(
            StreamOpened(
                stream=STREAM,
                run=1,
                policy="every",
                source=order.frames,
                has_picture=True,
                has_sound=self._hear is not None,
                hop_ns=round(order.hop_s * 1e9),
            )
        )

    def step(self) -> int:
        """Process the next frame, and the speech window that ends before it, if any. Returns the number of faces."""
        grab_ns = time.monotonic_ns()
        pts_ns = round(self._seq / self._order.fps * 1e9)
        if self._hear is not None and pts_ns >= (self.hops + 1) * self._order.hop_s * 1e9:
            self._listen(self._hear, grab_ns)
        frame = self._frames[self._seq % len(self._frames)]
        found, _ = self._see.look(frame, self._seq, None)
        self._tell(
            FaceResult(
                number=1,
                stream=STREAM,
                run=1,
                seq=self._seq,
                pts_ns=pts_ns,
                grab_ns=grab_ns,
                faces=tuple(map(face_message, found)),
                queue_ns=0,
                inference_ns=time.monotonic_ns() - grab_ns,
                models=self._models,
            )
        )
        self._seq += 1
        return len(found)

    def _listen(self, hear: SpeechPipeline, grab_ns: int) -> None:
        assert self._sound is not None
        fresh = round(self._order.hop_s * self._order.rate)
        self.hops += 1
        end = fresh + (self.hops * fresh) % max(1, self._sound.size - fresh)
        window = self._sound[max(0, end - round(self._order.window_s * self._order.rate)) : end]
        reading = hear(window, self._order.rate, fresh)
        self._tell(
            SpeechResult(
                number=1,
                stream=STREAM,
                run=1,
                seq=self.hops - 1,
                pts_ns=round(self.hops * self._order.hop_s * 1e9),
                grab_ns=grab_ns,
                voice=reading.voice,
                probabilities=reading.probabilities,
                because=reading.reason,
            )
        )

    def _tell(self, message: Any) -> None:
        self.events += sum(isinstance(event, Emotion) for event in self._fusion.receive(message, time.monotonic_ns()))


def prepare(order: Order) -> Callable[[], int]:
    """Make the function that processes the next frame."""
    return Everything(order).step


if __name__ == "__main__":
    serve(Order, prepare)
