"""The plan of a run of the bench, and the table of its parts."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.bench.figures import BenchError, Outcome
from bimodal.config import Config


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run.

    Attributes:
        config: the models and settings to measure.
        folder: for files of this run; removed after it.
        log: log file of the measured system.
        cores: number of usable cores.
        repeats: measurements of each figure; the median counts.
        seconds: approximate duration of one measurement.
        progress: called with a line about the current measurement.
    """

    config: Config
    folder: Path
    log: Path | None
    cores: int
    repeats: int
    seconds: float
    progress: Callable[[str], None]


class Part(NamedTuple):
    """One part: the module whose `measure(plan)` returns its Outcome, and its description in a line.

    Each part measures its own reference, in turn with what it compares.
    """

    module: str
    description: str

    def measure(self, plan: Plan) -> Outcome:
        """Import the module and measure."""
        found: Outcome = importlib.import_module(self.module).measure(plan)
        return found


PARTS: dict[str, Part] = {
    "limit": Part("bimodal.bench.limit", "bare ONNX Runtime, one process a core: the ceiling"),
    "pipeline": Part("bimodal.bench.pipeline", "the whole system on decoded frames: its share of the ceiling"),
    "latency": Part("bimodal.bench.latency", "grab to event at 30 frames a second, and under 4× overload"),
    "scale": Part("bimodal.bench.scale", "face workers from 1 to all cores"),
    "start": Part("bimodal.bench.start", "from the command to the first event; memory by process"),
}

# Parts of `bimodal bench` 0.1 that are now scripts of the repository.
MOVED = ("transport", "single", "resnet", "torch", "mediapipe", "broker")


def chosen(names: list[str], parts: Mapping[str, Part] = PARTS) -> list[str]:
    """The parts to run, in the order of the table; all of them if none is named.

    Raises BenchError if there is no such part, naming the script for one that moved.
    """
    for name in names:
        if name in MOVED and name not in parts:
            raise BenchError(moved(name))
        if name not in parts:
            raise BenchError(f"there is no part '{name}'; there are {', '.join(parts)}")
    return [name for name in parts if name in (names or parts)]


def moved(name: str) -> str:
    """The message about a part or option that is no longer in the installed command."""
    return f"'{name}' is measured by a script of the repository: python -m scripts.measure {name}, in a checkout"
