"""The inputs of `bimodal analyze`: files, addresses, and media from stdin, each with the name of its results."""

from __future__ import annotations

import re
import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bimodal.broker.paths import pack, shown
from bimodal.workers.errors import SourceError
from bimodal.workers.logs import redact

STDIN = "-"
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
FETCHED = {"http", "https"}
TIMEOUT_S = 30.0
# `NAME.speech.jsonl` are the hops of NAME.
RESERVED = (".speech",)


class Input(NamedTuple):
    """One input.

    Attributes:
        file: where its bytes are; absolute.
        name: of its results and its stream.
        given: as the user names it, for sentences.
        identity: what its results belong to: the packed path, an address, or "-".
    """

    file: Path
    name: str
    given: str
    identity: str


def result_names(files: Iterable[Path]) -> list[str]:
    """Name each input's results: its stem, or its whole name (and a number) where stems would collide."""
    files = list(files)
    stems = Counter(shown(file.stem) for file in files)
    names: dict[str, None] = {}
    for file in files:
        name = shown(file.stem)
        if stems[name] > 1 or name.endswith(RESERVED):
            name = shown(file.name)
        unique, number = name, 2
        while unique in names:
            unique, number = f"{name}-{number}", number + 1
        names[unique] = None
    return list(names)


def is_address(given: str) -> bool:
    """True for something like https://…, which no path of a file is."""
    return ADDRESS.match(given) is not None


def gather(
    given: Sequence[str], scratch: Path, *, name: str | None = None, stdin: BinaryIO | None = None
) -> list[Input]:
    """Make inputs of what the user has named. What comes from stdin or by HTTP is stored in `scratch` first.

    Args:
        given: paths, addresses of http and https, or "-" for stdin.
        name: of the results, for a single input.

    Raises SourceError where an address can't be fetched, is live, or stdin is named twice.
    """
    if name is not None and len(given) != 1:
        raise SourceError("--name goes with a single input; several are named after their files")
    if list(given).count(STDIN) > 1:
        raise SourceError("stdin can be read once only, but '-' is named twice")
    files = [_stored(one, number, scratch, name, stdin) for number, one in enumerate(given)]
    names = [name] if name is not None else result_names(files)
    return [
        Input(file, result, redact(one) if is_address(one) else shown(one), _identity(one, file))
        for one, file, result in zip(given, files, names, strict=True)
    ]


def _identity(given: str, file: Path) -> str:
    if given == STDIN:
        return STDIN
    return redact(given) if is_address(given) else pack(file)


def _stored(given: str, number: int, scratch: Path, name: str | None, stdin: BinaryIO | None) -> Path:
    if given == STDIN:
        folder = _folder(scratch, number)
        place = folder / (name or "stdin")
        with place.open("wb") as file:
            shutil.copyfileobj(stdin or sys.stdin.buffer, file)
        if not place.stat().st_size:
            raise SourceError("stdin is empty: nothing was sent to it")
        return place
    if is_address(given):
        return _fetched(given, _folder(scratch, number))
    return Path(given).absolute()


def _folder(scratch: Path, number: int) -> Path:
    folder = scratch / str(number)
    folder.mkdir(parents=True)
    return folder


def _fetched(address: str, folder: Path) -> Path:
    parts = urllib.parse.urlsplit(address)
    hidden = redact(address)
    if parts.scheme.lower() not in FETCHED:
        raise SourceError(
            f"{hidden} is no file: analyze fetches http and https; watch a live address with 'bimodal up', as 'url' of "
            "a stream"
        )
    name = Path(urllib.parse.unquote(parts.path)).name or parts.hostname or "address"
    place = folder / name.replace("/", "_").lstrip(".")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, place.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SourceError(f"{hidden} can't be fetched: {reason}") from error
    return place
