"""One of the measured processes: `python -m bimodal.doctor.sizing_process '{"worker": …}'`.

It prints "ready" when its models are open and warm. On the next line of its stdin it runs one frame's model runs
repeatedly, prints its Measurement as JSON, and ends when its stdin is closed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import av
import cv2
import msgspec
import numpy as np
import psutil
from numpy.typing import NDArray

from bimodal.models.errors import ModelError
from bimodal.models.session import Artifact
from bimodal.workers.actor import die_with_parent
from bimodal.workers.demo import DEMO
from bimodal.workers.face.pipeline import FacePipeline
from bimodal.workers.face.settings import FaceSettings
from bimodal.workers.inference import open_model
from bimodal.workers.settings import FaceActorSettings

READY = "ready"
WARM_UP = 3
MEBIBYTE = 2**20
SHARED_OUT = Path("/proc/self/smaps_rollup")


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The process's order: the worker it stands for, its settings, its cores (empty: all), seconds, and parent pid."""

    worker: str
    settings: FaceActorSettings
    cores: tuple[int, ...]
    seconds: float
    parent: int


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Frames a second, median milliseconds per frame, MiB of memory; or `because`, why it failed."""

    frames_s: float = 0.0
    frame_ms: float = 0.0
    memory_mb: float = 0.0
    because: str | None = None


def work(task: Task) -> Measurement:
    """Open the models, print "ready", wait for a line, and run."""
    mine = task.settings
    detector = open_model(mine.detector, "face-detector", mine.runtime, task.worker)
    landmarks = open_model(mine.landmarks, "face-landmarks", mine.runtime, task.worker)
    static = [open_model(path, "face-static", mine.runtime, task.worker) for path in mine.static]
    runs = runs_of(first_picture(), detector, landmarks, static, mine.face)
    for _ in range(WARM_UP):
        for run in runs:
            run.repeat()
    print(READY, flush=True)
    sys.stdin.readline()
    times: list[float] = []
    began = now = time.perf_counter()
    while now - began < task.seconds or not times:
        start = now
        for run in runs:
            run.repeat()
        now = time.perf_counter()
        times.append(now - start)
    return Measurement(frames_s=len(times) / (now - began), frame_ms=1000 * median(times), memory_mb=_memory_mb())


def main() -> None:
    """Run the process."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    die_with_parent(task.parent)
    if task.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task.cores)
    cv2.setNumThreads(1)
    try:
        did = work(task)
    except ModelError as error:
        did = Measurement(because=str(error))
    print(msgspec.json.encode(did).decode(), flush=True)
    sys.stdin.read()


def _memory_mb() -> float:
    """MiB of memory: the proportional set size where the system reports it, else the resident set size."""
    if SHARED_OUT.exists():
        for line in SHARED_OUT.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    resident: int = psutil.Process().memory_info().rss
    return resident / MEBIBYTE


# The model runs of one real frame, which `doctor --size` and the bench's ceiling repeat.


class Run(NamedTuple):
    """One run of a model with its inputs."""

    artifact: Artifact
    inputs: dict[str, NDArray[Any]]

    def repeat(self) -> dict[str, NDArray[Any]]:
        """Run the model."""
        return self.artifact.run(**self.inputs)


def first_picture(path: Path = DEMO) -> NDArray[np.uint8]:
    """Decode the first frame of a video, uint8 [H, W, 3] RGB."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)


def runs_of(
    picture: NDArray[np.uint8],
    detector: Artifact,
    landmarks: Artifact,
    static: Sequence[Artifact],
    settings: FaceSettings,
) -> list[Run]:
    """The model runs of FacePipeline on a picture, in order. Raises ArtifactError as FacePipeline does."""
    found: list[Run] = []
    noted = [recording(artifact, found) for artifact in (detector, landmarks, *static)]
    FacePipeline(noted[0], noted[1], noted[2:], settings)(picture)
    return found


def recording(artifact: Artifact, runs: list[Run]) -> Artifact:
    """Wrap an artifact so that its runs are appended to `runs`."""

    def note(noted: Artifact, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        runs.append(Run(noted, {name: value.copy() for name, value in inputs.items()}))
        return runs[-1].repeat()

    return artifact.with_run(note)


if __name__ == "__main__":
    main()
