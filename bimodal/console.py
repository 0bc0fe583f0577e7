"""Console output: errors as one sentence on stderr and an exit code, the log with their tracebacks, and tables."""

from __future__ import annotations

import atexit
import errno
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec
import typer
from platformdirs import user_state_path

from bimodal.broker.paths import shown
from bimodal.errors import BimodalError
from bimodal.tables import Table
from bimodal.workers.actor import BROKEN, REFUSED
from bimodal.workers.errors import ConfigError
from bimodal.workers.logs import STREAMS, LogFile, QuietStream, is_stream
from bimodal.workers.redaction import clean, clean_json, clean_lines, safe

if TYPE_CHECKING:
    from rich.table import Table as RichTable

log = logging.getLogger(__name__)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR)
OF_FILES = (*NO_ROOM, *_NAMES, errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors of a file that its user can mend; one that is missing is looked for by whoever opens it."""

_lost: list[str] = []
"""Why lines for stdout were lost."""


def say(sentence: str) -> None:
    """Print one sentence to stderr, unless that would block."""
    if takes_more(sys.stderr):
        with suppress(OSError):  # a full disk
            typer.echo(f"bimodal: {safe(sentence)}", err=True)


def put_json(values: object) -> None:
    """Print values as one line of JSON to stdout, as `put`."""
    put(clean_json(msgspec.json.encode(values).decode()))


def rich_text(text: str) -> str:
    """Escape text of others for Rich: it is no markup, and has no control characters."""
    from rich.markup import escape

    return escape(clean(text))


def put(text: str) -> None:
    """Print lines to stdout. A disk that is full loses them, and ends nothing; a closed pipe raises BrokenPipeError."""
    try:
        typer.echo(clean_lines(text))
    except BrokenPipeError:
        raise
    except OSError as error:
        if not _lost:
            log.warning("stdout can't be written: %s", error.strerror)
            atexit.register(_flush_or_leave)
        _lost.append(error.strerror or type(error).__name__)


def _flush_or_leave() -> None:
    """Give up what stdout still holds, where it can't be written: Python would fail on it at exit."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        leave_stdout()


def takes_more(stream: TextIO) -> bool:
    """True where a line can be written without blocking, so that a supervisor never waits for its output: a stopped
    terminal (Ctrl-S) and a pipe that nobody reads would block."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):  # a stream without a descriptor, or closed, never blocks
        return True


@contextmanager
def user_errors(log_file: Path | None = None) -> Iterator[None]:
    """Turn exceptions of a command into one sentence and an exit code; unexpected ones name the log.

    A closed pipe (`| head -1`) ends the command without an error. A command without a log of its own is over at once,
    and has failed where its output was lost.
    """
    try:
        yield
        if log_file is None and _lost:
            say(f"the output can't be written: {_lost[0]}")
            raise typer.Exit(REFUSED)
    except BrokenPipeError as error:
        leave_stdout()
        raise typer.Exit from error
    except BimodalError as error:
        log.info("refused: %s", error, exc_info=error)
        say(str(error))
        raise typer.Exit(REFUSED) from error
    except (typer.Exit, typer.Abort, KeyboardInterrupt, ImportError):
        raise  # the command line names a library that can't be loaded (bimodal/cli.py)
    except Exception as error:
        raise typer.Exit(_unexpected(error, log_file)) from error


def _unexpected(error: Exception, log_file: Path | None) -> int:
    if log_file is None:
        return keep_unexpected(error)
    if isinstance(error, OSError) and (sentence := about_file(error)) is not None:
        log.info("refused: %s", sentence, exc_info=error)
        return _refuse(error, sentence)
    log.error("an error of our own", exc_info=error)
    say(f"met an unexpected {type(error).__name__}; the log {log_file} has the details")
    return BROKEN


def about_file(error: OSError) -> str | None:
    """A sentence on what a user can mend of a file or of stdout; None for any other error."""
    if error.filename is None:
        return f"the output can't be written: {error.strerror}" if error.errno in NO_ROOM else None
    if error.errno not in OF_FILES:
        return None
    return f"{shown(os.fsdecode(error.filename))} can't be read or written: {(error.strerror or '').lower()}"


def _refuse(error: OSError, sentence: str) -> int:
    if error.filename is None:
        leave_stdout()
    say(sentence)
    return REFUSED


def leave_stdout() -> None:
    """Redirect a closed stdout to /dev/null, so that Python's flush at exit does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def state_directory() -> Path:
    """The folder of logs: $XDG_STATE_HOME/bimodal, by default ~/.local/state/bimodal.

    A relative path in the variable counts too. A user without a home folder gets a folder named "~".
    """
    try:
        return Path(os.environ.get("XDG_STATE_HOME") or user_state_path()) / "bimodal"
    except RuntimeError:
        return Path("~/.local/state/bimodal")


def open_log(file: Path | None, level: str, session: str) -> Path:
    """Send this process's log to `file`, by default SESSION.log in the state directory; a long log is rotated. `-` and
    `stderr` (or /dev/stderr) are stderr, `stdout` (or /dev/stdout) is stdout.

    Raises ConfigError where it can't be written.
    """
    path = STREAMS.get(str(file)) or (file if file is not None else state_directory() / f"{session}.log")
    handler: logging.Handler
    try:
        if is_stream(path):
            handler = QuietStream(path, "supervisor")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Private: it shows who was filmed, when and where.
            handler = LogFile(path, "supervisor")
            handler.rotate()
    except OSError as error:
        advice = "name another as 'log.file' in config.yaml" if file else "set XDG_STATE_HOME to a folder of yours"
        raise ConfigError(f"the log {path} can't be written ({error.strerror}); {advice}") from error
    os.environ["BIMODAL_LOG_LEVEL"] = level
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return path if is_stream(path) else path.resolve()


def keep_unexpected(error: Exception) -> int:
    """Print one sentence about an error that nobody has caught; gives the exit code.

    Its traceback goes to errors.log, unless it is one of a file that its user can mend.
    """
    if isinstance(error, OSError) and (sentence := about_file(error)) is not None:
        return _refuse(error, sentence)
    place = ""
    with suppress(ConfigError):
        place = f"; {open_log(None, 'INFO', 'errors')} has the details"
        log.error("an error of our own", exc_info=error)
    say(f"met an unexpected {type(error).__name__}: {error}{place}")
    return BROKEN


def is_terminal() -> bool:
    """True where stdout is a terminal."""
    return sys.stdout.isatty()


# Tables on a terminal.


def drawn(table: Table, styles: dict[str, str], *, fold: bool = False) -> RichTable:
    """Format a table for a terminal; cells that are keys of `styles` get that style.

    Where the width is too small, the last column is cut off, or continues below with `fold`.
    """
    from rich.table import Table as RichTable
    from rich.text import Text

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
        shown.add_row(*(Text(clean(cell), style=styles.get(cell, "")) for cell in row))
    return shown
