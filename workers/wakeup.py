"""Waking a wait by a signal.

A wait on sockets goes on after a signal whose Python handler has run (PEP 475), so a process that may sleep for a
second would see SIGTERM a second late. Python writes each signal into a pipe as well, and waits watch its other end.
"""

from __future__ import annotations

import os
import signal

_reader: int | None = None


def wake_by_signals() -> int:
    """Have signals write into a pipe from now on; return the end to be watched. Only in the main thread."""
    global _reader
    if _reader is None:
        # Both ends stay open as long as the process: a signal would else be written into somebody else's file.
        reader, writer = os.pipe()
        for end in (reader, writer):
            os.set_blocking(end, False)
        try:
            signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            os.close(reader)
            os.close(writer)
            raise
        _reader = reader
    return _reader


def signal_descriptor() -> int | None:
    """The end to be watched, None before `wake_by_signals`."""
    return _reader
