"""Results of one run of a stream on disk: written under temporary names, renamed when complete."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from bimodal.broker.events import Emotion
from bimodal.broker.messages import StreamOpened
from bimodal.errors import BimodalError
from bimodal.recordings.records import CLIP_SUFFIX, ClipRecord, pretty
from bimodal.recordings.summary import Summarizer
from bimodal.recordings.tables import TableFile, csv_header, csv_lines, event_line, rows

LINES, CSV, TABLE, SUMMARY = ".jsonl", ".csv", ".parquet", ".summary.json"
LONGEST_NAME = 200
PENDING_BYTES = 1024 * 1024


class Recording:
    """Writer of NAME.jsonl, NAME.csv, NAME.parquet, NAME.summary.json and (with `clip`) NAME.session.json.

    For a file (policy `every`), results of an earlier run are replaced only when this one is complete. The lines of a
    live stream have their final name from the beginning. After a RecordError the recording is over and nothing needs
    to be cleaned up: temporaries of a file are deleted, since it can be analysed again; of a live stream, which can't
    be repeated, all lines of the last flush are kept.

    Args:
        folder: folder of the results, created if missing.
        name: NAME, a plain file name; for a live stream, one that is not taken.
        opened: the stream, as capture announced it.
        source_file: `file` of the summary.
        now: monotonic seconds at the start of the work.
        clip: returns the content of NAME.session.json, called at the end; None writes none.
        lines: False writes no NAME.jsonl, and makes all other files for lines that exist already.

    Raises RecordError if the files can't be created.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        opened: StreamOpened,
        source_file: str,
        now: float,
        *,
        clip: Callable[[], ClipRecord] | None = None,
        lines: bool = True,
    ) -> None:
        _check_name(name)
        self.folder = folder
        self.name = name
        self._live = opened.policy == "latest"
        self._started = now
        self._clip = clip
        self._summary = Summarizer(opened, source_file.encode("utf-8", "replace").decode())
        self._texts: dict[str, PartFile] = {}
        self._table: TableFile | None = None
        self._unflushed = 0
        self._current = folder / name
        wanted = [LINES] * lines + [CSV, TABLE] + [CLIP_SUFFIX] * (clip is not None) + [SUMMARY]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for suffix in wanted:
                self._current = folder / f"{name}{suffix}"
                if suffix == TABLE:
                    self._table = TableFile(self._current)
                else:
                    self._texts[suffix] = PartFile(self._current, at_once=self._live and suffix == LINES)
        except OSError as error:
            self.abandon()
            raise RecordError(describe(error, self._current)) from error
        self._texts[CSV].write(csv_header())

    @property
    def next_seq(self) -> int:
        """The next sequence number if no frame is lost."""
        return self._summary.next_seq

    @property
    def frames(self) -> int:
        """The number of events added so far."""
        return self._summary.frames

    def add(self, event: Emotion) -> None:
        """Add the stream's next event; it is written with the next `flush`.

        Raises RecordError if the event is out of order, the recording is over, or writing fails.
        """
        table_file = self._check_open()
        if event.seq < self._summary.next_seq:
            raise self._given_up(
                f"frame {event.seq} of {event.stream} came when frame {self._summary.next_seq} was due, "
                "so its results would not be in order; start again"
            )
        table = rows(event)
        lines = csv_lines(table)
        self._texts[CSV].write(lines)
        table_file.add(table)
        self._unflushed += len(lines)
        if LINES in self._texts:
            line = event_line(event)
            self._texts[LINES].write(line)
            self._unflushed += len(line)
        self._summary.add(event)
        if self._unflushed > PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write everything so far to the files; to be called twice a second.

        Raises RecordError if writing fails.
        """
        self._check_open()
        try:
            for file in self._files():
                self._current = file.final
                file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self._unflushed = 0

    def close(self, now: float, frames_offered: int | None = None) -> tuple[Path, ...]:
        """Write table and summary, rename all files, and return their paths: lines, CSV, table, summary.

        The summary is renamed last: where there is one, the other files are complete.

        Args:
            now: monotonic seconds.
            frames_offered: number of frames that the stream had, if known; missing ones count as lost.

        Raises RecordError if writing fails.
        """
        self._check_open()
        summary = self._summary.summary(now - self._started, frames_offered)
        self._texts[SUMMARY].write(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
        if self._clip is not None:
            self._texts[CLIP_SUFFIX].write(pretty(self._clip()))
        try:
            for file in self._files():
                self._current = file.final
                file.finish()
            for file in self._files():
                self._current = file.final
                file.rename()
        except OSError as error:
            raise self._failed(error) from error
        paths = tuple(file.final for file in self._files())
        self._forget()
        return paths

    def stop(self, now: float) -> tuple[Path, ...]:
        """End before the stream has ended: complete a live stream's results, abandon a file's.

        Returns the finished paths, none for a file. Raises RecordError if writing fails.
        """
        if self._live and self._texts:
            return self.close(now)
        self.abandon()
        return ()

    def abandon(self) -> None:
        """Delete the files, if there are any; never raises."""
        for file in self._files():
            file.discard()
        self._forget()

    def _files(self) -> list[PartFile | TableFile]:
        """The files in the order in which they are renamed."""
        texts = dict(self._texts)
        last = [texts.pop(SUMMARY)] if SUMMARY in texts else []
        return [*texts.values(), *([self._table] if self._table is not None else []), *last]

    def _forget(self) -> None:
        self._texts.clear()
        self._table = None

    def _check_open(self) -> TableFile:
        if self._table is None:
            raise RecordError(f"the recording {self.name} is over; start a new one")
        return self._table

    def _failed(self, error: OSError) -> RecordError:
        return self._given_up(describe(error, self._current))

    def _given_up(self, reason: str) -> RecordError:
        if not self._live:
            self.abandon()
            return RecordError(reason)
        for file in self._files():
            file.keep()
        self._forget()
        return RecordError(f"{reason} (what came before is kept in {self.folder / f'{self.name}{LINES}'})")


def _check_name(name: str) -> None:
    """Raise RecordError unless `name` is a plain file name, short enough for prefix and suffixes."""
    plain = name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}
    if not plain or len(os.fsencode(name)) > LONGEST_NAME:
        raise RecordError(f"'{name[:80]}' can't name a result: use at most {LONGEST_NAME} bytes without slashes")


# Files of a recording


class PartFile:
    """A file under its temporary name `.NAME.part`; whole lines are buffered until `flush` writes them.

    With `at_once` it has its final name from the beginning and never replaces an older file, so that a live stream
    can be read while it is recorded, and after a crash.

    Raises OSError as the system does.
    """

    def __init__(self, final: Path, *, at_once: bool = False) -> None:
        self.final = final
        self.part = final if at_once else final.with_name(f".{final.name}.part")
        self._pending: list[bytes] = []
        self._written = 0
        self._file: BinaryIO | None = self.part.open("xb" if at_once else "wb", buffering=0)

    def write(self, lines: bytes) -> None:
        """Buffer whole lines for the next flush."""
        self._pending.append(lines)

    def flush(self) -> None:
        """Write all buffered lines at once, so that a reader of the file sees whole lines only."""
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        size = len(data)
        while self._file is not None and data:
            data = data[self._file.write(data) :]
        self._written += size

    def finish(self) -> None:
        """Write all buffered lines, sync to disk and close; the name stays."""
        self.flush()
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def rename(self) -> None:
        """Rename to the final name, replacing an older result."""
        self.part.replace(self.final)

    def keep(self) -> None:
        """Close, and keep what complete flushes have written under the present name; never raises."""
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
    """Replace a small file atomically: readers see the old or the new one. Raises OSError."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


# Errors

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class RecordError(BimodalError):
    """The results of a stream can't be written or read; the message is one sentence a user can act on."""


def describe(error: OSError, path: Path) -> str:
    """Describe an error of writing `path` as a sentence for the user."""
    folder = path.parent
    if error.errno in FULL:
        return f"the disk is full: {folder} has no room for {path.name}; free some space, then start again"
    if error.errno == errno.EFBIG:
        return f"{path.name} has become larger than {folder} allows a file to be; use another folder"
    if error.errno in FORBIDDEN:
        return f"{folder} may not be written to; change its permissions or use another folder"
    reason = (error.strerror or type(error).__name__).lower()
    return f"{path.name} can't be written into {folder}: {reason}; use another folder"
