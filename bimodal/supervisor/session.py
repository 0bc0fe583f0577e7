"""The private directories of one running system, and the lock that says who owns them.

The lock lies where the slots are (under /dev/shm), because every system of this user on this machine shares that place,
whatever its XDG_RUNTIME_DIR or PID namespace. Its file says who holds it and where the session's sockets are.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.broker.errors import ControlError, EndpointError
from bimodal.broker.sockets import make_private, session_directory, slots_directory

PARENT_KEY = "BIMODAL_PARENT"
"""Environment variable: pid of the process with which `bimodal up` ends."""

log = logging.getLogger(__name__)

# A lock this young may belong to a system that is just starting.
ABANDONED_AFTER_S = 10.0
# Another process may hold a lock for a moment only to look at it; one that is stopping holds it for up to 3 s.
TAKE_WITHIN_S, ENDING_WITHIN_S = 0.5, 5.0
TRY_EVERY_S = 0.02
MOST_OWNER_BYTES = 4096


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a lock file: which process holds a session, and where its sockets are."""

    pid: int
    host: str
    since: str
    directory: str
    ending: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}, with its sockets in {self.directory}"


def lock_path(slots: Path) -> Path:
    """The lock of the session with these slots: beside them, hidden from a sweep of `bimodal-*`."""
    return slots.with_name(f".{slots.name}.lock")


class Lock:
    """A locked file. It holds while its process lives, and is lost when the file is removed."""

    def __init__(self, path: Path, within_s: float = 0.0) -> None:
        """Lock the file `path`, which is made if missing.

        Raises BlockingIOError where another process holds it after `within_s`, longer where that one is stopping;
        EndpointError where the file belongs to another user or can't be made.
        """
        self.path = path
        began = time.monotonic()
        while (descriptor := self._try()) is None:
            waited_s = time.monotonic() - began
            owner = read_owner(path)
            if waited_s > (ENDING_WITHIN_S if owner is not None and owner.ending and within_s else within_s):
                raise BlockingIOError
            time.sleep(TRY_EVERY_S)
        self._descriptor = descriptor

    def _try(self) -> int | None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EndpointError(f"the session's lock {self.path} can't be made: {error.strerror}") from error
        try:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise EndpointError(f"{self.path} belongs to another user; remove it")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file between our open and our lock.
            if _is_file(self.path, descriptor):
                return descriptor
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def lost(self) -> bool:
        """True once the file was removed or replaced, so that others could take the session."""
        return not _is_file(self.path, self._descriptor)

    def write(self, owner: Owner) -> None:
        """Say who holds the lock."""
        data = msgspec.json.encode(owner)
        # Shorter content is padded: a reader never sees half of a text.
        os.pwrite(self._descriptor, data.ljust(os.fstat(self._descriptor).st_size), 0)

    def release(self) -> None:
        """Give the lock up; its file stays."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Remove the file, if it is still ours, and give the lock up."""
        if not self.lost:
            self.path.unlink(missing_ok=True)
        self.release()


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        there = path.lstat()
    except OSError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def read_owner(path: Path) -> Owner | None:
    """Read the present or last owner of a lock; None where the file does not say."""
    try:
        data = path.read_bytes()[:MOST_OWNER_BYTES]
        return msgspec.json.decode(data, type=Owner)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None


class Session:
    """Sockets in `directory`, shared slots in `slots`; `close` removes both.

    Attributes:
        trouble: why a removed folder can't be made again, in one sentence; None while both are there.
    """

    def __init__(self, name: str, *, unique: bool = False) -> None:
        """Lock the session, and remove leftovers of killed supervisors, of this name and of others.

        Args:
            unique: take another name, which begins with `name`, where another system has this one. (Process numbers,
                from which names are made, are the same in two containers with one /dev/shm.)

        Raises EndpointError where another supervisor holds it, or its name can't name a directory.
        """
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise EndpointError(f"'{name}' can't name a session; use letters, digits and dashes")
        self.name, self._lock = _lock_session(name, unique=unique)
        self.directory = session_directory(self.name)
        self.slots = slots_directory(self.name)
        self.trouble: str | None = None
        try:
            self._owner = Owner(
                pid=os.getpid(),
                host=socket.gethostname(),
                since=datetime.now().astimezone().isoformat(timespec="seconds"),
                directory=str(self.directory),
            )
            self._lock.write(self._owner)
            make_private(self.directory)
            _sweep_sockets(self.directory)
            shutil.rmtree(self.slots, ignore_errors=True)
            make_private(self.slots)
        except BaseException:
            self._lock.remove()
            raise
        sweep_abandoned(time.time())

    def repair(self) -> list[Path]:
        """Make the folders and the lock again where somebody has removed them; returns the folders made.

        Raises EndpointError where another system has taken the session since; then nothing of it is ours any more.
        """
        if self._lock.lost:
            try:
                lock = Lock(self._lock.path)
            except BlockingIOError:
                owner = read_owner(self._lock.path)
                raise EndpointError(
                    f"the lock of session '{self.name}' was removed, and another bimodal has taken the session: {owner}"
                ) from None
            self._lock.release()
            self._lock = lock
            self._lock.write(self._owner)
            log.warning("the lock %s had been removed; it was made again", self._lock.path)
        made = []
        self.trouble = None
        for folder in (self.slots, self.directory):
            if folder.is_dir():
                continue
            try:
                make_private(folder)
            except EndpointError as error:
                self.trouble = (
                    f"the session's folder {folder} was removed and can't be made again ({error}): "
                    "processes that end can't be started any more; stop this bimodal and start it again"
                )
            else:
                log.warning("the folder %s had been removed; it was made again", folder)
                made.append(folder)
        return made

    def ending(self) -> None:
        """Say that the system is stopping, so that the next one of this name waits for its end."""
        self._lock.write(msgspec.structs.replace(self._owner, ending=True))

    def close(self) -> None:
        """Remove everything of the session, unless another system has taken it."""
        if not self._lock.lost or read_owner(self._lock.path) is None:
            shutil.rmtree(self.slots, ignore_errors=True)
            shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.remove()


def _lock_session(name: str, *, unique: bool) -> tuple[str, Lock]:
    candidates = [name, *(f"{name}-{os.urandom(3).hex()}" for _ in range(8))] if unique else [name]
    for candidate in candidates:
        path = lock_path(slots_directory(candidate))
        with contextlib.suppress(BlockingIOError):
            return candidate, Lock(path, TAKE_WITHIN_S)
    owner = read_owner(lock_path(slots_directory(name)))
    raise EndpointError(
        f"another bimodal already runs as session '{name}' ({owner or 'it does not say which'}); "
        "stop it, or choose another name with --session"
    )


# Running sessions.


def _locks(everyone: bool) -> Iterator[tuple[str, Path]]:
    """Names and locks of sessions, running or not: of this user; with `everyone`, also of others."""
    place = slots_directory("any").parent
    user = "*" if everyone else str(os.getuid())
    for path in sorted(place.glob(f".bimodal-{user}-*.lock")):
        _, _, name = path.name.removeprefix(".bimodal-").removesuffix(".lock").partition("-")
        yield name, path


def running_sessions() -> list[str]:
    """Names of all running sessions of this user, whatever runtime folder each uses; for root, of all users."""
    return sorted({name for name, path in _locks(os.getuid() == 0) if _held(path)})


def running_directory(name: str) -> Path | None:
    """The folder of the sockets of a running session; None where no such session runs."""
    found = [path for known, path in _locks(os.getuid() == 0) if known == name and _held(path)]
    mine = lock_path(slots_directory(name))
    owner = read_owner(mine if mine in found else found[0]) if found else None
    return Path(owner.directory) if owner is not None else None


def directory_of(name: str) -> Path:
    """The folder of a session's sockets: where it runs, else where it will be if it is started here."""
    return running_directory(name) or session_directory(name)


def find_session(name: str) -> Path:
    """The folder of the sockets of a running session. Raises ControlError, which says where it was looked for."""
    directory = running_directory(name)
    if directory is None:
        others = running_sessions()
        known = f"running: {', '.join(others)}" if others else "none runs"
        place = lock_path(slots_directory(name)).with_name(f".bimodal-{'*' if os.getuid() == 0 else os.getuid()}-*")
        raise ControlError(
            f"no bimodal runs as session '{name}'; {known} (looked for as user {os.getuid()} at {place})"
        )
    if not directory.is_dir():
        raise ControlError(
            f"session '{name}' runs, but its folder {directory} can't be reached from here: "
            "it was removed a moment ago, or lies in another container"
        )
    return directory


def _held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def sweep_abandoned(now: float) -> None:
    """Remove the sessions of this user that no supervisor holds; `now` is seconds of the wall clock."""
    for name, path in list(_locks(everyone=False)):
        with contextlib.suppress(OSError, EndpointError):
            if now - path.stat().st_mtime < ABANDONED_AFTER_S:
                continue
            owner = read_owner(path)
            lock = Lock(path)
            shutil.rmtree(slots_directory(name), ignore_errors=True)
            if owner is not None and Path(owner.directory).name == name:
                shutil.rmtree(owner.directory, ignore_errors=True)
            lock.remove()


def _sweep_sockets(directory: Path) -> None:
    for leftover in directory.glob("*.ipc"):
        leftover.unlink(missing_ok=True)
