"""Logs: without passwords, one record a line, in a file that may be renamed, grow, or fill its disk."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import threading
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType

from bimodal.workers.redaction import clean, clean_lines, redact

__all__ = ["ConfidentialFormatter", "LogFile", "is_stream", "log_uncaught_errors", "redact", "reopen"]

log = logging.getLogger(__name__)

STDOUT, STDERR = Path("/dev/stdout"), Path("/dev/stderr")
# Names for the process's own outputs, in containers and under systemd.
STREAMS = {"-": STDERR, "stderr": STDERR, "stdout": STDOUT}
STREAMS |= dict.fromkeys(("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"), STDERR)
STREAMS |= dict.fromkeys(("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"), STDOUT)
MOST_BYTES = 16 * 2**20


def is_stream(path: Path | None) -> bool:
    """True for stdout and stderr, False for a file."""
    return path in (STDOUT, STDERR)


class ConfidentialFormatter(logging.Formatter):
    """Formats a record with its traceback: hides passwords, escapes control characters, and indents all lines but the
    first, so that no text can forge a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Format, redact and clean the record."""
        told = logging.makeLogRecord(record.__dict__)
        told.msg, told.args = clean(redact(record.getMessage())), None
        first, *others = clean_lines(redact(super().format(told))).split("\n")
        return "\n    ".join([first, *others])


class LogFile(logging.handlers.WatchedFileHandler):
    """A log file for several processes, private to its user.

    It is opened again when it was renamed or removed (logrotate, or `rotate` in the supervisor). A full disk loses
    records, and nothing else.
    """

    def __init__(self, path: Path, name: str, *, outputs: bool = False) -> None:
        """Open the file; `outputs`: send stdout and stderr there too, so that what libraries print is kept.

        Raises OSError where it can't be opened.
        """
        self._outputs = outputs
        super().__init__(path, encoding="utf-8")
        self.setFormatter(ConfidentialFormatter(f"%(asctime)s {name} %(levelname)s %(message)s"))

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._outputs:
            for output in (1, 2):
                os.dup2(descriptor, output)
        return os.fdopen(descriptor, "w", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Lose the record: Python would print a traceback for each, to the same full disk or a terminal."""

    def rotate(self, most_bytes: int = MOST_BYTES) -> None:
        """Keep a long log as FILE.1 and begin a new one. For one process; the others follow by themselves."""
        try:
            if Path(self.baseFilename).stat().st_size <= most_bytes:
                return
            self.acquire()
            try:
                Path(self.baseFilename).replace(f"{self.baseFilename}.1")
                self.reopenIfNeeded()
            finally:
                self.release()
        except OSError:
            return  # it is tried again


def reopen() -> None:
    """Open the log files of this process again where they were renamed (SIGHUP)."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.acquire()
            try:
                handler.reopenIfNeeded()
            except OSError:
                continue
            finally:
                handler.release()


def rotate() -> None:
    """Rotate the log files of this process where they are too long."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogFile):
            handler.rotate()


class QuietStream(logging.StreamHandler):  # type: ignore[type-arg]
    """Sends records to stdout or stderr; one that can't be written is lost."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(sys.stdout if path == STDOUT else sys.stderr)
        self.setFormatter(ConfidentialFormatter(f"%(asctime)s {name} %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Lose the record."""


def log_uncaught_errors() -> None:
    """Log errors that end a thread or the process, redacted: Python itself would print addresses as they are."""
    sys.excepthook = _log
    threading.excepthook = lambda found: _log(found.exc_type, found.exc_value, found.exc_traceback)


def _log(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, SystemExit):
        log.error("an error of our own", exc_info=(kind, error, traceback))
