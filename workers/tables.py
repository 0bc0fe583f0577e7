"""Tables for a terminal, as much of them as there is room, and for a pipe, as aligned lines. Pure."""

from __future__ import annotations

import sys
from typing import NamedTuple

from rich.table import Table as RichTable
from rich.text import Text

# Beyond these widths of the terminal a column fits.
ALWAYS, NARROW, MIDDLE, WIDE = 0, 56, 80, 110
PIPE_WIDTH = 160


class Column(NamedTuple):
    """A column of a table: its title, from which width on it is shown, and whether it holds numbers."""

    title: str
    from_width: int = ALWAYS
    number: bool = False


class Table(NamedTuple):
    """Columns that fit, their rows, and how many rows there was no room for."""

    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]
    hidden: int = 0


def fit(columns: tuple[Column, ...], rows: list[tuple[str, ...]], width: int, room: int = sys.maxsize) -> Table:
    """What fits into `width` characters and `room` rows."""
    fitting = [place for place, column in enumerate(columns) if width >= column.from_width]
    shown = rows[: max(0, room)]
    return Table(
        tuple(columns[place] for place in fitting),
        [tuple(row[place] for place in fitting) for row in shown],
        len(rows) - len(shown),
    )


def plain(table: Table) -> list[str]:
    """A table as lines of text with aligned columns."""
    grid = [tuple(column.title for column in table.columns), *table.rows]
    widths = [max(len(row[place]) for row in grid) for place in range(len(table.columns))]
    lines = []
    for row in grid:
        cells = [
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def drawn(table: Table, styles: dict[str, str], *, fold: bool = False) -> RichTable:
    """A table for a terminal; cells that are words of `styles` have that style. Where there is too little room, the
    last column gives way: it is cut off, or goes on below with `fold`."""
    shown = RichTable(box=None, pad_edge=False, header_style="bold", expand=False)
    for place, column in enumerate(table.columns[:-1]):
        width = max(len(cell) for cell in (column.title, *(row[place] for row in table.rows)))
        shown.add_column(column.title, justify="right" if column.number else "left", no_wrap=True, min_width=width)
    last = table.columns[-1]
    shown.add_column(
        last.title,
        justify="right" if last.number else "left",
        no_wrap=not fold,
        overflow="fold" if fold else "ellipsis",
    )
    for row in table.rows:
        shown.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
    return shown
