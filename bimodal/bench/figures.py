"""What a part of the bench has measured: figures beside figures of the same run, and curves."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value.

    Attributes:
        name: what it is, in a few words.
        value: the median of the repeats, in `unit`.
        unit: "frames/s", "ms", "MiB", "share", "×" …
        low, high: the smallest and the largest repeat; both None where there was one.
        against: the name of the figure of the same run that it is compared with, None where it is the yardstick itself.
        ratio: `value` over that figure's; None with `against`, and where that figure is 0.
        floor, goal: what the ratio (or, where there is none, the value) must reach, and is meant to; None for neither.
        at_most: whether floor and goal are upper bounds.
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
        """What floor and goal are about: the ratio, or the value where there is none."""
        return self.value if self.ratio is None else self.ratio

    @property
    def holds(self) -> bool | None:
        """Whether the floor holds; None where there is none, or where what it stands against was nothing."""
        if self.floor is None or (self.against is not None and self.ratio is None):
            return None
        return self.judged <= self.floor if self.at_most else self.judged >= self.floor


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a drawing.

    Attributes:
        name: of the line.
        x, y: as many values each.
        x_label, y_label: with units; lines that share both share a drawing.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    x_label: str
    y_label: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one part found.

    Attributes:
        part: its name in the table of parts.
        figures: in the order in which they are read.
        curves: for the drawing.
        notes: sentences that a reader needs beside the figures.
        seconds: that the part took.
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
    """The figure of one or more repeats; raises ValueError where there are none."""
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


# What is compared, in turn: the machine's speed drifts, and so each has its share of every moment.


_T = TypeVar("_T")


def in_turn(measured: Mapping[str, Callable[[], _T]], repeats: int, tell: Callable[[str], None]) -> dict[str, list[_T]]:
    """Measure each by name, then each again, `repeats` times; what each gave, in its order."""
    found: dict[str, list[_T]] = {name: [] for name in measured}
    for repeat in range(1, repeats + 1):
        for name, measure in measured.items():
            tell(f"{name} ({repeat} of {repeats})")
            found[name].append(measure())
    return found
