"""A process that the bench starts, and its end: it never outlives the bench."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import bimodal
from bimodal.bench.errors import BenchError

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
    ours = os.environ | {"PYTHONPATH": str(Path(bimodal.__file__).parents[1])}
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=ours | dict(environment or {}),
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
