"""Addresses as messages and logs may show them."""

from __future__ import annotations

import re

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
