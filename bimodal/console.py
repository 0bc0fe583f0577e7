"""Console output: errors as one sentence on stderr and an exit code, the log with their tracebacks, and tables."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

import typer
from platformdirs import user_state_path
from rich.table import Table as RichTable
from rich.text import Text

from bimodal.errors import BimodalError
from bimodal.workers.actor import BROKEN, REFUSED
from bimodal.workers.errors import ConfigError
from bimodal.workers.logs import ConfidentialFormatter, redact

log = logging.getLogger(__name__)

LOG_KEEPS_BYTES = 16 * 2**20


def say(sentence: str) -> None:
    """One sentence to the user, on stderr, if anybody takes it."""
    if takes_more(sys.stderr):
        typer.echo(f"bimodal: {redact(sentence)}", err=True)


def takes_more(stream: TextIO) -> bool:
    """Whether a line can be written without waiting. A terminal that was stopped (Ctrl-S), and a pipe that nobody
    reads, take none; whoever watches over processes must not wait for them."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):  # a stream without a descriptor, or closed, holds nobody up
        return True


@contextmanager
def user_errors(log_file: Path | None = None) -> Iterator[None]:
    """Run a command; an error of ours becomes its sentence, any other one sentence that names the log.

    A reader of our output who has left (`| head -1`) ends the command, and is no error.
    """
    try:
        yield
    except BrokenPipeError as error:
        leave_stdout()
        raise typer.Exit from error
    except BimodalError as error:
        log.info("refused: %s", error, exc_info=error)
        say(str(error))
        raise typer.Exit(REFUSED) from error
    except (typer.Exit, typer.Abort, KeyboardInterrupt):
        raise
    except Exception as error:
        if log_file is None:
            raise typer.Exit(keep_unexpected(error)) from error
        log.exception("an error of our own")
        say(f"met an unexpected {type(error).__name__}; the log {log_file} has the details")
        raise typer.Exit(BROKEN) from error


def leave_stdout() -> None:
    """Nobody reads it any more: Python's own flush at exit must not meet it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def state_directory() -> Path:
    """Where logs go: $XDG_STATE_HOME/bimodal, by default ~/.local/state/bimodal.

    A relative path in the variable counts too. A user without a home folder gets a folder named "~".
    """
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or user_state_path()) / "bimodal"
    except RuntimeError:
        return Path("~/.local/state/bimodal")


def open_log(file: Path | None, level: str, session: str) -> Path:
    """Send this process's log to `file`, by default SESSION.log in the state directory; what is long is rotated.

    Raises ConfigError where it can't be written.
    """
    path = file if file is not None else state_directory() / f"{session}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LOG_KEEPS_BYTES:
            path.replace(path.with_suffix(path.suffix + ".1"))
        # It tells who was filmed when, and from where: nobody else's business.
        path.touch(mode=0o600)
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        advice = "name another as 'log.file' in config.yaml" if file else "set XDG_STATE_HOME to a folder of yours"
        raise ConfigError(f"the log {path} can't be written ({error.strerror}); {advice}") from error
    os.environ["BIMODAL_LOG_LEVEL"] = level
    handler.setFormatter(ConfidentialFormatter("%(asctime)s supervisor %(levelname)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return path.resolve()


def keep_unexpected(error: Exception) -> int:
    """Say in one sentence that something unexpected happened, keep its traceback in errors.log; gives the exit code."""
    place = ""
    with suppress(ConfigError):
        place = f"; {open_log(None, 'INFO', 'errors')} has the details"
        log.error("an error of our own", exc_info=error)
    say(f"met an unexpected {type(error).__name__}: {error}{place}")
    return BROKEN


def is_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


# Tables for a terminal, as much of them as there is room, and for a pipe, as aligned lines. Pure.


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
