"""The edge to the user: errors become one sentence on stderr and an exit code, tracebacks go to the log."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import typer

from bimodal.errors import BimodalError
from bimodal.workers.actor import BROKEN, REFUSED
from bimodal.workers.capture.redact import redact
from bimodal.workers.confidential import ConfidentialFormatter
from bimodal.workers.errors import ConfigError

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
def edge(log_file: Path | None = None) -> Iterator[None]:
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
    """Where logs go: XDG_STATE_HOME/bimodal, by default ~/.local/state/bimodal."""
    base = os.environ.get("XDG_STATE_HOME")
    # Without HOME, and for a user that the machine does not know, the tilde stays.
    return (Path(base) if base else Path(os.path.expanduser("~/.local/state"))) / "bimodal"  # noqa: PTH111


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
