"""Runs a command with a small /dev/shm and a small disk of its own, both nearly full; nobody else sees them.

`python confined.py DISK SHM_ROOM_KB DISK_ROOM_KB COMMAND…`: in mounts of its own (which needs root), /dev/shm
and the folder DISK are file systems in memory with so much room left. Each holds a file FILLER; whoever removes it
(from outside: under /proc/PID/root) makes room.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

FILLER = "filler"
FILLER_BYTES = 64 * 2**20
NEW_MOUNTS = 0x00020000
RECURSIVE, PRIVATE = 0x4000, 0x40000


def small(folder: Path, room_kb: int) -> None:
    """Mount a file system in memory over a folder, and fill it but for `room_kb`."""
    size = FILLER_BYTES + room_kb * 1024
    call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size},mode=1777".encode())
    with (folder / FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, FILLER_BYTES)


def call(name: str, *arguments: object) -> None:
    """A system call of libc; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def possible() -> bool:
    """Whether this machine lets this user do it, tried in a process of its own."""
    if not sys.platform.startswith("linux"):
        return False
    child = os.fork()
    if child == 0:
        try:
            own_mounts()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def own_mounts() -> None:
    """Leave the mounts that everyone shares."""
    call("unshare", NEW_MOUNTS)
    call("mount", b"none", b"/", None, RECURSIVE | PRIVATE, None)


if __name__ == "__main__":
    own_mounts()
    small(Path("/dev/shm"), int(sys.argv[2]))
    small(Path(sys.argv[1]), int(sys.argv[3]))
    os.execvp(sys.argv[4], sys.argv[4:])
