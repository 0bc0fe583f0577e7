"""CPU and private memory of a process, as the system reports them; memory and cores of the machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
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
    with contextlib.suppress(OSError, ValueError):
        whole = min(whole, int(CGROUP_LIMIT.read_text()))
    return whole // MEBIBYTE


def cores() -> int:
    """Number of cores that this process may use: by affinity, and no more than its cgroup's quota pays for."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, round(quota)))


CGROUPS = Path("/sys/fs/cgroup")


def cpu_quota(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The smallest quota of processor time of this process's cgroup and those above it, in cores; None without one.

    `docker --cpus=1`, CPUQuota= of systemd and limits of Kubernetes set it.
    """
    found: list[float] = []
    for folder, version in _cgroup_folders(root, own):
        with contextlib.suppress(OSError, ValueError):
            if version == 2:
                most, period = (folder / "cpu.max").read_text().split()
            else:
                most = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            if most not in ("max", "-1"):
                found.append(int(most) / int(period))
    return min(found, default=None)


def _cgroup_folders(root: Path, own: Path) -> Iterator[tuple[Path, int]]:
    """The folders of this process's cgroup and of all above it, with their version."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = own.read_text().splitlines()
    for line in [*lines, "0::/", "0:cpu:/"]:
        _, controllers, place = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        parts = Path(place.strip("/")).parts
        for count in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:count]), 1 if controllers else 2
