"""A run of the bench: measure its parts, show what was found as tables for a terminal, and as one picture."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bimodal.bench.figures import BenchError, Curve, Figure, Outcome
from bimodal.bench.machine import Machine
from bimodal.bench.plan import PARTS, Part, Plan
from bimodal.errors import BimodalError

log = logging.getLogger(__name__)

SMALL, LARGE = 0.095, 1000.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All results of a run, as `--json` writes them.

    Attributes:
        at: start, ISO 8601.
        repeats, seconds: as in the plan.
        outcomes: of the parts that could be measured, in their order.
        failed: the error message of each part that could not, by part.
    """

    at: str
    machine: Machine
    repeats: int
    seconds: float
    outcomes: tuple[Outcome, ...]
    failed: dict[str, str] = {}

    @property
    def broken_floors(self) -> list[str]:
        """The names of the figures whose floor does not hold, prefixed with their part's."""
        return [
            f"{outcome.part}: {figure.name}"
            for outcome in self.outcomes
            for figure in outcome.figures
            if figure.holds is False
        ]


def measure(plan: Plan, parts: Mapping[str, Part], machine: Machine, at: str) -> Found:
    """Measure these parts. An error of one is kept as its message; the others go on."""
    outcomes: dict[str, Outcome] = {}
    failed: dict[str, str] = {}
    for number, (name, part) in enumerate(parts.items(), 1):
        plan.progress(f"{name} ({number} of {len(parts)}): {part.description}")
        begun = time.monotonic()
        try:
            found = part.measure(plan)
        except BimodalError as error:
            log.info("%s: %s", name, error, exc_info=error)
            failed[name] = str(error)
            continue
        except Exception as error:
            log.exception("%s: an error of our own", name)
            failed[name] = f"{name} met an unexpected {type(error).__name__}; the log has the details"
            continue
        outcomes[name] = msgspec.structs.replace(found, seconds=round(time.monotonic() - begun, 1))
    return Found(
        at=at,
        machine=machine,
        repeats=plan.repeats,
        seconds=plan.seconds,
        outcomes=tuple(outcomes.values()),
        failed=failed,
    )


def draw(found: Found, console: Console, parts: Mapping[str, Part] = PARTS) -> None:
    """Print a table for each part, its notes, the error of each part that failed, and the machine."""
    for outcome in found.outcomes:
        _draw_part(outcome, console, parts[outcome.part].description if outcome.part in parts else "")
    for part, sentence in found.failed.items():
        console.print(f"[b]{part}[/b] could not be measured: {escape(sentence)}", style="red", highlight=False)
    console.print(escape(found.machine.line()), style="dim", highlight=False)
    broken = found.broken_floors
    if broken:
        console.print(f"below their floor: {escape('; '.join(broken))}", style="yellow", highlight=False)


def _draw_part(outcome: Outcome, console: Console, description: str) -> None:
    title = f"[b]{escape(outcome.part)}[/b]: {escape(description)} ({outcome.seconds:.0f} s)"
    table = Table("", title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    for heading in ("value", "low - high"):
        table.add_column(heading, justify="right")
    for heading in ("beside", "wanted", ""):
        table.add_column(heading)
    for one in outcome.figures:
        table.add_row(escape(one.name), _value(one), _spread(one), _beside(one), wanted(one), _mark(one))
    console.print(table)
    for note in outcome.notes:
        console.print(f"  {escape(note)}", style="dim", highlight=False)
    console.print()


def number(value: float) -> str:
    """Format a number with three significant figures, never in powers of ten."""
    size = abs(value)
    if size >= LARGE or (value == round(value) and size < LARGE):
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= SMALL or size == 0 else f"{value:.4f}"


def judged(figure: Figure, value: float) -> str:
    """Format a value of a figure's floor or goal: as a ratio if the figure has one, else with its unit."""
    if figure.ratio is not None:
        return f"{number(value)}×"
    return _with_unit(value, figure.unit)


def _with_unit(value: float, unit: str) -> str:
    if unit == "share":
        return f"{value:.1%}"
    return f"{number(value)}{unit}" if unit == "×" else f"{number(value)} {unit}".rstrip()


def _value(figure: Figure) -> str:
    return escape(_with_unit(figure.value, figure.unit))


def _spread(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    if figure.unit == "share":
        return f"{figure.low:.1%} - {figure.high:.1%}"
    return f"{number(figure.low)} - {number(figure.high)}"


def _beside(figure: Figure) -> str:
    if figure.against is None or figure.ratio is None:
        return ""
    return escape(f"{number(figure.ratio)}× of {figure.against}")


def wanted(figure: Figure) -> str:
    """Floor and goal in words; empty if there is neither."""
    sign = "≤" if figure.at_most else "≥"
    words = [] if figure.floor is None else [f"{sign} {judged(figure, figure.floor)}"]
    if figure.goal is not None:
        words.append(f"goal {judged(figure, figure.goal)}")
    return ", ".join(words)


def _mark(figure: Figure) -> str:
    if figure.holds is None:
        return ""
    return "[green]holds[/]" if figure.holds else "[red]does not hold[/]"


# The picture: figures as bars beside their references, and curves.
YARDSTICK, MEASURED, BROKEN, FLOOR = "#9aa0a6", "#2f6fb3", "#c0392b", "#222222"
COLUMNS = 2
MOST_BARS = 16
INCHES_WIDE, INCHES_A_BAR, INCHES_AROUND, INCHES_A_CURVE = 16.0, 0.34, 0.75, 3.1
# Values with a greater ratio can't be distinguished on a linear axis.
WIDE_RANGE = 50.0


class Panel(NamedTuple):
    """One chart: the figures of a part in one unit, or curves that share their axes."""

    title: str
    figures: tuple[Figure, ...] = ()
    curves: tuple[Curve, ...] = ()

    @property
    def inches(self) -> float:
        """Height of the chart."""
        return INCHES_A_CURVE if self.curves else INCHES_AROUND + INCHES_A_BAR * len(self.figures)


def write_picture(found: Found, path: Path) -> None:
    """Write all charts to `path` as PNG. Needs matplotlib.

    Raises BenchError if nothing was measured or the file can't be written.
    """
    drawn = panels(found.outcomes)
    if not drawn:
        raise BenchError("there is nothing to draw: no part could be measured")
    from matplotlib.figure import Figure as Sheet

    columns = balanced(drawn)
    height = max(sum(panel.inches for panel in column) for column in columns) + 1.0
    sheet = Sheet(figsize=(INCHES_WIDE, height), layout="constrained")
    sheet.suptitle("\n".join(textwrap.wrap(found.machine.line(), 150)), fontsize=9, color="#444444")
    for part, column in zip(sheet.subfigures(1, len(columns), squeeze=False)[0], columns, strict=True):
        inches = [panel.inches for panel in column]
        left = max(0.01, height - 1.0 - sum(inches))
        *axes, rest = part.subplots(len(column) + 1, 1, squeeze=False, height_ratios=[*inches, left])[:, 0]
        rest.set_axis_off()
        for axis, panel in zip(axes, column, strict=True):
            _draw(axis, panel)
    try:
        sheet.savefig(path, dpi=110, format="png")
    except OSError as error:
        raise BenchError(f"the picture {path} can't be written: {error.strerror}") from error


def panels(outcomes: tuple[Outcome, ...]) -> list[Panel]:
    """Make the charts, part by part: figures by unit in their order, then curves by their axes."""
    drawn: list[Panel] = []
    for outcome in outcomes:
        units = dict.fromkeys(figure.unit for figure in outcome.figures)
        for unit in units:
            those = tuple(figure for figure in outcome.figures if figure.unit == unit)
            drawn.append(Panel(f"{outcome.part}: {unit}", figures=most_relevant(those)))
        axes = [(curve.x_label, curve.y_label) for curve in outcome.curves]
        for pair in dict.fromkeys(axes):
            lines = tuple(curve for curve in outcome.curves if (curve.x_label, curve.y_label) == pair)
            drawn.append(Panel(outcome.part, curves=lines))
    return drawn


def most_relevant(figures: tuple[Figure, ...]) -> tuple[Figure, ...]:
    """All figures if they are few; else those with a floor and the ones they are compared with.

    Tables and JSON have them all.
    """
    if len(figures) <= MOST_BARS:
        return figures
    judged_ones = {figure.name for figure in figures if figure.floor is not None}
    wanted = judged_ones | {figure.against for figure in figures if figure.name in judged_ones}
    return tuple(figure for figure in figures if figure.name in wanted) or figures[:MOST_BARS]


def balanced(drawn: list[Panel]) -> list[list[Panel]]:
    """Distribute the panels over columns of about the same height, keeping their order."""
    if len(drawn) < COLUMNS:
        return [drawn]
    whole = sum(panel.inches for panel in drawn)
    above = [sum(panel.inches for panel in drawn[:place]) for place in range(len(drawn))]
    column_of = [min(COLUMNS - 1, int(COLUMNS * inches / whole)) for inches in above]
    pairs = zip(column_of, drawn, strict=True)
    return [[panel for _, panel in group] for _, group in groupby(pairs, key=lambda pair: pair[0])]


def _draw(axis: Any, panel: Panel) -> None:
    axis.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.tick_params(labelsize=8)
    if panel.curves:
        _draw_curves(axis, panel.curves)
    else:
        _draw_bars(axis, panel.figures)


def _draw_bars(axis: Any, figures: tuple[Figure, ...]) -> None:
    places = range(len(figures))
    values = [figure.value for figure in figures]
    axis.barh(places, values, color=[_colour(figure) for figure in figures], height=0.7)
    for place, figure in zip(places, figures, strict=True):
        if figure.low is not None and figure.high is not None:
            axis.plot([figure.low, figure.high], [place, place], color=FLOOR, linewidth=1.2)
        floor = _floor_in_units(figure)
        if floor is not None:
            axis.plot([floor, floor], [place - 0.42, place + 0.42], color=FLOOR, linewidth=1.6, linestyle=":")
        reached = max(filter(None, (figure.value, figure.high, floor)), default=0.0)
        axis.annotate(_label(figure), (reached, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_yticks(places, ["\n".join(textwrap.wrap(figure.name, 44)) for figure in figures], fontsize=8)
    axis.invert_yaxis()
    # Room for the label of the longest bar.
    axis.margins(x=1.1)
    positive = [value for value in values if value > 0]
    if positive and max(positive) > WIDE_RANGE * min(positive):
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(_plain)
    else:
        axis.set_xlim(left=min(0.0, *values))


def _colour(figure: Figure) -> str:
    if figure.holds is False:
        return BROKEN
    return MEASURED if figure.against is not None or figure.floor is not None else YARDSTICK


def _floor_in_units(figure: Figure) -> float | None:
    """The floor in the figure's own unit."""
    if figure.floor is None or not figure.ratio:
        return figure.floor
    return figure.floor * figure.value / figure.ratio


def _label(figure: Figure) -> str:
    text = f"{figure.value:.1%}" if figure.unit == "share" else number(figure.value)
    if figure.ratio is not None and figure.against is not None:
        text += f"  ({number(figure.ratio)}× of {figure.against})"
    if figure.floor is not None:
        mark = {True: " ✓", False: " ✗", None: ""}[figure.holds]
        text += f"  {'≤' if figure.at_most else '≥'} {judged(figure, figure.floor)}{mark}"
    return text


def _plain(value: float, _place: int) -> str:
    return number(value)


def _draw_curves(axis: Any, curves: tuple[Curve, ...]) -> None:
    for curve in curves:
        axis.plot(curve.x, curve.y, marker="o", markersize=3.5, linewidth=1.4, label=curve.name)
    axis.set_xlabel(curves[0].x_label, fontsize=8)
    axis.set_ylabel(curves[0].y_label, fontsize=8)
    for values, scale, line in (
        ([value for curve in curves for value in curve.x], axis.set_xscale, axis.xaxis),
        ([value for curve in curves for value in curve.y], axis.set_yscale, axis.yaxis),
    ):
        if values and min(values) > 0 and max(values) > WIDE_RANGE * min(values):
            scale("log")
            line.set_major_formatter(_plain)
    axis.grid(alpha=0.25)
    axis.legend(fontsize=8, frameon=False)
