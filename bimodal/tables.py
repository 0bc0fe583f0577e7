"""Tables as aligned lines of text: as many rows and columns as fit. Pure; without the libraries of a terminal."""

from __future__ import annotations

import sys
from typing import NamedTuple

from bimodal.workers.redaction import clean

# Least width of the terminal for a column.
ALWAYS, NARROW, MIDDLE, WIDE = 0, 56, 80, 110
PIPE_WIDTH = 160


class Column(NamedTuple):
    """A column of a table: title, least width of the terminal, and whether it is right-aligned."""

    title: str
    from_width: int = ALWAYS
    number: bool = False


class Table(NamedTuple):
    """Columns that fit, their rows, and the number of rows that did not fit."""

    columns: tuple[Column, ...]
    rows: list[tuple[str, ...]]
    hidden: int = 0


def duration(seconds: float) -> str:
    """A duration as people read it, to the second below an hour and to the minute above."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def fit(columns: tuple[Column, ...], rows: list[tuple[str, ...]], width: int, room: int = sys.maxsize) -> Table:
    """Select the columns and rows that fit into `width` characters and `room` rows."""
    fitting = [place for place, column in enumerate(columns) if width >= column.from_width]
    shown = rows[: max(0, room)]
    return Table(
        tuple(columns[place] for place in fitting),
        [tuple(row[place] for place in fitting) for row in shown],
        len(rows) - len(shown),
    )


def plain(table: Table, width: int = sys.maxsize) -> list[str]:
    """Format a table as lines of text with aligned columns; the last one goes on below where `width` is too small."""
    grid = [tuple(column.title for column in table.columns), *(tuple(map(clean, row)) for row in table.rows)]
    widths = [max(len(row[place]) for row in grid) for place in range(len(table.columns))]
    lines = []
    for row in grid:
        cells = [
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
        room = max(1, width - indent)
        lines.append(line[: indent + room])
        lines += [" " * indent + line[at : at + room] for at in range(indent + room, len(line), room)]
    return lines
