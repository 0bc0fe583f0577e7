"""Results of a part of the bench: figures, compared with figures of the same run, and curves."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from bimodal.workers.errors import WorkerError


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value.

    Attributes:
        name: what it is, in a few words.
        value: the median of the repeats, in `unit`.
        unit: "frames/s", "ms", "MiB", "share", "×" …
        low, high: the smallest and the largest repeat; both None for a single one.
        against: name of the figure of the same run that it is compared with; None for a reference figure.
        ratio: `value` over that figure's; None without `against`, and if that figure is 0.
        floor, goal: what the ratio (without one: the value) must reach, and should reach; None for no bound.
        at_most: True if floor and goal are upper bounds.
    """

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    against: str | None = None
    ratio: float | None = None
    floor: float | None = None
    goal: float | None = None
    at_most: bool = False

    @property
    def judged(self) -> float:
        """The number that floor and goal refer to: the ratio, or the value if there is no ratio."""
        return self.value if self.ratio is None else self.ratio

    @property
    def holds(self) -> bool | None:
        """True if the floor holds; None without a floor, or if the figure compared with was 0."""
        if self.floor is None or (self.against is not None and self.ratio is None):
            return None
        return self.judged <= self.floor if self.at_most else self.judged >= self.floor


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart.

    Attributes:
        name: of the line.
        x, y: coordinates, equally many.
        x_label, y_label: with units; lines that share both share a chart.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    x_label: str
    y_label: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one part.

    Attributes:
        part: its name in the table of parts.
        figures: in the order in which they are read.
        curves: for the charts.
        notes: sentences needed to read the figures.
        seconds: duration of the part.
    """

    part: str
    figures: tuple[Figure, ...]
    curves: tuple[Curve, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def figure(
    name: str,
    repeats: Sequence[float],
    unit: str,
    *,
    against: Figure | None = None,
    floor: float | None = None,
    goal: float | None = None,
    at_most: bool = False,
) -> Figure:
    """Make a figure of one or more repeats. Raises ValueError if there are none."""
    if not repeats:
        raise ValueError(f"'{name}' was never measured")
    value = statistics.median(repeats)
    spread = len(repeats) > 1
    return Figure(
        name=name,
        value=value,
        unit=unit,
        low=min(repeats) if spread else None,
        high=max(repeats) if spread else None,
        against=None if against is None else against.name,
        ratio=None if against is None or not against.value else value / against.value,
        floor=floor,
        goal=goal,
        at_most=at_most,
    )


# Measurements that are compared run in turn, so that drift of the machine's speed affects all of them alike.
_T = TypeVar("_T")


def in_turn(
    measured: Mapping[str, Callable[[], _T]], repeats: int, progress: Callable[[str], None]
) -> dict[str, list[_T]]:
    """Measure each in turn, `repeats` times. Returns the results by name, in order."""
    found: dict[str, list[_T]] = {name: [] for name in measured}
    for repeat in range(1, repeats + 1):
        for name, measure in measured.items():
            progress(f"{name} ({repeat} of {repeats})")
            found[name].append(measure())
    return found


class BenchError(WorkerError):
    """A part could not be measured; the message says why and what to do."""
