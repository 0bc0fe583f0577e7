"""`bimodal doctor --size`: arrangements of workers and threads to measure, and the choice among them."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple

import msgspec

from bimodal.child_process import child_environment, python_command
from bimodal.doctor.sizing_process import READY, Measurement, Task
from bimodal.workers.errors import SystemFailedError
from bimodal.workers.settings import FaceActorSettings

# Arrangements with this close a throughput count as equal: then the one with the shorter time per frame is better.
ALIKE = 0.95

# The whole system reaches at least this share of bare models (bench, docs/performance.md).
SHARE_OF_BARE = 0.8

LIVE_FPS = 30.0


class Arrangement(NamedTuple):
    """A number of face workers, and of threads of each."""

    workers: int
    threads: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The performance of an arrangement with bare models.

    Attributes:
        workers, threads: the arrangement.
        frames_s: frames a second of all workers together.
        frame_ms: median milliseconds of a worker per frame.
        memory_mb: MiB of all workers together; shared pages count once.
    """

    workers: int
    threads: int
    frames_s: float
    frame_ms: float
    memory_mb: float


def arrangements(cores: int, gpus: int = 0) -> list[Arrangement]:
    """The arrangements to measure: powers of two of workers and threads that fit the cores, and a worker per core.

    With GPUs: one and two workers per GPU.
    """
    if gpus:
        return [Arrangement(gpus, 1), Arrangement(2 * gpus, 1)]
    return [
        Arrangement(workers, threads)
        for threads in _doublings(cores)
        for workers in sorted({*_doublings(cores // threads), cores // threads})
    ]


def choose(measured: Sequence[Measured], memory_mb: float) -> Measured:
    """Choose the arrangement with the most frames a second that fits half of `memory_mb`.

    Among about equal ones the one with the shortest time per frame, then the least memory. If none fits, the smallest.
    `measured` must not be empty.
    """
    fitting = [one for one in measured if one.memory_mb <= memory_mb / 2]
    if not fitting:
        return min(measured, key=lambda one: one.memory_mb)
    most = max(one.frames_s for one in fitting)
    alike = [one for one in fitting if one.frames_s >= ALIKE * most]
    return min(alike, key=lambda one: (one.frame_ms, one.memory_mb))


def streams(frames_s: float) -> int:
    """Number of live streams of 30 frames a second that a system can serve whose bare models reach `frames_s`."""
    return int(frames_s * SHARE_OF_BARE / LIVE_FPS)


def serves(frames_s: float) -> str:
    """The number of `streams` in words."""
    count, fps = streams(frames_s), f"{LIVE_FPS:.0f} frames a second"
    if count == 0:
        return f"looks at {frames_s * SHARE_OF_BARE:.0f} of the {fps} of one live stream, and leaves out the rest"
    return f"serves {count} live stream{'s' if count > 1 else ''} of {fps}"


def config_lines(chosen: Measured) -> str:
    """The proposal as lines of config.yaml."""
    return f"runtime: {{threads: {chosen.threads}}}\nworkers: {{face: {{count: {chosen.workers}}}}}"


def _doublings(most: int) -> list[int]:
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


# Measuring an arrangement: its processes run at the same time, each on cores of its own.

Process = subprocess.Popen[str]


def measure(settings: FaceActorSettings, arrangement: Arrangement, cores: Sequence[int], seconds: float) -> Measured:
    """Run an arrangement of the configured models for some seconds, each worker on the next of `cores`.

    Raises SystemFailedError if a process fails (a model can't be opened), with its reason.
    """
    number, threads = arrangement
    runtime = msgspec.structs.replace(settings.runtime, threads=threads)
    tasks = [
        Task(
            worker=f"face {place + 1}",
            settings=msgspec.structs.replace(settings, runtime=runtime),
            cores=tuple(cores[place * threads : (place + 1) * threads]),
            seconds=seconds,
            parent=os.getpid(),
        )
        for place in range(number)
    ]
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_process(task)) for task in tasks]
        for process in processes:
            _expect_ready(process)
        for process in processes:
            _write_line(process, "go\n")
        found = [_measurement(_line(process)) for process in processes]
    return Measured(
        workers=number,
        threads=threads,
        frames_s=sum(did.frames_s for did in found),
        frame_ms=median(did.frame_ms for did in found),
        memory_mb=sum(did.memory_mb for did in found),
    )


@contextlib.contextmanager
def _process(task: Task) -> Iterator[Process]:
    process = subprocess.Popen(
        python_command("bimodal.doctor.sizing_process", msgspec.json.encode(task).decode()),
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _expect_ready(process: Process) -> None:
    line = _line(process)
    if line != READY:
        _measurement(line)


def _measurement(line: str) -> Measurement:
    try:
        did = msgspec.json.decode(line, type=Measurement)
    except msgspec.DecodeError as error:
        raise SystemFailedError("a measured process ended before it was done") from error
    if did.because is not None:
        raise SystemFailedError(did.because)
    return did


def _line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _write_line(process: Process, text: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text)
        process.stdin.flush()
