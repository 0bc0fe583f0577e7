"""Loops in processes of their own, each run for a given time, repeatedly, in turn with others.

A loop's process reads its order (JSON) and then numbers of seconds from standard input, a line each. On standard output
it writes "ready" or why it can't run, and after each number its LoopRun (JSON).
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

from bimodal.bench.figures import BenchError
from bimodal.child_process import child_environment, python_command
from bimodal.errors import BimodalError

READY = "ready"
PATIENCE_S = 120.0
_T = TypeVar("_T")


class LoopRun(msgspec.Struct, frozen=True, kw_only=True):
    """The result of running a loop for a while.

    Attributes:
        seconds: duration.
        cpu_s: user and system, of all its threads.
        latency_ms: of each frame.
        faces: number of faces in all frames together.
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
        """CPU milliseconds per frame."""
        return 1e3 * self.cpu_s / len(self.latency_ms)

    @property
    def median_ms(self) -> float:
        """Median latency in milliseconds."""
        return statistics.median(self.latency_ms)


class Loop:
    """A loop's process, seen from the bench. A context manager that ends the process."""

    def __init__(self, command: list[str], order: object, *, what: str, log: Path | None) -> None:
        """Start the process. Raises BenchError, naming `what` it is, if it can't run.

        Args:
            command: the interpreter and its arguments.
            order: JSON-like values for the process.
            log: the file for its standard error.
        """
        self._what = what
        with (log or Path(os.devnull)).open("ab") as errors:
            self._process = start(command, what=what, stdout=subprocess.PIPE, stderr=errors.fileno())
        try:
            self._write_line(json.dumps(order))
            reply = self._read_line(PATIENCE_S)
            if reply != READY:
                raise BenchError(f"{what} can't be run: {reply or 'it ended at once, and the log says why'}")
        except BaseException:
            self.close()
            raise

    def run(self, seconds: float) -> LoopRun:
        """Run the loop for about so many seconds, at least one frame."""
        self._write_line(str(seconds))
        line = self._read_line(seconds + PATIENCE_S)
        try:
            run = msgspec.json.decode(line, type=LoopRun)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BenchError(f"{self._what} ended in the middle: {line or 'the log says why'}") from error
        if not run.faces:
            raise BenchError(f"{self._what} found no face in any frame, so its figures would mean nothing")
        return run

    def _write_line(self, line: str) -> None:
        try:
            _pipe(self._process.stdin).write(line.encode() + b"\n")
            _pipe(self._process.stdin).flush()
        except BrokenPipeError as error:
            raise BenchError(f"{self._what} has ended: the log says why") from error

    def _read_line(self, patience_s: float) -> str:
        timer = threading.Timer(patience_s, self._process.kill)
        timer.start()
        try:
            return _pipe(self._process.stdout).readline().decode(errors="replace").strip()
        finally:
            timer.cancel()

    def close(self) -> None:
        """End the process."""
        stop(self._process)

    def __enter__(self) -> Loop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def module_loop(module: str, order: msgspec.Struct, *, what: str, log: Path | None) -> Loop:
    """Start the loop of a module of ours in this interpreter. Raises BenchError if it can't run."""
    return Loop(python_command(module), msgspec.to_builtins(order), what=what, log=log)


def serve(order_type: type[_T], prepare: Callable[[_T], Callable[[], int]]) -> None:
    """Run the loop: the main function of a loop's process.

    Args:
        prepare: takes the order; returns the function that processes the next frame and returns its number of faces.
    """
    # Keep what libraries print out of the protocol.
    lines, sys.stdout = sys.stdout, sys.stderr
    try:
        step = prepare(msgspec.json.decode(sys.stdin.readline(), type=order_type))
        step()
    except (BimodalError, ImportError) as error:
        print(str(error).splitlines()[0], file=lines, flush=True)
        return
    print(READY, file=lines, flush=True)
    for line in sys.stdin:
        run = turn(step, float(line))
        print(msgspec.json.encode(run).decode(), file=lines, flush=True)


def turn(step: Callable[[], int], seconds: float) -> LoopRun:
    """Process frames until the time is over, at least one."""
    latency_ms: list[float] = []
    faces = 0
    cpu_s, begun = time.process_time(), time.perf_counter()
    now = begun
    while not latency_ms or now - begun < seconds:
        faces += step()
        before, now = now, time.perf_counter()
        latency_ms.append(1e3 * (now - before))
    return LoopRun(seconds=now - begun, cpu_s=time.process_time() - cpu_s, latency_ms=tuple(latency_ms), faces=faces)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


# Child processes, which never outlive the bench.

STOPS_WITHIN_S = 10.0
_PR_SET_PDEATHSIG = 1
# Loaded here, because as little as possible may happen between fork and exec.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def start(
    command: Sequence[str],
    *,
    what: str,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that finds our packages, with a pipe to its stdin; it gets SIGTERM when this one ends.

    Args:
        what: it is, for the error message.
        stdout, stderr: as subprocess takes them; a pipe for stderr must be read.
        environment: additional variables.

    Raises BenchError if the command can't be run.
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
    """End a process of `start`: close stdin, SIGTERM, SIGKILL after `within_s`; then close its pipes."""
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
