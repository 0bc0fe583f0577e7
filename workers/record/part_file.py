"""One file of a recording: grows by whole lines, and takes its finished name when it is complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO


class PartFile:
    """A file under its temporary name `.NAME.part`; whole lines are kept back until `flush` writes them.

    With `at_once` it has its finished name from the beginning and never replaces an older file: what is live can be
    read while it grows, and after a crash.

    Raises OSError as the system gives it.
    """

    def __init__(self, final: Path, *, at_once: bool = False) -> None:
        self.final = final
        self.part = final if at_once else final.with_name(f".{final.name}.part")
        self._pending: list[bytes] = []
        self._written = 0
        self._file: BinaryIO | None = self.part.open("xb" if at_once else "wb", buffering=0)

    def write(self, lines: bytes) -> None:
        """Keep whole lines for the next flush."""
        self._pending.append(lines)

    def flush(self) -> None:
        """Write what is pending, so that a reader of the file sees whole lines only."""
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        size = len(data)
        while self._file is not None and data:
            data = data[self._file.write(data) :]
        self._written += size

    def finish(self) -> None:
        """Write what is pending through to the disk and close; the name stays."""
        self.flush()
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def rename(self) -> None:
        """Take the finished name, replacing an older result."""
        self.part.replace(self.final)

    def keep(self) -> None:
        """Close, and keep under its present name what the last whole flush had written; never raises."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                os.ftruncate(self._file.fileno(), self._written)
                self._file.close()
        self._file = None

    def discard(self) -> None:
        """Close and delete the file; never raises."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)


def replace_text(path: Path, data: bytes) -> None:
    """Write a small file so that a reader sees the old or the new one, never a half. Raises OSError."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
