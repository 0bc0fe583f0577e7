"""What a run of the bench is told, and the table of its parts: read it top to bottom."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.figures import Outcome
from workers.config import Config


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a run measures.

    Attributes:
        config: the models and settings that are measured.
        folder: for files of this run; removed after it.
        log: the file that takes the log of the measured system.
        cores: how many there are to use.
        repeats: how often each figure is measured; the median counts.
        seconds: how long one measurement lasts, about.
        torch: whether `single` also runs the seed's program in torch eager.
        mediapipe: the Python of an environment with mediapipe 0.10.14, None to leave that comparison out.
        tell: takes a line about what is going on.
    """

    config: Config
    folder: Path
    log: Path | None
    cores: int
    repeats: int
    seconds: float
    torch: bool
    mediapipe: Path | None
    tell: Callable[[str], None]


class Part(NamedTuple):
    """One part: the module whose `measure(plan, earlier)` gives its Outcome, and a line on what it tells."""

    module: str
    tells: str

    def measure(self, plan: Plan, earlier: dict[str, Outcome]) -> Outcome:
        """Measure now; `earlier` holds the outcomes of the parts that ran before, by name."""
        found: Outcome = importlib.import_module(self.module).measure(plan, earlier)
        return found


PARTS: dict[str, Part] = {
    "limit": Part("bench.limit", "bare ONNX Runtime, one process a core: the ceiling"),
    "pipeline": Part("bench.pipeline", "the whole system on decoded frames: its share of the ceiling"),
    "latency": Part("bench.latency", "grab to event at 30 frames a second, and under 4× overload"),
    "scale": Part("bench.scale", "1 to all cores; and the broker alone with up to 128 simulated workers"),
    "transport": Part("bench.transport", "shared frames against copies through ZeroMQ, 640×480 to 4K"),
    "single": Part("bench.single", "one process that does everything in a loop, as demos do"),
    "start": Part("bench.start", "from the command to the first event; memory by process"),
}
NEEDS: dict[str, tuple[str, ...]] = {"pipeline": ("limit",), "single": ("limit", "pipeline")}
"""Parts whose figures are compared with those of others; what is needed runs along."""


def chosen(names: list[str]) -> list[str]:
    """The parts to run, with all that they need, in the order of the table; all of them where none is named."""
    wanted = set(names or PARTS)
    for name in names:
        wanted |= set(NEEDS.get(name, ()))
    return [name for name in PARTS if name in wanted]
