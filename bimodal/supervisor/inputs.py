"""The inputs of `bimodal analyze`: files, addresses, and media from stdin, each with the name of its results."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bimodal.broker.paths import pack, shown
from bimodal.supervisor import addresses
from bimodal.supervisor.addresses import is_address
from bimodal.workers.capture.formats import SUFFIXES
from bimodal.workers.errors import SourceError
from bimodal.workers.logs import redact

STDIN = "-"
FETCHED = {"http", "https"}
LIVE = {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt", "mms", "ws", "wss"}
TIMEOUT_S = 30.0
# `NAME.speech.jsonl` are the hops of NAME.
RESERVED = (".speech",)
ANNOTATED = ".annotated.mp4"
FOLDERS_KEPT = 256
NO_NAME = "an empty name names no file and no folder: is a variable empty?"


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


def is_media(name: str) -> bool:
    """True where a file's ending says that it holds media, and it is no film that analyze has made."""
    return Path(name).suffix.lower() in SUFFIXES and not name.endswith(ANNOTATED)


def stems_of(names: Iterable[str]) -> Counter[str]:
    """How many media files there are of each stem, among the names of a folder; hidden files don't count."""
    return Counter(shown(Path(name).stem) for name in names if is_media(name) and not name.startswith("."))


@lru_cache(FOLDERS_KEPT)
def siblings_of(folder: Path) -> Counter[str]:
    """How many media files a folder holds of each stem; none where it can't be read."""
    try:
        return stems_of(file.name for file in folder.iterdir())
    except OSError:
        return Counter()


def result_name(file: Path, stems: Mapping[str, int]) -> str:
    """Name the results of a file: its stem, or its whole name where its folder holds other media of that stem.

    Args:
        stems: of the file's folder (`siblings_of`).
    """
    stem = shown(file.stem)
    others = stems.get(stem, 0) - is_media(file.name)
    return shown(file.name) if others > 0 or stem.endswith(RESERVED) else stem


def _named_once(names: Sequence[str], given: Sequence[str]) -> None:
    """Raise SourceError where results of two files would have one place."""
    taken: dict[str, int] = {}
    for number, name in enumerate(names):
        before = taken.setdefault(name, number)
        if before != number:
            raise SourceError(
                f"the results of {shown(given[before])} and {shown(given[number])} would both be {name}.…: name their "
                "folder instead of them, or give --root, a folder above both"
            )


def gather(
    given: Sequence[str], scratch: Path, *, name: str | None = None, stdin: BinaryIO | None = None
) -> list[Input]:
    """Make inputs of what the user has named. What comes from stdin or an address is stored in `scratch` first.

    Args:
        given: paths, addresses of http, https and all that fsspec knows, or "-" for stdin.
        name: of the results, for a single input.

    Raises SourceError where an address can't be fetched, is live, or stdin is named twice.
    """
    if name is not None and len(given) != 1:
        raise SourceError("--name goes with a single input; several are named after their files")
    if list(given).count(STDIN) > 1:
        raise SourceError("stdin can be read once only, but '-' is named twice")
    given = list(dict.fromkeys(given))
    files = [_stored(one, number, scratch, name, stdin) for number, one in enumerate(given)]
    names = [name] if name is not None else [result_name(file, siblings_of(file.parent)) for file in files]
    _named_once(names, given)
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
    if not given:
        raise SourceError(NO_NAME)
    return Path(given).absolute()


def _folder(scratch: Path, number: int) -> Path:
    folder = scratch / str(number)
    folder.mkdir(parents=True)
    return folder


def _fetched(address: str, folder: Path) -> Path:
    parts = urllib.parse.urlsplit(address)
    hidden = redact(address)
    scheme = addresses.scheme_of(address)
    if scheme in LIVE:
        raise SourceError(f"{hidden} is no file: watch a live address with 'bimodal up', as 'url' of a stream")
    name = Path(urllib.parse.unquote(parts.path) if scheme in FETCHED else address).name or parts.hostname or "address"
    place = folder / (name.replace("/", "_").lstrip(".") or "address")
    if scheme not in FETCHED:
        addresses.fetch(address, place)
        return place
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, place.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise SourceError(f"{hidden} can't be fetched: {reason}") from error
    return place
