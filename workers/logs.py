"""Logs without passwords, also in the error texts of libraries."""

from __future__ import annotations

import logging
import re
import sys
import threading
from types import TracebackType

log = logging.getLogger(__name__)


class ConfidentialFormatter(logging.Formatter):
    """Formats a record with its traceback, and hides the passwords of addresses in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Format and redact the record."""
        return redact(super().format(record))


def log_uncaught_errors() -> None:
    """Log errors that end a thread or the process, redacted: Python itself would print addresses as they are."""
    sys.excepthook = _log
    threading.excepthook = lambda found: _log(found.exc_type, found.exc_value, found.exc_traceback)


def _log(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if error is not None and not issubclass(kind, SystemExit):
        log.error("an error of our own", exc_info=(kind, error, traceback))


# Redaction of addresses in messages and logs.

_SCHEME = r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2})"
# Credentials end at the last @ before the path. With an unescaped / or ? in a password, the @ lies in the path: where a
# : stands before an @, too much is hidden rather than a password shown.
_CREDENTIALS = re.compile(_SCHEME + r"(?:[^/?#\s]*|[^\s@]*:\S*)@")
_SECRET_PARAMETERS = re.compile(
    r"(?P<name>[?&;][^=&;#\s]*(?:pass|pwd|pw|token|secret|key|auth|sig)[^=&;#\s]*=)[^&;#\s]*", re.IGNORECASE
)


def redact(url: str) -> str:
    """Hide user names, passwords and secret-looking query values in an address, or in a text with addresses."""
    return _SECRET_PARAMETERS.sub(r"\g<name>***", _CREDENTIALS.sub(r"\g<scheme>***@", url))
