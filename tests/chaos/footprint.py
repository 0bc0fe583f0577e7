"""What a running system takes of the machine, and whether it has grown."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bimodal.broker.control import StatusReply

# Allocators keep a little; a descriptor may just be open for a file that is being written.
MOST_MEMORY_MB = 24.0
MOST_DESCRIPTORS = 4
STEADY_MB = 2.0
# The recorder loads pyarrow with its first group of rows (4,096 of them, some minutes), once: 60 MB on a fresh 17.
FRESH_MB, LOADED_MB = {"record": 30.0}, {"record": 60.0}


@dataclass(frozen=True)
class Footprint:
    """One look.

    Attributes:
        processes: how many there are of each role, and "gone": those that have ended and nobody has buried.
        descriptors: the most that a process of each role has open.
        memory_mb: private memory, the most of each role.
        sockets: files in the session's directory.
        segments, shared_mb: files of shared memory, and their size.
    """

    processes: dict[str, int] = field(default_factory=dict)
    descriptors: dict[str, int] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    sockets: frozenset[str] = frozenset()
    segments: int = 0
    shared_mb: float = 0.0


def look(status: StatusReply, directory: Path, slots: Path) -> Footprint:
    """How it is now; `directory` and `slots` are those of the session."""
    processes: dict[str, int] = {}
    descriptors: dict[str, int] = {}
    memory_mb: dict[str, float] = {}
    for process in status.processes:
        processes[process.role] = processes.get(process.role, 0) + 1
        memory_mb[process.role] = max(memory_mb.get(process.role, 0.0), process.figures.get("memory_mb", 0.0))
        if process.pid is not None:
            with contextlib.suppress(psutil.Error):
                opened: int = psutil.Process(process.pid).num_fds()
                descriptors[process.role] = max(descriptors.get(process.role, 0), opened)
    known = {process.pid for process in status.processes}
    supervisor = next(process.pid for process in status.processes if process.role == "supervisor")
    others = [child for child in psutil.Process(supervisor).children(recursive=True) if child.pid not in known]
    processes["gone"] = len(others)
    sizes = [file.stat().st_size for file in slots.rglob("*") if file.is_file()]
    return Footprint(
        processes=processes,
        descriptors=descriptors,
        memory_mb=memory_mb,
        sockets=frozenset(file.name for file in directory.iterdir()),
        segments=len(sizes),
        shared_mb=sum(sizes) / 2**20,
    )


def steady(one: Footprint, other: Footprint) -> bool:
    """Whether nothing has moved between two looks: no process is still starting to work."""
    roles = one.memory_mb.keys() | other.memory_mb.keys()
    moved = max((abs(one.memory_mb.get(role, 0.0) - other.memory_mb.get(role, 0.0)) for role in roles), default=0.0)
    same = (one.processes, one.segments, one.shared_mb) == (other.processes, other.segments, other.shared_mb)
    return same and moved < STEADY_MB


def grown(before: Footprint, after: Footprint) -> list[str]:
    """What has grown beyond bounds, one sentence each."""
    found = _more("processes", before.processes, after.processes, 0)
    found += _more("descriptors", before.descriptors, after.descriptors, MOST_DESCRIPTORS)
    fresh = {
        role: mb + LOADED_MB.get(role, 0.0) * (mb < FRESH_MB.get(role, 0.0)) for role, mb in before.memory_mb.items()
    }
    found += _more("MB of memory", fresh, after.memory_mb, MOST_MEMORY_MB)
    if more := sorted(after.sockets - before.sockets):
        found.append(f"session directory: {', '.join(more)} came")
    if after.segments > before.segments or after.shared_mb > before.shared_mb:
        found.append(
            f"shared memory: from {before.segments} files, {before.shared_mb:.1f} MB"
            f" to {after.segments}, {after.shared_mb:.1f} MB"
        )
    return found


def _more(what: str, before: Mapping[str, float], after: Mapping[str, float], bound: float) -> list[str]:
    return [
        f"{role}: from {before.get(role, 0):g} to {count:g} {what}"
        for role, count in after.items()
        if count - before.get(role, 0) > bound
    ]
