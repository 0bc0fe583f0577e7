"""Makes a start cold: what lies in the system's file cache of the installed files is let go.

Only of those files, so nobody else's work becomes slow by it, and so it needs no rights. Pages that a running process
has mapped stay, and so do the folders' own entries.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import bimodal

SAMPLE = 16
"""One file in so many is asked how much of it is cached."""


def installed_files(models_used: Iterable[Path]) -> list[Path]:
    """What a start may read: the interpreter and its libraries, this program, and these models."""
    places = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places.add(Path(bimodal.__file__).parent)
    found = {Path(sys.executable).resolve(), *models_used}
    for place in places:
        found |= set(files_of(place))
    return sorted(found)


def files_of(place: Path) -> Iterator[Path]:
    """What a start may read of a folder and all below it."""
    for folder, _, names in os.walk(place, followlinks=True):
        for name in names:
            if name.endswith((".py", ".pyc", ".so", ".onnx", ".mp4", ".yaml")) or ".so." in name:
                yield Path(folder) / name


def let_go(files: Iterable[Path]) -> bool:
    """Let the system forget what it has cached of these files; False where a program can't ask for that."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.sync()
    for file in files:
        _with(file, lambda descriptor: os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED))
    return True


def cached_share(files: list[Path]) -> float | None:
    """How much of these files is cached, by a sample of them; None where the system does not tell."""
    asked = there = 0

    def look(descriptor: int) -> None:
        nonlocal asked, there
        for offset in range(0, os.fstat(descriptor).st_size, 2**18):
            asked += 1
            try:
                # Reading without waiting works only where nothing must be read from the disk.
                there += bool(os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT))
            except BlockingIOError:
                continue

    try:
        for file in files[::SAMPLE]:
            _with(file, look)
    except (AttributeError, OSError):
        return None
    return there / asked if asked else None


def _with(file: Path, act: Callable[[int], object]) -> None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return
    try:
        act(descriptor)
    finally:
        os.close(descriptor)
