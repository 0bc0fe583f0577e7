"""Loops in processes of their own, which run for as long as they are told, again and again, in turn with others.

A loop's process reads its order (JSON) and then numbers of seconds from standard input, a line each; it says "ready"
or why it can't be, and after each number what it did (JSON), on standard output.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from bimodal.bench.errors import BenchError
from bimodal.child_process import child_environment, python_command
from bimodal.errors import BimodalError

READY = "ready"
PATIENCE_S = 120.0
_T = TypeVar("_T")


class LoopRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a loop did in its time.

    Attributes:
        seconds: that it took.
        cpu_s: user and system, of all its threads.
        latency_ms: of each frame, from its beginning to its end.
        faces: found in all frames together.
    """

    seconds: float
    cpu_s: float
    latency_ms: tuple[float, ...]
    faces: int

    @property
    def frames_per_s(self) -> float:
        """Frames a second."""
        return len(self.latency_ms) / self.seconds

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds a frame."""
        return 1e3 * self.cpu_s / len(self.latency_ms)

    @property
    def median_ms(self) -> float:
        """Of the latencies."""
        return statistics.median(self.latency_ms)


class Loop:
    """A loop's process, from the side of the bench. A context manager: on its way out the process ends."""

    def __init__(self, command: list[str], order: object, *, what: str, log: Path | None) -> None:
        """Start it; raises BenchError, naming `what` it is, where it can't work.

        Args:
            command: the interpreter and what it runs.
            order: JSON-like values for it.
            log: the file that takes what it prints to standard error.
        """
        self._what = what
        with (log or Path(os.devnull)).open("ab") as errors:
            self._process = start(command, what=what, stdout=subprocess.PIPE, stderr=errors.fileno())
        try:
            self._say(json.dumps(order))
            said = self._hear(PATIENCE_S)
            if said != READY:
                raise BenchError(f"{what} can't be run: {said or 'it ended at once, and the log says why'}")
        except BaseException:
            self.close()
            raise

    def run(self, seconds: float) -> LoopRun:
        """Let it work for about so long; one frame at least."""
        self._say(str(seconds))
        line = self._hear(seconds + PATIENCE_S)
        try:
            run = msgspec.json.decode(line, type=LoopRun)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BenchError(f"{self._what} ended in the middle: {line or 'the log says why'}") from error
        if not run.faces:
            raise BenchError(f"{self._what} found no face in any frame, so its figures would mean nothing")
        return run

    def _say(self, line: str) -> None:
        try:
            _pipe(self._process.stdin).write(line.encode() + b"\n")
            _pipe(self._process.stdin).flush()
        except BrokenPipeError as error:
            raise BenchError(f"{self._what} has ended: the log says why") from error

    def _hear(self, patience_s: float) -> str:
        timer = threading.Timer(patience_s, self._process.kill)
        timer.start()
        try:
            return _pipe(self._process.stdout).readline().decode(errors="replace").strip()
        finally:
            timer.cancel()

    def close(self) -> None:
        """End it."""
        stop(self._process)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def module_loop(module: str, order: msgspec.Struct, *, what: str, log: Path | None) -> Loop:
    """The loop of a module of ours, in this interpreter. Raises BenchError where it can't work."""
    return Loop(python_command(module), msgspec.to_builtins(order), what=what, log=log)


def serve(order_type: type[_T], prepare: Callable[[_T], Callable[[], int]]) -> None:
    """The other side: what a loop's process does from begin to end.

    Args:
        prepare: takes the order; gives what looks at the next frame and says how many faces it found.
    """
    # What libraries print must not stand among the lines.
    lines, sys.stdout = sys.stdout, sys.stderr
    try:
        look = prepare(msgspec.json.decode(sys.stdin.readline(), type=order_type))
        look()
    except (BimodalError, ImportError) as error:
        print(str(error).splitlines()[0], file=lines, flush=True)
        return
    print(READY, file=lines, flush=True)
    for line in sys.stdin:
        run = turn(look, float(line))
        print(msgspec.json.encode(run).decode(), file=lines, flush=True)


def turn(look: Callable[[], int], seconds: float) -> LoopRun:
    """Look at frame after frame until the time is over."""
    latency_ms: list[float] = []
    faces = 0
    cpu_s, begun = time.process_time(), time.perf_counter()
    now = begun
    while not latency_ms or now - begun < seconds:
        faces += look()
        before, now = now, time.perf_counter()
        latency_ms.append(1e3 * (now - before))
    return LoopRun(seconds=now - begun, cpu_s=time.process_time() - cpu_s, latency_ms=tuple(latency_ms), faces=faces)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# A process that the bench starts, and its end: it never outlives the bench.


STOPS_WITHIN_S = 10.0
_PR_SET_PDEATHSIG = 1
# Loaded here, because between fork and exec as little as possible may happen.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(
    command: Sequence[str],
    *,
    what: str,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """A process that finds our packages, with a pipe to its stdin; it ends in order when this one does, be it killed.

    Args:
        what: it is, for the sentence of the error.
        stdout, stderr: as subprocess takes them; a pipe for stderr needs someone who reads it.
        environment: variables beside ours.

    Raises BenchError where the command can't be run.
    """
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=child_environment(environment),
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    except OSError as error:
        raise BenchError(f"{what} can't be run: {error.strerror}") from error


def stop(process: subprocess.Popen[bytes], within_s: float = STOPS_WITHIN_S) -> None:
    """End a process of `start`: stdin closed and TERM, KILL where that is not enough; then all its pipes are closed."""
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _end_with_parent() -> None:
    assert _LIBC is not None
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
