"""Keeps passwords out of the log, whatever library's error text brings them there."""

from __future__ import annotations

import logging
import re
import sys
import threading
from types import TracebackType

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


# Addresses as messages and logs may show them.


_SCHEME = r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2})"
# Credentials end at the last @ before the path. A password with an unescaped / or ? puts its @ behind the path's
# beginning: wherever a : stands before an @, rather too much is hidden than a password shown.
_CREDENTIALS = re.compile(_SCHEME + r"(?:[^/?#\s]*|[^\s@]*:\S*)@")
_SECRET_PARAMETERS = re.compile(
    r"(?P<name>[?&;][^=&;#\s]*(?:pass|pwd|pw|token|secret|key|auth|sig)[^=&;#\s]*=)[^&;#\s]*", re.IGNORECASE
)


def redact(url: str) -> str:
    """The address, or a text with addresses, without user names, passwords and secret-looking query values."""
    return _SECRET_PARAMETERS.sub(r"\g<name>***", _CREDENTIALS.sub(r"\g<scheme>***@", url))
