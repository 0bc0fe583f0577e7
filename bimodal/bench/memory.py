"""What processes take of memory: the proportional set size, in which a page that several share is divided by them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

from bimodal.bench.errors import BenchError

PROCESSES = Path("/proc")


def pss_mib(pid: int, processes: Path = PROCESSES) -> float:
    """The proportional set size of a process, in MiB; raises BenchError where it can't be read."""
    try:
        for line in (processes / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    except OSError as error:
        raise BenchError(f"the memory of process {pid} can't be read: {error.strerror}") from error
    raise BenchError(f"the system does not say how much memory process {pid} takes")


def together_mib(pids: Iterable[int], processes: Path = PROCESSES) -> float:
    """Of several processes together, each shared page counted once; one that has just ended counts nothing.

    Raises BenchError where the memory of one that runs can't be read.
    """
    whole = 0.0
    for pid in pids:
        try:
            whole += pss_mib(pid, processes)
        except BenchError:
            if _runs(pid):
                raise
    return whole


def _runs(pid: int) -> bool:
    """Whether there is such a process; one that has ended and is not yet buried has no memory."""
    try:
        ended: bool = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return not ended
