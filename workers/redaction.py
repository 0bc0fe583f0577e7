"""Text that is safe to show: without the passwords of addresses, and without characters that steer a terminal."""

from __future__ import annotations

import base64
import json
import re
from typing import NamedTuple
from urllib.parse import quote, unquote

HIDDEN = "***"
ESCAPES = "write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and a space as %20"
SECRET_WORDS = "pass|psw|pwd|pw|token|secret|key|auth|sig|cred|session|sid|code|login"  # noqa: S105

# Repetitions are bounded, so that long texts take no time that grows with their square.
_SCHEME = r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{1,30}:[/\\]{1,9}|[a-zA-Z]://)"
_ADDRESS = re.compile(rf"{_SCHEME}(?P<rest>\S+)")
# A password with a space: what looks like a port is none, and an @ follows later in the line.
_WITH_SPACE = re.compile(rf"{_SCHEME}[^\s@/:\[\]]{{0,99}}:(?!\d+(?:[/?#\s]|$))[^\s@]{{0,99}}[^\S\n][^\n@]{{0,200}}@")
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?['\"),.;:!]*")

# Parameters.
_SECRET_NAME = re.compile(
    f"{SECRET_WORDS}|hmac|jwt|ticket|otp|nonce|bearer|hash|hdn|policy|psk|challenge|access|streamid|sas", re.IGNORECASE
)
# Of live sources only: of a clip these may say which one it is.
_SECRET_NAME_OF_LIVE = re.compile(rf"{_SECRET_NAME.pattern}|user|usr|(?:^|[_-])(?:p|u|k|s|st|pin)$", re.IGNORECASE)
_NAME = re.compile(r"[\w.~\[\]$:-]+")
_IN_PATH, _IN_QUERY = re.compile(r"([/;, ])"), re.compile(r"([?&;#]|,(?=[\w.-]+=))")
_AROUND = re.compile(r"['\"),.:;!\]>]{0,9}$")
# A key of a stream, the id of a webhook: long, and of letters and digits.
_OPAQUE = re.compile(r"(?=[^/]*\d)(?=[^/]*[A-Za-z])[\w~+=-]{16,}")


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
    scheme = found["scheme"] if found is not None else address[: len(address) - len(address.lstrip("/"))]
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
# Of what may be a common word as well.
LEAST_VALUE = 8


def remember_address(address: str) -> None:
    """Hide this address's credentials in all text from now on, also outside of the address and escaped otherwise."""
    found = parts(address)
    hidden = shown_address(address)
    if hidden != address:
        _known[address] = hidden
    if found.credentials:
        user, _, password = found.credentials.partition(":")
        for secret in {found.credentials, password}:
            remember_secret(secret)
        both = f"{unquote(user)}:{unquote(password)}"
        remember_secret(base64.b64encode(both.encode("utf-8", "surrogateescape")).decode())
    for value in _secret_values(found.tail):
        remember_secret(value, LEAST_VALUE)


def remember_secret(secret: str, least: int = LEAST_SECRET) -> None:
    """Hide this text wherever it appears from now on, unless it is too short to be told from other text.

    Also as an address, JSON and a traceback write it.
    """
    plain = unquote(secret)
    for form in (secret, plain, quote(plain), quote(plain, safe=""), json.dumps(plain)[1:-1], repr(plain)[1:-1]):
        if len(form) >= least:
            _known[form] = HIDDEN


def shown_address(address: str) -> str:
    """The address of a live source or a receiver as it may be shown: without its credentials, secret-looking query
    values and keys in its path. Where it can't be read in one way only, nothing but its host."""
    return _shown(address, live=True)


# Addresses within an address that are looked into; deeper ones are hidden whole.
MOST_WITHIN = 3


def _shown(address: str, *, live: bool = False, depth: int = 0) -> str:
    found = parts(address)
    if not found.clear:
        return f"{found.scheme}{HIDDEN}" + (f"@{found.host}" if found.host else "")
    secret = f"{HIDDEN}@" if found.credentials is not None else ""
    around = _AROUND.search(found.tail)
    assert around is not None
    tail = found.tail[: around.start()]
    return found.scheme + secret + found.host + _shown_tail(tail, live, depth) + around[0]


def _shown_tail(tail: str, live: bool, depth: int) -> str:
    """Path, query and fragment without the values of secret-looking names. An address within is an address, too."""
    place = min((at for mark in "?#" if (at := tail.find(mark)) >= 0), default=len(tail))
    path = _shown_within(tail[:place], depth)
    if path == tail[:place]:
        pieces = [_shown_piece(piece, live, depth) for piece in _IN_PATH.split(path)]
        path = "".join(HIDDEN if live and _OPAQUE.fullmatch(piece) else piece for piece in pieces)
    shown, after_secret = [], False
    for piece in _IN_QUERY.split(tail[place:]):
        name, equals, _ = piece.partition("=")
        if _IN_QUERY.fullmatch(piece) or not piece:
            shown.append(piece)
        elif after_secret and not (equals and _NAME.fullmatch(unquote(name))):
            shown.append(HIDDEN)  # the rest of a value with an unescaped mark
        else:
            shown.append(_shown_piece(piece, live, depth))
            after_secret = shown[-1] != piece
    return path + "".join(shown)


def _shown_piece(piece: str, live: bool, depth: int) -> str:
    """A part of a path or a query, NAME=VALUE where it has that form."""
    name, equals, value = piece.partition("=")
    if not equals and "=" in (plain := unquote(piece)):
        name, equals, value = plain.partition("=")
    if not equals:
        return piece
    names = _SECRET_NAME_OF_LIVE if live else _SECRET_NAME
    if names.search(unquote(name)) or (live and _OPAQUE.fullmatch(value)):
        return f"{name}={HIDDEN}"
    hidden = _shown_within(value, depth)
    return piece if hidden == value else f"{name}={hidden}"


def _shown_within(text: str, depth: int) -> str:
    """A text of an address, itself where no other address with a secret stands in it, also escaped."""
    plain = unquote(text)
    if not _ADDRESS.search(plain):
        return text
    if depth == MOST_WITHIN:
        return HIDDEN
    hidden = _ADDRESS.sub(lambda match: _shown(match[0], depth=depth + 1), plain)
    return text if hidden == plain else hidden


def _secret_values(tail: str) -> list[str]:
    pairs = (piece.partition("=") for piece in _IN_QUERY.split(tail))
    return [value for name, _, value in pairs if value and re.search(SECRET_WORDS, unquote(name), re.IGNORECASE)]


def redact(text: str) -> str:
    """Hide user names, passwords and secret-looking query values of the addresses in a text, and known secrets."""
    for secret in sorted(_known, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, _known[secret])
    text = _WITH_SPACE.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _ADDRESS.sub(lambda match: _shown(match[0]), text)


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


def clean_json(text: str) -> str:
    """Clean a text of JSON, which stays the same JSON: `\\x85` is none of its escapes."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in JOINERS or char == "\n" else json.dumps(char)[1:-1] for char in text
    )


def safe(text: str) -> str:
    """Redact and clean a sentence."""
    return clean(redact(text))
