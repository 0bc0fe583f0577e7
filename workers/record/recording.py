"""One stream's results on disk: temporary files while it runs, the finished names only when it is complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

import msgspec

from broker.messages import Emotion, StreamOpened
from workers.record.csv_rows import csv_header, csv_lines
from workers.record.errors import RecordError, describe
from workers.record.jsonl import event_line
from workers.record.summary import Summarizer

SUFFIXES = (".jsonl", ".csv", ".summary.json")
LONGEST_NAME = 200
PENDING_BYTES = 1024 * 1024


class PartFile:
    """A file under its temporary name `.NAME.part`; whole lines are kept back until `flush` writes them.

    Raises OSError as the system gives it.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        self.part = final.with_name(f".{final.name}.part")
        self._pending: list[bytes] = []
        self._written = 0
        self._file: BinaryIO | None = self.part.open("wb", buffering=0)

    def write(self, lines: bytes) -> None:
        """Keep whole lines for the next flush."""
        self._pending.append(lines)

    def flush(self) -> None:
        """Write what is pending, so that a reader of the temporary file sees whole lines only."""
        data = memoryview(b"".join(self._pending))
        self._pending.clear()
        size = len(data)
        while self._file is not None and data:
            data = data[self._file.write(data) :]
        self._written += size

    def finish(self) -> None:
        """Write what is pending through to the disk and close; the temporary name stays."""
        self.flush()
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def rename(self) -> None:
        """Take the finished name, replacing an older result."""
        self.part.replace(self.final)

    def keep(self) -> None:
        """Close, and keep under the temporary name what the last whole flush had written; never raises."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                os.ftruncate(self._file.fileno(), self._written)
                self._file.close()
        self._file = None

    def discard(self) -> None:
        """Close and delete the temporary file; never raises."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()
        self._file = None
        with contextlib.suppress(OSError):
            self.part.unlink(missing_ok=True)


class Recording:
    """NAME.jsonl, NAME.csv and NAME.summary.json of one run of one stream, in `folder` (made where it is missing).

    Results of an earlier run keep their place until this one is complete. After a RecordError the recording is over
    and there is nothing to clean up: of a file (policy `every`) the temporaries are deleted, since it can be looked
    at again; of a live stream they stay, with every line of the last flush, since that moment does not come back.

    Args:
        folder: where the files go.
        name: NAME, a plain file name.
        opened: the stream, as capture announced it.
        source_file: what the summary calls `file`.
        now: monotonic seconds at the start of the work.

    Raises RecordError where the files can't be made.
    """

    def __init__(self, folder: Path, name: str, opened: StreamOpened, source_file: str, now: float) -> None:
        _check_name(name)
        self.folder = folder
        self.name = name
        self._live = opened.policy == "latest"
        self._started = now
        self._summary = Summarizer(opened, source_file.encode("utf-8", "replace").decode())
        self._files: dict[str, PartFile] = {}
        self._unflushed = 0
        self._current = folder / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for suffix in SUFFIXES:
                self._current = folder / f"{name}{suffix}"
                self._files[suffix] = PartFile(self._current)
        except OSError as error:
            self.abandon()
            raise RecordError(describe(error, self._current)) from error
        self._files[".csv"].write(csv_header())

    def add(self, event: Emotion) -> None:
        """Take the stream's next event; it reaches the disk with the next `flush`.

        Raises RecordError where the event is out of order, the recording is over, or the disk refuses.
        """
        self._check_open()
        if event.seq < self._summary.next_seq:
            raise self._given_up(
                f"frame {event.seq} of {event.stream} came when frame {self._summary.next_seq} was due, "
                "so its results would not be in order; start again"
            )
        line, table = event_line(event), csv_lines(event)
        self._files[".jsonl"].write(line)
        self._files[".csv"].write(table)
        self._summary.add(event)
        self._unflushed += len(line) + len(table)
        if self._unflushed > PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write everything so far into the temporary files; call it about once a second.

        Raises RecordError where the disk refuses.
        """
        self._check_open()
        try:
            for file in self._files.values():
                self._current = file.final
                file.flush()
        except OSError as error:
            raise self._failed(error) from error
        self._unflushed = 0

    def close(self, now: float, frames_offered: int | None = None) -> tuple[Path, ...]:
        """Write the summary, give the files their finished names, and return them: events, table, summary.

        The summary is renamed last: where it lies, the other two are complete.

        Args:
            now: monotonic seconds.
            frames_offered: how many frames the stream had, where known; missing ones count as lost.

        Raises RecordError where the disk refuses.
        """
        self._check_open()
        summary = self._summary.summary(now - self._started, frames_offered)
        self._files[".summary.json"].write(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
        try:
            for file in self._files.values():
                self._current = file.final
                file.finish()
            for file in self._files.values():
                self._current = file.final
                file.rename()
        except OSError as error:
            raise self._failed(error) from error
        paths = tuple(file.final for file in self._files.values())
        self._files.clear()
        return paths

    def stop(self, now: float) -> tuple[Path, ...]:
        """The recorder is going before the stream has ended: finish what a live stream gave, abandon a file.

        Returns the finished paths, none for a file. Raises RecordError where the disk refuses.
        """
        if self._live and self._files:
            return self.close(now)
        self.abandon()
        return ()

    def abandon(self) -> None:
        """Delete the temporary files, if there still are any; never raises."""
        for file in self._files.values():
            file.discard()
        self._files.clear()

    def _check_open(self) -> None:
        if not self._files:
            raise RecordError(f"the recording {self.name} is over; start a new one")

    def _failed(self, error: OSError) -> RecordError:
        return self._given_up(describe(error, self._current))

    def _given_up(self, because: str) -> RecordError:
        if not self._live:
            self.abandon()
            return RecordError(because)
        for file in self._files.values():
            file.keep()
        self._files.clear()
        return RecordError(f"{because} (what came before is kept as {self.folder / f'.{self.name}.*.part'})")


def _check_name(name: str) -> None:
    """Raises RecordError unless `name` is a plain file name that leaves room for what is put around it."""
    plain = name not in ("", ".", "..") and not set(name) & {"/", "\\", "\0"}
    if not plain or len(os.fsencode(name)) > LONGEST_NAME:
        raise RecordError(f"'{name[:80]}' can't name a result: use at most {LONGEST_NAME} bytes without slashes")
