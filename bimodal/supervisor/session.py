"""The private directories of one running system, held by a lock as long as it runs."""

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
"""The environment variable by which `bimodal up` knows the process that it ends with."""

LOCK = "lock"
# A lock this young may belong to a system that has made its directory and not yet taken the lock.
ABANDONED_AFTER_S = 10.0


class Session:
    """Sockets in `directory`, shared slots in `slots`; both vanish with `close`."""

    def __init__(self, name: str) -> None:
        """Take the session, sweeping what killed supervisors left behind, of this name and of others.

        Raises EndpointError where another supervisor holds it, or its name can't name a directory.
        """
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise EndpointError(f"'{name}' can't name a session; use letters, digits and dashes")
        self.name = name
        self.directory = session_directory(name)
        self.slots = slots_directory(name)
        make_private(self.directory)
        # A look at who runs holds the lock for a moment, too.
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
    """The names of all sessions of this user that run now."""
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
    """Remove the sessions under `parent` that no supervisor holds any more; `now` is seconds of the wall clock."""
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
    """The descriptor that holds the lock, None where someone else does."""
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
