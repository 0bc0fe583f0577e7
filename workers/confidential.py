"""Keeps passwords out of the log, whatever library's error text brings them there."""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType

from bimodal.workers.capture.redact import redact

log = logging.getLogger(__name__)


class ConfidentialFormatter(logging.Formatter):
    """A record as text, with its traceback, in which no address shows its password."""

    def format(self, record: logging.LogRecord) -> str:
        """The text."""
        return redact(super().format(record))


def log_what_nobody_caught() -> None:
    """Send errors that end a thread or the process to the log: Python itself would print addresses as they are."""
    sys.excepthook = _log
    threading.excepthook = lambda found: _log(found.exc_type, found.exc_value, found.exc_traceback)


def _log(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, SystemExit):
        log.error("an error of our own", exc_info=(kind, error, traceback))
