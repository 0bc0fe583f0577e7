"""One of the measured processes: `python -m bimodal.doctor.sizing_process '{"worker": …}'`.

It says "ready" when its models are open and warm, runs one frame's work again and again from the next line of its stdin
on, says what it did as JSON, and ends when its stdin is closed.
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
    """What the process is told: which worker it stands for, its settings, the cores it may run on (empty: all), for how
    many seconds it runs, and who its parent is."""

    worker: str
    settings: FaceActorSettings
    cores: tuple[int, ...]
    seconds: float
    parent: int


class Did(msgspec.Struct, frozen=True, kw_only=True):
    """What it did: frames a second, milliseconds of one (median), MiB that it took. `because`: why it could not."""

    frames_s: float = 0.0
    frame_ms: float = 0.0
    memory_mb: float = 0.0
    because: str | None = None


def work(task: Task) -> Did:
    """Open, say so, wait for the word, and run."""
    mine = task.settings
    detector = open_model(mine.detector, "face-detector", mine.runtime, task.worker)
    landmarks = open_model(mine.landmarks, "face-landmarks", mine.runtime, task.worker)
    static = [open_model(path, "face-static", mine.runtime, task.worker) for path in mine.static]
    runs = runs_of(first_picture(), detector, landmarks, static, mine.face)
    for _ in range(WARM_UP):
        for run in runs:
            run.again()
    print(READY, flush=True)
    sys.stdin.readline()
    times: list[float] = []
    began = now = time.perf_counter()
    while now - began < task.seconds or not times:
        start = now
        for run in runs:
            run.again()
        now = time.perf_counter()
        times.append(now - start)
    return Did(frames_s=len(times) / (now - began), frame_ms=1000 * median(times), memory_mb=_memory_mb())


def main() -> None:
    """Be the process."""
    task = msgspec.json.decode(sys.argv[1], type=Task)
    die_with_parent(task.parent)
    if task.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, task.cores)
    cv2.setNumThreads(1)
    try:
        did = work(task)
    except ModelError as error:
        did = Did(because=str(error))
    print(msgspec.json.encode(did).decode(), flush=True)
    sys.stdin.read()


def _memory_mb() -> float:
    """Its own memory and its share of what processes share, where the system tells; all of it elsewhere."""
    if SHARED_OUT.exists():
        for line in SHARED_OUT.read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    resident: int = psutil.Process().memory_info().rss
    return resident / MEBIBYTE


# One real frame's work as bare runs of the configured models: what `doctor --size` and the bench's ceiling repeat.


class Run(NamedTuple):
    """One run of a model with its inputs."""

    artifact: Artifact
    inputs: dict[str, NDArray[Any]]

    def again(self) -> dict[str, NDArray[Any]]:
        """Run it."""
        return self.artifact.run(**self.inputs)


def first_picture(path: Path = DEMO) -> NDArray[np.uint8]:
    """The first frame of a film, uint8 [H, W, 3] RGB."""
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
    """The runs that looking at a picture takes, in their order; raises ArtifactError as FacePipeline."""
    found: list[Run] = []
    noted = [noting(artifact, found) for artifact in (detector, landmarks, *static)]
    FacePipeline(noted[0], noted[1], noted[2:], settings)(picture)
    return found


def noting(artifact: Artifact, runs: list[Run]) -> Artifact:
    """The artifact, whose runs are noted."""

    def note(noted: Artifact, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        runs.append(Run(noted, {name: value.copy() for name, value in inputs.items()}))
        return runs[-1].again()

    return artifact.with_run(note)


if __name__ == "__main__":
    main()
