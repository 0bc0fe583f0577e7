"""One process that does everything (`bimodal.Detector`), against the pipeline and against `bimodal analyze`."""

from __future__ import annotations

import contextlib
import itertools
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import msgspec
import numpy as np

from bimodal.api.detector import Detector
from bimodal.bench.figures import BenchError, Figure, Outcome, figure, in_turn
from bimodal.bench.loops import Loop, LoopRun, module_loop, serve
from bimodal.bench.media import Decoded, decoded
from bimodal.bench.pipeline import frames_per_s
from bimodal.bench.plan import Plan
from bimodal.bench.system import write_config
from bimodal.broker.events import Emotion
from bimodal.child_process import child_environment, python_command
from bimodal.config import Config, load_config
from bimodal.workers.demo import DEMO

PART = "single"
DEMO_LIKE, ONE_THREAD = "one loop, as many threads as cores, spinning", "one loop, 1 thread"
PIPELINE = "the pipeline"
COMMAND, IN_PROCESS = "bimodal analyze, 1 face worker: CPU", "Detector.events: CPU"
FLOOR = 0.85
"""Share of the command's CPU that the detector may take at most."""

WARM_S = 0.5
PROGRAM = """
import sys, bimodal
with bimodal.Detector(sys.argv[1]) as detector:
    assert sum(1 for _ in detector.events(sys.argv[2]))
"""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Input of the loop.

    Attributes:
        config: path of a config.yaml.
        frames: a .npy file, uint8 [N, H, W, 3] RGB, `fps` of them a second.
        sound: a .npy file, float32 [samples] mono at `rate` Hz; None without sound.
        opencv_threads: 0 for OpenCV's own default.
    """

    config: str
    frames: str
    fps: float
    sound: str | None = None
    rate: int = 0
    opencv_threads: int = 0


def measure(plan: Plan) -> Outcome:
    """Frames a second of the loop and of the pipeline; CPU seconds of the detector and of the command.

    Raises BenchError where one can't be run.
    """
    media = decoded(plan.folder)
    figures = [*gain(plan, media, lambda config: frames_per_s(plan, config, media.clip)), *cpu(plan)]
    return Outcome(part=PART, figures=tuple(figures))


def gain(plan: Plan, media: Decoded, run: Callable[[Config], float]) -> list[Figure]:
    """Frames a second of the loop and of the pipeline (`run`), in turn; time and CPU of a frame in the loop."""
    runs: dict[str, list[LoopRun]] = {DEMO_LIKE: [], ONE_THREAD: []}
    with contextlib.ExitStack() as opened:
        demo = opened.enter_context(_loop(plan, media, threads=plan.cores, spinning=True, opencv_threads=0))
        one = opened.enter_context(_loop(plan, media, threads=1, spinning=False, opencv_threads=1))
        loops = {DEMO_LIKE: demo, ONE_THREAD: one}
        for loop in loops.values():
            loop.run(min(plan.seconds, WARM_S))

        def keep(name: str) -> float:
            runs[name].append(loops[name].run(plan.seconds))
            return runs[name][-1].frames_per_s

        found = in_turn(
            {
                DEMO_LIKE: lambda: keep(DEMO_LIKE),
                ONE_THREAD: lambda: keep(ONE_THREAD),
                PIPELINE: lambda: run(plan.config),
            },
            plan.repeats,
            plan.progress,
        )
    measured = [figure(name, found[name], "frames/s") for name in runs]
    faster = max(measured, key=lambda each: each.value)
    return [
        *measured,
        figure(PIPELINE, found[PIPELINE], "frames/s", against=faster),
        *(figure(f"{name}: a frame", [each.median_ms for each in several], "ms") for name, several in runs.items()),
        *(figure(f"{name}: CPU a frame", [each.cpu_ms for each in several], "ms") for name, several in runs.items()),
    ]


def cpu(plan: Plan) -> list[Figure]:
    """CPU seconds of the detector on the demo clip against those of the command, starts included."""
    config = plan.folder / "single.yaml"
    write_config(plan.config, config)

    def command() -> float:
        with TemporaryDirectory(dir=plan.folder) as out:
            options = ("--out", out, "--config", str(config), "--face-workers", "1")
            return _cpu_s(python_command("bimodal", "analyze", str(DEMO), *options))

    def in_process() -> float:
        program = plan.folder / "detector.py"
        program.write_text(PROGRAM)
        return _cpu_s([python_command("")[0], str(program), str(config), str(DEMO)])

    found = in_turn({COMMAND: command, IN_PROCESS: in_process}, plan.repeats, plan.progress)
    against = figure(COMMAND, found[COMMAND], "s")
    return [against, figure(IN_PROCESS, found[IN_PROCESS], "s", against=against, floor=FLOOR, at_most=True)]


def _cpu_s(command: list[str]) -> float:
    """CPU seconds, user and system, of a command and of all processes that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{Path(command[-1]).name} ended with code {done.returncode}: {done.stderr.strip()[-200:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _loop(plan: Plan, media: Decoded, *, threads: int, spinning: bool, opencv_threads: int) -> Loop:
    runtime = msgspec.structs.replace(plan.config.runtime, threads=threads, spinning=spinning)
    config = plan.folder / f"single-{threads}-{spinning}.yaml"
    write_config(msgspec.structs.replace(plan.config, runtime=runtime), config)
    order = Order(
        config=str(config),
        frames=str(media.frames),
        fps=media.fps,
        sound=None if media.sound is None else str(media.sound),
        rate=media.rate,
        opencv_threads=opencv_threads,
    )
    return module_loop("scripts.measure.single", order, what="everything in one loop", log=plan.log)


def prepare(order: Order) -> Callable[[], int]:
    """Open the models; gives a function that makes the next event and returns its number of faces."""
    events = _events(Detector(load_config(Path(order.config))), order)
    cv2.setNumThreads(order.opencv_threads or -1)
    return lambda: len(next(events).faces)


def _events(detector: Detector, order: Order) -> Iterator[Emotion]:
    frames = np.load(Path(order.frames), mmap_mode="r", allow_pickle=False)
    sound = None if order.sound is None else np.load(Path(order.sound), allow_pickle=False)
    for _ in itertools.count():
        yield from detector.events(frames, fps=order.fps, sound=sound, rate=order.rate or None)


if __name__ == "__main__":
    serve(Order, prepare)
