"""What is wrong, in sentences: pure functions over what the supervisor knows."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Mapping

from bimodal.workers.supervision.life import Life


def troubles(lives: Mapping[str, Life], refused: str | None) -> str | None:
    """The one sentence on a system: which processes fail and why, and why an edited config was refused."""
    found = [f"{name} failed: {life.because}" for name, life in lives.items() if life.failing]
    if refused is not None:
        found.append(f"a change was not made: {refused}")
    return "; ".join(found) or None


def over_limit(memory_mb: float, max_memory_mb: int | None) -> str | None:
    """Why a process must be started again, None where it keeps its limit."""
    if max_memory_mb is None or memory_mb <= max_memory_mb:
        return None
    return f"it took {memory_mb:.0f} MiB of memory, more than workers.max_memory_mb = {max_memory_mb}"


def how_it_died(code: int) -> str:
    """The exit code of a process in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code}"
