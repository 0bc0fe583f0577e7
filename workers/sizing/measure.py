"""Arrangements of workers and threads, measured: so many processes on cores of their own, all at the same time."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import msgspec

from bimodal import workers
from bimodal.workers.errors import SystemFailedError
from bimodal.workers.settings import FaceActorSettings
from bimodal.workers.sizing.choice import Arrangement, Measured
from bimodal.workers.sizing.process import READY, Did, Task

Process = subprocess.Popen[str]


def measure(settings: FaceActorSettings, arrangement: Arrangement, cores: Sequence[int], seconds: float) -> Measured:
    """Run an arrangement of the configured models for some seconds, each worker on the next of `cores`.

    Raises SystemFailedError where a process can't do its work (a model that can't be opened), with its reason.
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
            _tell(process, "go\n")
        found = [_did(_line(process)) for process in processes]
    return Measured(
        workers=number,
        threads=threads,
        frames_s=sum(did.frames_s for did in found),
        frame_ms=median(did.frame_ms for did in found),
        memory_mb=sum(did.memory_mb for did in found),
    )


@contextlib.contextmanager
def _process(task: Task) -> Iterator[Process]:
    environment = {**os.environ, "PYTHONPATH": str(Path(workers.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bimodal.workers.sizing.process", msgspec.json.encode(task).decode()],
        env=environment,
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
        _did(line)


def _did(line: str) -> Did:
    try:
        did = msgspec.json.decode(line, type=Did)
    except msgspec.DecodeError as error:
        raise SystemFailedError("a measured process ended before it was done") from error
    if did.because is not None:
        raise SystemFailedError(did.because)
    return did


def _line(process: Process) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _tell(process: Process, text: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text)
        process.stdin.flush()
