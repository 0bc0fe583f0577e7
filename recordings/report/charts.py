"""Layout of the report's timeline as plain rectangles, which the page only draws. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from bimodal.recordings.report.statistics import ROWS, Second, Tally, merged

MOST_BINS = 480
WIDTH = 1000.0
ROW_HEIGHT, STRIP_HEIGHT, GAP = 56.0, 14.0, 10.0
TICK_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MOST_TICKS = 10


class Rectangle(NamedTuple):
    """Position and size in the picture's units; `kind` is its CSS class, `title` its tooltip."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""
    opacity: float = 1.0


class Row(NamedTuple):
    """A band of the picture with its name."""

    name: str
    kind: str
    y: float
    height: float
    rectangles: list[Rectangle]


class Tick(NamedTuple):
    """A mark of the time axis."""

    x: float
    text: str


class Picture(NamedTuple):
    """All that the page draws; one column stands for `bin_s` seconds."""

    width: float
    height: float
    bin_s: int
    rows: list[Row]
    ticks: list[Tick]


class Axis:
    """The time axis: seconds of the clip, in bins of whole seconds, to x."""

    def __init__(self, tally: Tally) -> None:
        first, last = tally.span or (0.0, 0.0)
        self.first, self.last = int(first), int(last)
        self.bin_s = math.ceil((self.last - self.first + 1) / MOST_BINS)
        self.bins = (self.last - self.first) // self.bin_s + 1
        self.column = WIDTH / self.bins

    def bounds(self, number: int) -> str:
        """The time span of a bin, as text."""
        begin = self.first + number * self.bin_s
        return f"{clock(begin)}–{clock(begin + self.bin_s)}"


def clock(seconds: float) -> str:
    """Format seconds: 12.3 → "0:12", 3723 → "1:02:03"."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def timeline(tally: Tally) -> Picture:
    """Lay out fused, video and speech as stacked columns; speaking, agreement and unknown as strips."""
    axis = Axis(tally)
    bins = merged(tally.seconds, axis.first, axis.last, axis.bin_s)
    rows: list[Row] = []
    y = 0.0
    for kind in ROWS:
        rows.append(Row(kind, kind, y, ROW_HEIGHT, _stacks(bins, kind, axis, y, tally.emotions.emotions)))
        y += ROW_HEIGHT + GAP
    strips = (
        ("speaking", "speech", _voice),
        ("agreement", "fused", _agreement),
        ("unknown", "unknown", _unknown),
    )
    for name, kind, share in strips:
        rows.append(Row(name, kind, y, STRIP_HEIGHT, _strip(bins, name, kind, share, axis, y)))
        y += STRIP_HEIGHT + GAP / 2
    return Picture(WIDTH, y, axis.bin_s, rows, ticks(axis))


def _stacks(bins: list[Second], kind: str, axis: Axis, y: float, emotions: Sequence[str]) -> list[Rectangle]:
    found = []
    for number, second in enumerate(bins):
        shares = second.rows[kind].shares
        if shares is None:
            continue
        text = ", ".join(f"{name} {value:.0%}" for name, value in sorted(shares.items(), key=lambda item: -item[1])[:3])
        title = f"{axis.bounds(number)} {kind}: {text}"
        top = y
        for emotion in emotions:
            height = shares.get(emotion, 0.0) * ROW_HEIGHT
            if height >= 0.2:
                found.append(Rectangle(number * axis.column, top, axis.column, height, emotion, title))
            top += height
    return found


def _strip(bins: list[Second], name: str, kind: str, share: object, axis: Axis, y: float) -> list[Rectangle]:
    assert callable(share)
    found = []
    for number, second in enumerate(bins):
        value = share(second)
        if value:
            title = f"{axis.bounds(number)} {name}: {value:.0%}"
            found.append(Rectangle(number * axis.column, y, axis.column, STRIP_HEIGHT, kind, title, round(value, 3)))
    return found


def _voice(second: Second) -> float:
    return second.voice / second.listened if second.listened else 0.0


def _agreement(second: Second) -> float:
    return second.agreement / second.compared if second.compared else 0.0


def _unknown(second: Second) -> float:
    return second.unknown / second.frames if second.frames else 0.0


def ticks(axis: Axis) -> list[Tick]:
    """Place at most ten marks at round times."""
    span = axis.bins * axis.bin_s
    step = next((step for step in TICK_STEPS_S if span / step <= MOST_TICKS), TICK_STEPS_S[-1])
    begin = math.ceil(axis.first / step) * step
    times = range(begin, axis.first + span + 1, step)
    return [Tick((time - axis.first) / span * WIDTH, clock(time)) for time in times]
