"""Files under temporary names of their own run: locked while it lives, swept when it is dead, synced, renamed.

A run's temporary for NAME.csv is `.NAME.csv.PID-EPOCH.part`. It is locked (flock) as long as its process has it open,
so another run sees whether its owner lives, on whatever machine of a shared disk that has locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

_begun_s = 0


def _begin() -> None:
    global _begun_s
    _begun_s = time.time_ns() // 1_000_000_000


_begin()
os.register_at_fork(after_in_child=_begin)


def tag() -> str:
    """Of this process, which may be a fork of another: its number, and the second in which it began."""
    return f"{os.getpid()}-{_begun_s}"


ENDING = r"(\.\d+-\d+)?\.part"
"""How temporary names end; those of 0.2 and older had no tag."""
_OURS = re.compile(r"\..+\.(\d+-\d+|jsonl|csv|parquet|summary\.json|session\.json)\.part", re.DOTALL)
"""Temporary names of results; a film's, which has neither tag nor lock, is none of them."""


def part_path(final: Path) -> Path:
    """The temporary name of a file until it is complete."""
    return final.with_name(f".{final.name}.{tag()}.part")


def final_path(part: Path) -> Path:
    """The name that a temporary file will have; any other path stays as it is."""
    found = re.fullmatch(rf"\.(.+?){ENDING}", part.name)
    return part.with_name(found[1]) if found else part


def opened(part: Path) -> BinaryIO:
    """Open a temporary file for writing, and lock it. Raises OSError."""
    while True:
        file = part.open("wb", buffering=0)
        with contextlib.suppress(OSError):  # a file system without locks: then nobody is protected, as without this
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run's sweep may have removed the file between open and lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(part.stat(), os.fstat(file.fileno())):
                return file
        file.close()


def sync(file: IO[bytes]) -> None:
    """Write a file's content to the disk itself. Raises OSError."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder of results while names in it are taken or given; others wait, for moments only. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def leftovers(folder: Path, final_names: set[str]) -> list[Path]:
    """Temporary files of any run for these names, in the order of names."""
    found = [path for path in folder.glob(".*.part") if final_path(path).name in final_names]
    return sorted(found)


def sweep(paths: list[Path]) -> list[Path]:
    """Delete the temporary files of dead runs; returns those whose owner lives."""
    alive = []
    for path in paths:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            alive.append(path)
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return alive


def sweep_folder(folder: Path) -> None:
    """Delete the temporary results of dead runs in a folder, whatever their names; never raises.

    It lists the folder, so a run over many clips calls it once a folder, not once a clip.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        sweep([Path(entry.path) for entry in entries if _OURS.fullmatch(entry.name)])


class PartFile:
    """A file under its temporary name; whole lines are buffered until `flush` writes them.

    With `at_once` it has its final name from the beginning and never replaces an older file, so that a live stream
    can be read while it is recorded, and after a crash.

    Raises OSError as the system does.
    """

    def __init__(self, final: Path, *, at_once: bool = False) -> None:
        self.final = final
        self.part = final if at_once else part_path(final)
        self._pending: list[bytes] = []
        self._written = 0
        self._file: BinaryIO | None = self.part.open("xb", buffering=0) if at_once else opened(self.part)

    def write(self, lines: bytes) -> None:
        """Buffer whole lines for the next flush."""
        self._pending.append(lines)

    def flush(self) -> None:
        """Write all buffered lines at once, so that a reader of the file sees whole lines only."""
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        size = len(data)
        while self._file is not None and data:
            data = data[self._file.write(data) :]
        self._written += size

    def finish(self) -> None:
        """Write all buffered lines and sync to disk; the name stays, and so does the lock."""
        self.flush()
        if self._file is not None:
            sync(self._file)

    def rename(self) -> None:
        """Rename to the final name, replacing an older result, and close."""
        self.part.replace(self.final)
        self._close()

    def keep(self) -> None:
        """Close, and keep what complete flushes have written under the present name; never raises."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                os.ftruncate(self._file.fileno(), self._written)
        self._close()

    def discard(self) -> None:
        """Close and delete the file; never raises."""
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None


def replace_text(path: Path, data: bytes) -> None:
    """Replace a small file atomically: readers see the old or the new one, also after a power cut. Raises OSError."""
    part = part_path(path)
    try:
        with io.BufferedWriter(opened(part)) as file:
            file.write(data)
            sync(file)
            part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
