"""Text that is safe to show: without the passwords of addresses, and without characters that steer a terminal."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

HIDDEN = "***"
ESCAPES = "write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and a space as %20"
SECRET_WORDS = "pass|psw|pwd|pw|token|secret|key|auth|sig|cred|session|sid|code|login"  # noqa: S105

_ADDRESS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2})(?P<rest>\S+)")
# A password with a space: what looks like a port is none, and an @ follows later in the line.
_WITH_SPACE = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2})[^\s@/:\[\]]*:(?!\d+(?:[/?#\s]|$))[^\s@]*[^\S\n][^\n@]{0,200}@"
)
_SECRET_PARAMETERS = re.compile(rf"(?P<name>[?&;][^=&;#\s]*(?:{SECRET_WORDS})[^=&;#\s]*=)[^&;#\s]*", re.IGNORECASE)
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?['\"),.;:!]*")


class Parts(NamedTuple):
    """An address in its parts. `clear`: whether it can be read in one way only; where not, `tail` is not shown."""

    scheme: str
    credentials: str | None
    host: str
    tail: str
    clear: bool


def parts(address: str) -> Parts:
    """Split an address. A password in which @ : / ? # or a space stand unescaped is still found whole.

    Credentials end at the last @ of the address, unless nothing in it looks like a password.
    """
    found = _ADDRESS.match(address)
    scheme = found["scheme"] if found is not None else ""
    rest = address[len(scheme) :]
    authority, tail = _split(rest)
    if "@" in tail and ":" in authority:
        # The end of a password, or an @ in a path: nobody can tell.
        before, _, after = rest.rpartition("@")
        return Parts(scheme, before, _split(after)[0].split()[0] if after.split() else "", "", False)
    credentials, _, host = authority.rpartition("@")
    if "@" not in authority and not _PORT.fullmatch(authority):
        return Parts(scheme, authority, "", "", False)
    return Parts(scheme, credentials if "@" in authority else None, host, tail, True)


def _split(rest: str) -> tuple[str, str]:
    place = min((found for mark in "/?#" if (found := rest.find(mark)) >= 0), default=len(rest))
    return rest[:place], rest[place:]


def escape_hint(address: str) -> str | None:
    """What to do about characters in an address's password that should be escaped; None where there are none."""
    found = parts(address)
    odd = not found.clear or any(char in (found.credentials or "").partition(":")[2] for char in "@: ")
    return f"if its password has one of these, escape it: {ESCAPES}" if odd else None


# Secrets that this process knows, which are hidden wherever they appear, in whatever form.
_known: dict[str, str] = {}
LEAST_SECRET = 4


def remember_address(address: str) -> None:
    """Hide this address's credentials in all text from now on, also outside of the address and escaped otherwise."""
    found = parts(address)
    _known[address] = shown_address(address)
    if found.credentials:
        password = found.credentials.partition(":")[2]
        for secret in {found.credentials, unquote(found.credentials), password, unquote(password)}:
            remember_secret(secret)


def remember_secret(secret: str) -> None:
    """Hide this text wherever it appears from now on, unless it is too short to be told from other text."""
    if len(secret) >= LEAST_SECRET:
        _known[secret] = HIDDEN


def shown_address(address: str) -> str:
    """An address as it may be shown: without its credentials and secret-looking query values. Where it can't be read in
    one way only, nothing but its host."""
    found = parts(address)
    if not found.clear:
        return f"{found.scheme}{HIDDEN}" + (f"@{found.host}" if found.host else "")
    secret = f"{HIDDEN}@" if found.credentials is not None else ""
    return found.scheme + secret + found.host + _SECRET_PARAMETERS.sub(rf"\g<name>{HIDDEN}", found.tail)


def redact(text: str) -> str:
    """Hide user names, passwords and secret-looking query values of the addresses in a text, and known secrets."""
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, _known[secret])
    text = _WITH_SPACE.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _ADDRESS.sub(lambda match: shown_address(match[0]), text)


# Characters.

# Joiners are part of some scripts and of emoji, and steer nothing.
JOINERS = "\u200c\u200d"


def clean(text: str) -> str:
    """Escape line breaks, control characters, and characters that change the direction of text: a file's name must not
    forge a line of the log, or clear a terminal."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in JOINERS else char.encode("unicode_escape").decode() for char in text
    )


def clean_lines(text: str) -> str:
    """Clean every line of a text of several."""
    return "\n".join(map(clean, text.split("\n")))


def safe(text: str) -> str:
    """Redact and clean a sentence."""
    return clean(redact(text))
