"""Journals: the rows of finished clips, one line of JSON each, written by the worker before it gives its claim back.

Every worker appends to a file of its own below `corpus/journal/`, so writers never meet; readers read what is new. The
last line of a clip counts, and only where its results are there.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import os
import platform
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import msgspec

from bimodal.broker.paths import shown
from bimodal.corpus.results import Results
from bimodal.corpus.rows import ClipRow
from bimodal.recordings.parts import opened, part_path, sync, tag
from bimodal.recordings.recording import SUMMARY

log = logging.getLogger(__name__)

JOURNAL = "journal"
MERGED = "merged.jsonl"

_decoder = msgspec.json.Decoder(ClipRow)


class JournalWriter:
    """One process's journal; created with the first line, and locked while its process lives.

    Attributes:
        name: of its file, without ending; no other process has it.
    """

    def __init__(self, corpus: Path) -> None:
        host = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node())[:64]
        self.name = f"{host}-{tag()}"
        self._path = corpus / JOURNAL / f"{self.name}.jsonl"
        self._descriptor: int | None = None

    def append(self, rows: list[ClipRow]) -> None:
        """Append rows, and sync them to the disk. Raises OSError."""
        if self._descriptor is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(self._path, flags, 0o666)
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        data = memoryview(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the lock up."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class JournalReader:
    """Reads all journals of a corpus, each line once.

    Attributes:
        damaged: names of the journals with lines that can't be read.
    """

    def __init__(self, corpus: Path) -> None:
        self._folder = corpus / JOURNAL
        self._read: dict[str, int] = {}
        self.damaged: set[str] = set()

    def new_rows(self) -> Iterator[ClipRow]:
        """Yield the rows that were written since the last call, the merged ones first. A torn line is left out."""
        names = [file.name for file in self._folder.glob("*.jsonl")]
        for name in sorted(names, key=lambda name: (name != MERGED, name)):
            path = self._folder / name
            begin = self._read.get(name, 0)
            with contextlib.suppress(OSError), path.open("rb") as file:
                if os.fstat(file.fileno()).st_size <= begin:
                    continue
                file.seek(begin)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # being written, or torn by a kill
                    begin += len(line)
                    try:
                        row = _decoder.decode(line)
                    except msgspec.MsgspecError as error:
                        self._on_damaged(name, error)
                        continue
                    yield row
                self._read[name] = begin

    def _on_damaged(self, name: str, error: msgspec.MsgspecError) -> None:
        if name not in self.damaged:
            self.damaged.add(name)
            log.warning("%s has lines that can't be read, which were left out (%s)", shown(self._folder / name), error)


def counts(results: Results, row: ClipRow) -> bool:
    """True where the results that a row tells of are there."""
    if row.status == "failed":
        return True
    return results.exists(f"corpus/{row.table}" if row.table is not None else f"{row.clip}{SUMMARY}")


def merge_journals(corpus: Path, rows: Iterator[ClipRow], damaged: Collection[str] = ()) -> None:
    """Put all rows into one journal, and delete those of processes that have ended. Raises OSError.

    Args:
        rows: the last row of every clip, of all journals.
        damaged: names of journals with lines that can't be read: they are kept as NAME.damaged, for who wants to look.
    """
    folder = corpus / JOURNAL
    ended = []
    for path in folder.glob("*.jsonl"):
        if path.name == MERGED:
            continue
        descriptor = os.open(path, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ended.append(path)
        os.close(descriptor)
    part = part_path(folder / MERGED)
    try:
        with io.BufferedWriter(opened(part)) as file:
            file.writelines(msgspec.json.encode(row) + b"\n" for row in rows)
            sync(file)
            if MERGED in damaged:
                _put_aside(folder / MERGED)
            part.replace(folder / MERGED)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    for path in ended:
        if path.name in damaged:
            _put_aside(path)
        path.unlink(missing_ok=True)


def _put_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.damaged"))
