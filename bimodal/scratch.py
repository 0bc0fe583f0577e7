"""A private temporary folder of one process: for media that was fetched or sent, and for results on their way.

It is locked (flock) while its process, or one forked from it, lives. Those of processes that were killed are removed by
the next process that makes one: what people have sent must not stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "bimodal-scratch-"
LOCK = ".lock"
# A folder without a lock may belong to a process that is just making it.
YOUNG_S = 3600.0


class Scratch:
    """The folder; `close`, or the end of its context, removes it."""

    def __init__(self, what: str) -> None:
        """Make it in $TMPDIR (by default /tmp), named after `what` it is for. Raises OSError."""
        sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{what}-"))
        # Locked before it has its name: one that others see unlocked would be taken for a dead process's.
        self._descriptor, made = tempfile.mkstemp(dir=self.path)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(made).replace(self.path / LOCK)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def empty(self) -> None:
        """Remove all that lies in it."""
        for entry in self.path.iterdir():
            if entry.name == LOCK:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def sweep() -> None:
    """Remove the folders of this user's dead processes; never raises."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.getuid() and _dead(path):
                shutil.rmtree(path, ignore_errors=True)


def _dead(path: Path) -> bool:
    try:
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return time.time() - path.lstat().st_mtime > YOUNG_S
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
