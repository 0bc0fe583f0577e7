"""Values of config.yaml from the environment and from files: `${CAM_PASSWORD}`, `${file:/run/secrets/door}`, and
`token_file: PATH` in place of `token` (`control_token`, `password`, `secret`)."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bimodal.values import WrongValueError
from bimodal.workers.redaction import SECRET_WORDS, remember_secret

MOST_BYTES = 64 * 1024
MOST_DEPTH, MOST_VALUES = 32, 100_000
SECRETS = ("token", "control_token", "password", "secret")
"""Keys that may stand with FILE_SUFFIX and the path of a file in place of their value."""
FILE_SUFFIX = "_file"

_PLACEHOLDER = re.compile(r"\$(?:\$(?=\{)|\{(?P<name>[^{}]*)\})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(SECRET_WORDS, re.IGNORECASE)
_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^@]*$")


class _Reading(NamedTuple):
    """State of one expansion: the variables, a count of the values visited, and the files looked for."""

    environment: Mapping[str, str]
    visited: Iterator[int]
    files: set[Path]


def expand(
    values: object,
    environment: Mapping[str, str] = os.environ,
    place: tuple[str, ...] = (),
    files: set[Path] | None = None,
) -> object:
    """Replace placeholders in all texts of values from YAML; `$${` stands for `${`.

    What is put into the user name and password of an address is escaped. `files` receives each file that was read, or
    could not be. Raises WrongValueError, with the place, for a variable that is not set and a file that can't be read,
    and for values that hold themselves or too many others.
    """
    return _expand(values, _Reading(environment, itertools.count(), set() if files is None else files), place)


def _expand(values: object, reading: _Reading, place: tuple[str, ...]) -> object:
    if len(place) > MOST_DEPTH or next(reading.visited) > MOST_VALUES:
        raise WrongValueError("nests too deeply, or holds too much", *place[:2])
    if isinstance(values, dict):
        found = {key: _expand(item, reading, (*place, str(key))) for key, item in values.items()}
        return _with_secrets(found, reading, place)
    if isinstance(values, list):
        return [_expand(item, reading, (*place, str(number))) for number, item in enumerate(values)]
    return _expand_text(values, reading, place) if isinstance(values, str) else values


def _with_secrets(values: dict[object, object], reading: _Reading, place: tuple[str, ...]) -> dict[object, object]:
    for key in SECRETS:
        file_key = f"{key}{FILE_SUFFIX}"
        file = values.get(file_key)
        if file is None:
            continue
        if key in values:
            raise WrongValueError(f"take '{key}' or '{file_key}', not both", *place)
        if not isinstance(file, str):
            raise WrongValueError("must be the path of a file", *place, file_key)
        rest = {name: value for name, value in values.items() if name != file_key}
        values = {**rest, key: _read(file, reading, (*place, file_key))}
    return values


def _expand_text(text: str, reading: _Reading, place: tuple[str, ...]) -> str:
    parts: list[str] = []
    end = 0
    for match in _PLACEHOLDER.finditer(text):
        parts.append(text[end : match.start()])
        end = match.end()
        name = match["name"]
        value = "$" if name is None else _value(name, reading, place)
        # Before an @ of an address it is a user name or a password.
        if name is not None and "@" in text[end:] and _CREDENTIALS.match(text[: match.start()]):
            value = quote(value, safe="")
        parts.append(value)
    return "".join(parts) + text[end:]


def _value(name: str, reading: _Reading, place: tuple[str, ...]) -> str:
    if name.startswith("file:"):
        return _read(name.removeprefix("file:"), reading, place)
    if not _NAME.fullmatch(name):
        raise WrongValueError(f"'${{{name}}}' names no variable; write $${{ for a plain ${{", *place)
    value = reading.environment.get(name)
    if value is None:
        raise WrongValueError(f"the environment variable {name} is not set", *place)
    if _SECRET.search(name):
        remember_secret(value)
    return value


def _read(file: str, reading: _Reading, place: tuple[str, ...]) -> str:
    """The content of a file with a secret, without the line break at its end."""
    try:
        path = Path(file).expanduser().absolute()
        reading.files.add(path)
        data = path.read_bytes()[: MOST_BYTES + 1]
        text = data.decode().strip("\r\n")
    except OSError as error:
        raise WrongValueError(f"the file {file} can't be read: {error.strerror}", *place) from error
    except UnicodeDecodeError as error:
        raise WrongValueError(f"the file {file} is no text", *place) from error
    if not text or len(data) > MOST_BYTES:
        raise WrongValueError(f"the file {file} is {'empty' if not text else 'too long'}", *place)
    remember_secret(text)
    return text
