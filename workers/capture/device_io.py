"""Silence for C libraries that write to stderr by themselves (ALSA, PortAudio, OpenCV's back ends)."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

STDERR = 2

_lock = threading.Lock()
_users = 0
_kept = -1


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard everything that this process writes to file descriptor 2, for the duration of the context.

    Several threads may be inside at once; the last to leave restores stderr.
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


# Queues of threads that own a device.

POLL_S = 0.1

Item = TypeVar("Item")


def put_until_closed(item: Item, target: queue.Queue[Item], closed: threading.Event) -> None:
    """Put an item into a queue, waiting for room; give up once `closed` is set."""
    while not closed.is_set():
        try:
            target.put(item, timeout=POLL_S)
            return
        except queue.Full:
            continue
