"""Whether this CPU adds up products of 8-bit numbers without saturating."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
EXACT = frozenset({"avx512_vnni", "avx_vnni"})


def saturates(machine: str | None = None, cpu_info: str | None = None) -> bool:
    """Whether sums of U8 × S8 products may overflow 16 bits: x86 without VNNI does, and what can't be asked might.

    Args:
        machine, cpu_info: as `platform.machine()` and /proc/cpuinfo say; by default of this machine.
    """
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64", "i386", "i686"):
        return False
    if cpu_info is None:
        cpu_info = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.is_file() else ""
    return not EXACT & set(cpu_info.split())
