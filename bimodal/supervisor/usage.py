"""CPU and private memory of a process, as the system reports them; memory and cores of the machine."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

MEBIBYTE = 2**20
CGROUPS, OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


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


def waited_s(pid: int) -> float:
    """Seconds that the threads of a process have waited for a processor since it was started; 0 where the system does
    not tell. A thread that sleeps or is stopped does not wait."""
    waited_ns = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            waited_ns += int(file.read_text().split()[1])
    return waited_ns / 1e9


class Pressure(NamedTuple):
    """Shortage of processors on this machine, in percent of the time: `cpu`, when some process waited for one (the last
    10 s, /proc/pressure/cpu); `steal`, when the host of this virtual machine gave its processors to others."""

    cpu: float
    steal: float


class PressureMonitor:
    """Reads the shortage of processors; zeros where the system does not tell."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before = (0, 0)
        self.read()

    def read(self) -> Pressure:
        """The shortage now; steal since the last reading."""
        cpu = steal = 0.0
        with contextlib.suppress(OSError, ValueError, IndexError):
            cpu = float((self._proc / "pressure/cpu").read_text().split("avg10=")[1].split()[0])
        with contextlib.suppress(OSError, ValueError, IndexError):
            ticks = [int(count) for count in (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
            now = (sum(ticks), ticks[7])
            total = now[0] - self._before[0]
            steal = 100 * (now[1] - self._before[1]) / total if total > 0 and self._before != (0, 0) else 0.0
            self._before = now
        return Pressure(round(cpu, 1), round(max(0.0, steal), 1))


def machine_memory_mb() -> int:
    """Memory for all processes together, in MiB: the machine's, or the container's limit if that is less."""
    whole: int = psutil.virtual_memory().total
    limit = memory_limit()
    return (whole if limit is None else min(whole, limit)) // MEBIBYTE


def memory_limit(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> int | None:
    """The smallest limit of memory of this process's cgroup and those above it, in bytes; None without one."""
    found: list[int] = []
    for folder, version in _cgroup_folders(root, own, "memory"):
        with contextlib.suppress(OSError, ValueError):  # "max"
            found.append(int((folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")).read_text()))
    return min(found, default=None)


def cores() -> int:
    """Number of cores that this process may use: by affinity, at most the whole ones of its cgroup's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def cpu_quota(root: Path = CGROUPS, own: Path = OWN_CGROUP) -> float | None:
    """The smallest quota of processor time of this process's cgroup and those above it, in cores; None without one.

    `docker --cpus=1`, CPUQuota= of systemd and limits of Kubernetes set it.
    """
    found: list[float] = []
    for folder, version in _cgroup_folders(root, own, "cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # "max"
            if version == 2:
                most, period = (folder / "cpu.max").read_text().split()
            else:
                most = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if int(most) > 0:
                found.append(int(most) / int(period))
    return min(found, default=None)


def _cgroup_folders(root: Path, own: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """The folders of this process's cgroup and of all above it, with their version."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = own.read_text().splitlines()
    for line in [*lines, "0::/", f"0:{controller}:/"]:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        named = controllers.split(",")
        if controllers and controller not in named:
            continue
        # Several controllers in one folder are named in another order here than there on some systems.
        orders = {",".join(order) for order in (named, named[::-1], [controller])} if controllers else {""}
        parts = Path(place.strip("/")).parts
        for order in sorted(orders):
            for count in range(len(parts), -1, -1):
                yield root.joinpath(order, *parts[:count]), 1 if controllers else 2
