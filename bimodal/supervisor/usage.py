"""What a process takes of the machine: processor time and private memory, as the system tells."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import psutil

MEBIBYTE = 2**20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class Vitals(NamedTuple):
    """`cpu_percent` of one core since the look before; `memory_mb` that no other process shares, in MiB."""

    cpu_percent: float
    memory_mb: float


class Watch:
    """Looks at one process again and again."""

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            self._process = psutil.Process(pid)
            self._process.cpu_percent(None)

    def look(self) -> Vitals | None:
        """How it is now; None where it has just ended."""
        if self._process is None:
            return None
        try:
            with self._process.oneshot():
                cpu = self._process.cpu_percent(None)
                memory = self._process.memory_info()
        except psutil.Error:
            return None
        # Shared slots and libraries are nobody's own; where the system does not tell them apart, all counts.
        private = memory.rss - getattr(memory, "shared", 0)
        return Vitals(round(cpu, 1), round(max(0, private) / MEBIBYTE, 1))


def machine_memory_mb() -> int:
    """The memory that all processes here may have together, in MiB: the machine's, or the container's if it is less."""
    whole: int = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):
        whole = min(whole, int(CGROUP_LIMIT.read_text()))
    return whole // MEBIBYTE


def cores() -> int:
    """The cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
