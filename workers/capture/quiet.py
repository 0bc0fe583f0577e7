"""Silence for C libraries that write to stderr by themselves (ALSA, PortAudio, OpenCV's back ends)."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2

_lock = threading.Lock()
_users = 0
_kept = -1


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send everything that this process writes to file descriptor 2 to nowhere, meanwhile.

    Several threads may be inside at once; the last to leave brings stderr back.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _users, _kept
    with _lock:
        _users += 1
        if _users == 1:
            sys.stderr.flush()
            _kept = os.dup(STDERR)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, STDERR)
            os.close(nowhere)


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            os.dup2(_kept, STDERR)
            os.close(_kept)
