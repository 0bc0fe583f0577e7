"""CPU and private memory of a process, as the system reports them; memory and cores of the machine."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import psutil

MEBIBYTE = 2**20
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class Usage(NamedTuple):
    """`cpu_percent` of one core since the last reading; `memory_mb` that no other process shares, in MiB."""

    cpu_percent: float
    memory_mb: float


class UsageMonitor:
    """Reads the usage of one process."""

    def __init__(self, pid: int) -> None:
        self._process: psutil.Process | None = None
        with contextlib.suppress(psutil.Error):
            self._process = psutil.Process(pid)
            self._process.cpu_percent(None)

    def read(self) -> Usage | None:
        """The usage now; None where the process has ended."""
        if self._process is None:
            return None
        try:
            with self._process.oneshot():
                cpu = self._process.cpu_percent(None)
                memory = self._process.memory_info()
        except psutil.Error:
            return None
        # Without shared slots and libraries; where the system does not report these, all memory counts.
        private = memory.rss - getattr(memory, "shared", 0)
        return Usage(round(cpu, 1), round(max(0, private) / MEBIBYTE, 1))


def machine_memory_mb() -> int:
    """Memory for all processes together, in MiB: the machine's, or the container's limit if that is less."""
    whole: int = psutil.virtual_memory().total
    with contextlib.suppress(OSError, ValueError):
        whole = min(whole, int(CGROUP_LIMIT.read_text()))
    return whole // MEBIBYTE


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
