"""To which source a result belongs: results of another one are not replaced unless that is asked for."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import msgspec

from bimodal.broker.paths import shown, unpack
from bimodal.recordings.records import CLIP_SUFFIX, ClipRecord, SourceRecord

# What tells that there are results of this name.
ENDINGS = (".jsonl", ".summary.json", CLIP_SUFFIX)
CHUNK = 2**20
STDIN = "-"


def belongs_to(folder: Path, name: str) -> SourceRecord | None:
    """The source whose results lie in a folder under a name; None where there are none, or they don't tell."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / f"{name}{CLIP_SUFFIX}").read_bytes(), type=ClipRecord).stream.source
    return None


def refusal(folder: Path, name: str, file: str, path: Path) -> str | None:
    """Why the results of a source may not be written under a name, in one sentence; None where they may.

    They may where nothing lies there, or results of the same source: of the same path, or of the same bytes where the
    old path is no more (a study that was moved).

    Args:
        file: the source as its record has it (broker/paths.py: packed), or its address.
        path: where its bytes are.
    """
    if not any((folder / f"{name}{ending}").exists() for ending in ENDINGS):
        return None
    before = belongs_to(folder, name)
    if before is not None and before.file is not None:
        of_a_file = file != STDIN and "://" not in file
        if before.file == file and (of_a_file or _same_bytes(before, path)):
            return None
        if of_a_file and not unpack(before.file).exists() and _same_bytes(before, path):
            return None
    whose = "results that don't say of which file" if before is None else f"the results of {_named(before)}"
    mine = "what stdin gives" if file == STDIN else file if "://" in file else shown(unpack(file))
    place = folder / name
    return f"{place}.… holds {whose}, not of {mine}: nothing was replaced; use another folder, or --overwrite"


def _named(source: SourceRecord) -> str:
    if source.file == STDIN:
        return "other media from stdin"
    return source.name if source.file is None else shown(unpack(source.file))


def _same_bytes(before: SourceRecord, path: Path) -> bool:
    if before.sha256 is None:
        return False
    with contextlib.suppress(OSError):
        return path.stat().st_size == before.bytes and sha256_of(path) == before.sha256
    return False


def sha256_of(path: Path) -> str:
    """Checksum of a file's bytes, in hexadecimal. Raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
