"""What a run of the bench is told, and the table of its parts: read it top to bottom."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.bench.errors import BenchError
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
        tell: takes a line about what is going on.
    """

    config: Config
    folder: Path
    log: Path | None
    cores: int
    repeats: int
    seconds: float
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
    "scale": Part("bimodal.bench.scale", "face workers from 1 to all cores"),
    "start": Part("bimodal.bench.start", "from the command to the first event; memory by process"),
}

# Parts of `bimodal bench` 0.1 that are measured by scripts of the repository now.
MOVED = ("transport", "single", "resnet", "torch", "mediapipe", "broker")


def chosen(names: list[str], parts: Mapping[str, Part] = PARTS) -> list[str]:
    """The parts to run, in the order of the table; all of them where none is named.

    Raises BenchError, naming the script for one that moved, where there is no such part.
    """
    for name in names:
        if name in MOVED and name not in parts:
            raise BenchError(moved(name))
        if name not in parts:
            raise BenchError(f"there is no part '{name}'; there are {', '.join(parts)}")
    return [name for name in parts if name in (names or parts)]


def moved(name: str) -> str:
    """The sentence on a part or option that is no longer in the installed command."""
    return f"'{name}' is measured by a script of the repository: python -m scripts.measure {name}, in a checkout"
