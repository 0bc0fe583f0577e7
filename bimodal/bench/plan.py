"""What a run of the bench is told, and the table of its parts: read it top to bottom."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.bench.figures import Outcome
from bimodal.config import Config


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
        resnet: whether `pipeline` and `scale` also run ResNet-50 with random weights (needs torch, to make it).
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
    resnet: bool = False
    mediapipe: Path | None
    tell: Callable[[str], None]


class Part(NamedTuple):
    """One part: the module whose `measure(plan)` gives its Outcome, and a line on what it tells. Each measures its own
    yardstick, in turn with what it compares."""

    module: str
    tells: str

    def measure(self, plan: Plan) -> Outcome:
        """Measure now."""
        found: Outcome = importlib.import_module(self.module).measure(plan)
        return found


PARTS: dict[str, Part] = {
    "limit": Part("bimodal.bench.limit", "bare ONNX Runtime, one process a core: the ceiling"),
    "pipeline": Part("bimodal.bench.pipeline", "the whole system on decoded frames: its share of the ceiling"),
    "latency": Part("bimodal.bench.latency", "grab to event at 30 frames a second, and under 4× overload"),
    "scale": Part("bimodal.bench.scale", "1 to all cores; and the broker alone with up to 128 simulated workers"),
    "transport": Part("bimodal.bench.transport", "shared frames against copies through ZeroMQ, 640×480 to 4K"),
    "single": Part("bimodal.bench.single", "one process that does everything in a loop, as demos do"),
    "start": Part("bimodal.bench.start", "from the command to the first event; memory by process"),
}


def chosen(names: list[str]) -> list[str]:
    """The parts to run, in the order of the table; all of them where none is named."""
    return [name for name in PARTS if name in (names or PARTS)]
