"""Layout of the report's timeline as plain shapes, which the page only draws. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bimodal.models.emotions import EmotionSet
from bimodal.recordings.report.statistics import ROWS, SAME_STRETCH_S, Bin, Tally

WIDTH = 1000.0
ROW_HEIGHT, OTHER_HEIGHT, STRIP_HEIGHT, GAP = 56.0, 36.0, 14.0, 10.0
TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
MOST_TICKS = 10
LEAST_HEIGHT = 0.2
"""Least height of an area that is drawn, in the picture's units."""
OPACITIES = 20


class Rectangle(NamedTuple):
    """Position and size in the picture's units; `kind` is its CSS class."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    opacity: float = 1.0


class Area(NamedTuple):
    """One emotion of a stack: its CSS class, and the `d` of an SVG path."""

    kind: str
    path: str


class Row(NamedTuple):
    """A band of the picture with its name: areas of a stack, or rectangles of a strip."""

    name: str
    kind: str
    y: float
    height: float
    areas: list[Area]
    rectangles: list[Rectangle]


class Column(NamedTuple):
    """Tooltip of one column across all rows; position and width in the picture's units."""

    x: float
    width: float
    title: str


class Tick(NamedTuple):
    """A mark of the time axis."""

    x: float
    text: str


class Picture(NamedTuple):
    """All that the page draws; `each`: what a column stands for, in words."""

    width: float
    height: float
    each: str
    rows: list[Row]
    columns: list[Column]
    ticks: list[Tick]


class Axis:
    """The time axis, from the first frame to the end of the last: seconds of the clip to x."""

    def __init__(self, tally: Tally) -> None:
        self.first, last = tally.span or (0.0, 0.0)
        apart = (last - self.first) / (tally.frames - 1) if tally.frames > 1 else 0.0
        self.frame_s = apart or 1.0
        self.last = last + self.frame_s
        # What is further apart was not looked at in between: nothing is drawn there.
        self.most_apart_s = max(SAME_STRETCH_S, 1.5 * self.frame_s)

    def x(self, t: float) -> float:
        """Position of the time `t` in seconds, 0…WIDTH; times outside lie at the ends."""
        return min(1.0, max(0.0, (t - self.first) / (self.last - self.first))) * WIDTH


class _Placed(NamedTuple):
    """A bin with its column, `left` to `right`; `begin` and `end` in seconds."""

    begin: float
    end: float
    left: float
    right: float
    bin: Bin


def clock(seconds: float) -> str:
    """Format seconds: 12.3 → "0:12", 3723 → "1:02:03"."""
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def tenths(seconds: float) -> str:
    """Format seconds with tenths: 72.34 → "1:12.3"."""
    rounded = round(seconds * 10)
    return f"{clock(rounded // 10)}.{rounded % 10}"


def timeline(tally: Tally) -> Picture:
    """Lay out fused, video and speech as stacked columns, further categories, where there are any, as another stack;
    speaking, agreement and unknown as strips."""
    axis, about = Axis(tally), tally.emotions
    placed = list(_columns(tally, axis))
    rows: list[Row] = []
    y = 0.0
    for kind in ROWS:
        shares = [one.bin.rows[kind].shares for one in placed]
        rows.append(Row(kind, kind, y, ROW_HEIGHT, _stack(placed, shares, about.emotions, about, y, ROW_HEIGHT), []))
        y += ROW_HEIGHT + GAP
    further = [one.bin.other.means for one in placed]
    if any(further):
        areas = _stack(placed, further, about.categories, about, y, OTHER_HEIGHT)
        rows.append(Row("other", "fused", y, OTHER_HEIGHT, areas, []))
        y += OTHER_HEIGHT + GAP
    for name, kind, share in STRIPS:
        rows.append(Row(name, kind, y, STRIP_HEIGHT, [], _strip(placed, kind, share, y)))
        y += STRIP_HEIGHT + GAP / 2
    columns = [Column(one.left, one.right - one.left, _title(one, tally.bins.width)) for one in placed]
    single = all(one.bin.frames == 1 for one in placed)
    each = "frame" if single else f"{tally.bins.width:g} s"
    return Picture(WIDTH, y, each, rows, columns, ticks(axis))


def _columns(tally: Tally, axis: Axis) -> Iterator[_Placed]:
    """The bins with something in them, each up to the next, or as wide as a frame where none follows soon."""
    width, found = tally.bins.width, tally.bins.found()
    begins = [max(number * width, axis.first) for number, _ in found]
    for place, (_, one) in enumerate(found):
        begin = begins[place]
        following = begins[place + 1] if place + 1 < len(begins) else None
        soon = following is not None and following - begin <= max(axis.most_apart_s, width)
        end = following if following is not None and soon else begin + max(width, axis.frame_s)
        yield _Placed(begin, end, axis.x(begin), axis.x(end), one)


def _stack(
    placed: Sequence[_Placed],
    shares: Sequence[dict[str, float] | None],
    names: Sequence[str],
    about: EmotionSet,
    y: float,
    height: float,
) -> list[Area]:
    """Shares of names, from the top down, as one area each: steps along the columns, and none across a gap."""
    paths: dict[str, list[str]] = {}
    for run in _runs(placed, shares):
        tops = [y] * len(run)
        for name in names:
            heights = [known.get(name, 0.0) * height for _, known in run]
            bottoms = [top + high for top, high in zip(tops, heights, strict=True)]
            if max(heights) >= LEAST_HEIGHT:
                paths.setdefault(name, []).append(_steps([one for one, _ in run], tops, bottoms))
            tops = bottoms
    return [Area(about.colour_of(name), " ".join(paths[name])) for name in names if name in paths]


def _runs(
    placed: Sequence[_Placed], shares: Sequence[dict[str, float] | None]
) -> Iterator[list[tuple[_Placed, dict[str, float]]]]:
    """Columns side by side in which something is known."""
    run: list[tuple[_Placed, dict[str, float]]] = []
    for one, known in zip(placed, shares, strict=True):
        if run and (not known or run[-1][0].right < one.left - 1e-6):
            yield run
            run = []
        if known:
            run.append((one, known))
    if run:
        yield run


def _steps(columns: Sequence[_Placed], tops: Sequence[float], bottoms: Sequence[float]) -> str:
    """An area between two lines of steps: along the upper one, and back along the lower one."""
    there = [f"V{top:.1f}H{one.right:.2f}" for one, top in zip(columns, tops, strict=True)]
    back = [f"V{bottom:.1f}H{one.left:.2f}" for one, bottom in zip(columns, bottoms, strict=True)]
    return f"M{columns[0].left:.2f} {tops[0]:.1f}{''.join(there)}{''.join(reversed(back))}Z"


def _strip(placed: Sequence[_Placed], kind: str, share: Callable[[Bin], float], y: float) -> list[Rectangle]:
    """A share as opacity; columns side by side of one opacity are one rectangle."""
    found: list[Rectangle] = []
    for one in placed:
        value = share(one.bin)
        if not value:
            continue
        opacity = max(1, round(value * OPACITIES)) / OPACITIES
        before = found[-1] if found else None
        if before is not None and before.opacity == opacity and before.x + before.width >= one.left - 1e-6:
            found[-1] = before._replace(width=one.right - before.x)
        else:
            found.append(Rectangle(one.left, y, one.right - one.left, STRIP_HEIGHT, kind, opacity))
    return found


def _title(one: _Placed, width: float) -> str:
    """A column in words, a line for each row."""
    written = clock if width >= 1 else _hundredths
    lines = [f"{written(one.begin)}–{written(one.end)}"]
    told: list[tuple[str, dict[str, float] | None]] = [(kind, one.bin.rows[kind].shares) for kind in ROWS]
    for kind, known in (*told, ("other", one.bin.other.means)):
        if known:
            best = sorted(known.items(), key=lambda item: -item[1])[:3]
            lines.append(f"{kind}: {', '.join(f'{name} {value:.0%}' for name, value in best)}")
    lines += [f"{name}: {value:.0%}" for name, _, share in STRIPS if (value := share(one.bin))]
    return "\n".join(lines)


def _hundredths(seconds: float) -> str:
    rounded = round(seconds * 100)
    return f"{clock(rounded // 100)}.{rounded % 100:02}"


def _voice(one: Bin) -> float:
    return one.voice / one.listened if one.listened else 0.0


def _agreement(one: Bin) -> float:
    return one.agreement / one.compared if one.compared else 0.0


def _unknown(one: Bin) -> float:
    return one.unknown / one.frames if one.frames else 0.0


STRIPS: tuple[tuple[str, str, Callable[[Bin], float]], ...] = (
    ("speaking", "speech", _voice),
    ("agreement", "fused", _agreement),
    ("unknown", "unknown", _unknown),
)


def ticks(axis: Axis) -> list[Tick]:
    """Place at most eleven marks at round times."""
    span = axis.last - axis.first
    step = next((step for step in TICK_STEPS_S if span / step <= MOST_TICKS), TICK_STEPS_S[-1])
    begin, end = math.ceil(axis.first / step - 1e-6), math.floor(axis.last / step + 1e-6)
    written = clock if step >= 1 else tenths
    return [Tick(axis.x(number * step), written(number * step)) for number in range(begin, end + 1)]
