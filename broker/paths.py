"""Paths as text. File names are bytes, and need not be UTF-8; messages, settings and tables are UTF-8."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

# No path of the system holds it, so packed paths can't be taken for others.
PACKED = "\0"


def shown(path: str | os.PathLike[str]) -> str:
    """The path as people read it: bytes that are no UTF-8 become %XX."""
    text = os.fspath(path)
    return "".join(_percent(character) if "\udc80" <= character <= "\udcff" else character for character in text)


def _percent(surrogate: str) -> str:
    return f"%{ord(surrogate) - 0xDC00:02X}"


def pack(path: str | os.PathLike[str]) -> str:
    """The path as text that JSON carries; `unpack` returns exactly this path."""
    text = os.fspath(path)
    return text if _is_utf8(text) else PACKED + quote_from_bytes(os.fsencode(text))


def unpack(text: str) -> Path:
    """The path of a packed text; a plain path stays as it is."""
    return Path(os.fsdecode(unquote_to_bytes(text[1:]))) if text.startswith(PACKED) else Path(text)


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
