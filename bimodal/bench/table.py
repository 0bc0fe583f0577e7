"""What the bench found, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bimodal.bench.figures import Figure, Outcome
from bimodal.bench.plan import PARTS
from bimodal.bench.whole import Found

SMALL, LARGE = 0.095, 1000.0


def draw(found: Found, console: Console) -> None:
    """A table for each part, its notes, the sentence of each part that failed, and the machine."""
    for outcome in found.outcomes:
        _draw_part(outcome, console)
    for part, sentence in found.failed.items():
        console.print(f"[b]{part}[/b] could not be measured: {escape(sentence)}", style="red", highlight=False)
    console.print(escape(found.machine.line()), style="dim", highlight=False)
    broken = found.broken_floors
    if broken:
        console.print(f"below their floor: {escape('; '.join(broken))}", style="yellow", highlight=False)


def _draw_part(outcome: Outcome, console: Console) -> None:
    told = PARTS[outcome.part].tells if outcome.part in PARTS else ""
    title = f"[b]{escape(outcome.part)}[/b]: {escape(told)} ({outcome.seconds:.0f} s)"
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
    """A number with three figures that count, never in powers of ten."""
    size = abs(value)
    if size >= LARGE or (value == round(value) and size < LARGE):
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= SMALL or size == 0 else f"{value:.4f}"


def judged(figure: Figure, value: float) -> str:
    """A value of what a figure's floor and goal are about: its ratio where it has one, else its unit."""
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
    """Floor and goal in words; empty where there is neither."""
    sign = "≤" if figure.at_most else "≥"
    words = [] if figure.floor is None else [f"{sign} {judged(figure, figure.floor)}"]
    if figure.goal is not None:
        words.append(f"goal {judged(figure, figure.goal)}")
    return ", ".join(words)


def _mark(figure: Figure) -> str:
    if figure.holds is None:
        return ""
    return "[green]holds[/]" if figure.holds else "[red]does not hold[/]"
