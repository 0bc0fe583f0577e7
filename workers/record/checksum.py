"""The checksum of a source file, taken beside the work: a film of many gigabytes must not hold up its results."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from bimodal.workers.record.records import SourceRecord

CHUNK = 2**20


class SourceCheck:
    """Reads the file in a thread of its own; `record` may be asked for at any time."""

    def __init__(self, name: str, file: Path | None) -> None:
        """`name` is what the stream calls its source; without a file there is nothing to read."""
        self._name = name
        self._file = file
        self._bytes: int | None = None
        self._sha256: str | None = None
        self._thread = threading.Thread(target=self._read, name="checksum", daemon=True)
        if file is not None:
            self._thread.start()

    def _read(self) -> None:
        assert self._file is not None
        digest = hashlib.sha256()
        try:
            with self._file.open("rb") as file:
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    self._bytes = file.tell()
        except OSError:
            return
        self._sha256 = digest.hexdigest()

    def record(self, patience_s: float = 0.0) -> SourceRecord:
        """The source as far as it is known, after waiting at most `patience_s` for the checksum."""
        if self._file is None:
            return SourceRecord(name=self._name)
        self._thread.join(patience_s)
        whole = not self._thread.is_alive()
        return SourceRecord(
            name=self._name,
            file=str(self._file),
            bytes=self._bytes if whole else None,
            sha256=self._sha256 if whole else None,
        )
