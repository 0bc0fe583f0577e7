"""The private directories of one running system, locked while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path

from bimodal.broker.errors import EndpointError
from bimodal.broker.sockets import make_private, session_directory, slots_directory

PARENT_KEY = "BIMODAL_PARENT"
"""Environment variable: pid of the process with which `bimodal up` ends."""

LOCK = "lock"
# A lock this young may belong to a system that has made its directory and not yet taken the lock.
ABANDONED_AFTER_S = 10.0


class Session:
    """Sockets in `directory`, shared slots in `slots`; `close` removes both."""

    def __init__(self, name: str) -> None:
        """Lock the session, and remove leftovers of killed supervisors, of this name and of others.

        Raises EndpointError where another supervisor holds it, or its name can't name a directory.
        """
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise EndpointError(f"'{name}' can't name a session; use letters, digits and dashes")
        self.name = name
        self.directory = session_directory(name)
        self.slots = slots_directory(name)
        make_private(self.directory)
        # `running_sessions` of another process holds the lock for a moment, too.
        lock = _take(self.directory / LOCK, tries=5)
        if lock is None:
            raise EndpointError(
                f"another bimodal already runs as session '{name}'; stop it, or choose another name with --session"
            )
        self._lock = lock
        _sweep_sockets(self.directory)
        shutil.rmtree(self.slots, ignore_errors=True)
        make_private(self.slots)
        sweep_abandoned(self.directory.parent, time.time())

    def close(self) -> None:
        """Remove everything of the session."""
        shutil.rmtree(self.slots, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)


def running_sessions() -> list[str]:
    """Names of all running sessions of this user."""
    parent = session_directory("any").parent
    return sorted(directory.name for directory in parent.glob("*") if _held(directory / LOCK))


def _held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def sweep_abandoned(parent: Path, now: float) -> None:
    """Remove the sessions under `parent` that no supervisor holds; `now` is seconds of the wall clock."""
    for directory in parent.iterdir():
        with contextlib.suppress(OSError):
            if now - (directory / LOCK).stat().st_mtime < ABANDONED_AFTER_S:
                continue
            lock = _take(directory / LOCK)
            if lock is not None:
                shutil.rmtree(slots_directory(directory.name), ignore_errors=True)
                shutil.rmtree(directory, ignore_errors=True)
                os.close(lock)


def _sweep_sockets(directory: Path) -> None:
    for leftover in directory.glob("*.ipc"):
        leftover.unlink(missing_ok=True)


def _take(path: Path, tries: int = 1) -> int | None:
    """Lock the file; returns its descriptor, None where another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for left in reversed(range(tries)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if not left:
                os.close(descriptor)
                return None
            time.sleep(0.02)
    os.utime(path)
    return descriptor
