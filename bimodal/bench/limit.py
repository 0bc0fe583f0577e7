"""The ceiling: bare ONNX Runtime with the configured models, a process on each core, no pipeline around."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from msgspec.structs import replace

from bimodal.bench.figures import Figure, Outcome, figure, in_turn
from bimodal.bench.limit_process import LimitOrder
from bimodal.bench.loops import Loop, LoopRun, module_loop
from bimodal.bench.media import Decoded, decoded
from bimodal.bench.plan import Plan
from bimodal.config import Config
from bimodal.supervisor.processes import Wanted
from bimodal.supervisor.processes import processes as rows_of
from bimodal.workers.settings import AudioActorSettings, FaceActorSettings

PART = "limit"
_S = TypeVar("_S", FaceActorSettings, AudioActorSettings)
WARM_S = 0.5


class Ceiling:
    """Processes that repeat the same bare runs at the same time, one on each core."""

    def __init__(self, loops: Sequence[Loop]) -> None:
        self._loops = loops
        self._threads = ThreadPoolExecutor(len(loops))

    def run(self, seconds: float) -> list[LoopRun]:
        """Let all run for about so many seconds."""
        return list(self._threads.map(lambda loop: loop.run(seconds), self._loops))

    def per_s(self, seconds: float) -> float:
        """Frames or windows a second of all processes together."""
        return sum(run.frames_per_s for run in self.run(seconds))

    def close(self) -> None:
        """Shut the threads down; the processes belong to the caller."""
        self._threads.shutdown()


@contextlib.contextmanager
def ceiling(plan: Plan, config: Config, media: Decoded, *, processes: int, windows: bool = False) -> Iterator[Ceiling]:
    """Start processes with the config's models, each on a core of its own if there are enough.

    Args:
        windows: repeat speech windows instead of frames.

    Raises BenchError if they can't be run or find no face.
    """
    face, audio = _settings(config, FaceActorSettings), _settings(config, AudioActorSettings)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with contextlib.ExitStack() as begun:
        loops = []
        for number in range(processes):
            core = cores[number] if number < len(cores) else None
            order = LimitOrder(core=core, face=face[0], frames=str(media.frames))
            if windows:
                order = LimitOrder(
                    core=core,
                    face=face[0],
                    sound=str(media.sound),
                    rate=media.rate,
                    hop_s=config.capture.hop_s,
                    window_s=config.capture.window_s,
                    audio=audio[0],
                )
            loops.append(
                begun.enter_context(
                    module_loop("bimodal.bench.limit_process", order, what="bare ONNX Runtime", log=plan.log)
                )
            )
        found = Ceiling(loops)
        begun.callback(found.close)
        found.run(min(plan.seconds, WARM_S))
        yield found


def measure(plan: Plan) -> Outcome:
    """Measure frames and windows a second of all cores together, and of a single one."""
    media = decoded(plan.folder)
    figures = _of(plan, media, "frames", windows=False)
    notes = ["A frame is the detector, the landmarks and the static model on one face; the inputs lie ready."]
    if plan.config.models.voices:
        figures += _of(plan, media, "windows", windows=True)
        notes.append("A window is voice activity over all of it, and the speech model where there is voice.")
    return Outcome(part=PART, figures=tuple(figures), notes=tuple(notes))


def _of(plan: Plan, media: Decoded, what: str, *, windows: bool) -> list[Figure]:
    counts = sorted({1, plan.cores})
    with contextlib.ExitStack() as begun:
        ceilings = {
            f"{what}, {count} process{'es' if count > 1 else ''}": begun.enter_context(
                ceiling(plan, plan.config, media, processes=count, windows=windows)
            )
            for count in counts
        }
        found = in_turn(
            {name: (lambda each=each: each.per_s(plan.seconds)) for name, each in ceilings.items()},  # type: ignore[misc]
            plan.repeats,
            plan.progress,
        )
    one, *others = ceilings
    alone = figure(one, found[one], f"{what}/s")
    return [alone, *(figure(name, found[name], f"{what}/s", against=alone) for name in others)]


def _settings(config: Config, kind: type[_S]) -> list[_S]:
    """The settings that the config's workers of a kind get, with one thread each and without spinning."""
    found = [row.settings for row in rows_of(Wanted(config)) if isinstance(row.settings, kind)]
    runtime = {"threads": 1, "spinning": False}
    return [replace(settings, runtime=replace(settings.runtime, **runtime)) for settings in found]
