"""Results of one run of a stream on disk: written under temporary names, renamed when complete."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bimodal.broker.events import Emotion, Hop
from bimodal.broker.messages import StreamOpened
from bimodal.errors import BimodalError
from bimodal.recordings.parts import PartFile, folder_lock, leftovers, sweep
from bimodal.recordings.records import CLIP_SUFFIX, ClipRecord, pretty, set_of
from bimodal.recordings.segments import Segment, SegmentFinder, in_order
from bimodal.recordings.summary import Summarizer
from bimodal.recordings.tables import (
    SEGMENT_COLUMNS,
    TableFile,
    csv_header,
    csv_lines,
    event_line,
    frame_columns,
    hop_columns,
    hop_row,
    rows,
    segment_row,
)

if TYPE_CHECKING:
    import pyarrow as pa

LINES, CSV, TABLE, SUMMARY = ".jsonl", ".csv", ".parquet", ".summary.json"
SPEECH = ".speech"
SEGMENT_CSV, SEGMENT_TABLE = (".segments" + suffix for suffix in (CSV, TABLE))
HOP_LINES, HOP_CSV, HOP_TABLE = (SPEECH + suffix for suffix in (LINES, CSV, TABLE))
MADE_FROM_RESULTS = (".html", ".annotated.mp4", ".eaf", ".TextGrid", ".vtt", ".srt", ".boris", ".long.csv")
LONGEST_NAME = 200
PENDING_BYTES = 1024 * 1024


class Recording:
    """Writer of NAME.jsonl, NAME.csv, NAME.parquet, the same of the voice (NAME.speech.…) where the stream has sound,
    NAME.segments.csv and .parquet, NAME.summary.json and (with `clip`) NAME.session.json.

    For a file (policy `every`), results of an earlier run are replaced only when this one is complete, all at one
    moment. Temporary files are of this run alone: those of dead runs are deleted, and where another run is writing
    results of this name, this one is refused. The lines of a
    live stream have their final name from the beginning. After a RecordError the recording is over and nothing needs
    to be cleaned up: temporaries of a file are deleted, since it can be analysed again; of a live stream, which can't
    be repeated, all lines of the last flush are kept.

    Args:
        folder: folder of the results, created if missing.
        name: NAME, a plain file name; for a live stream, one that is not taken.
        opened: the stream, as capture announced it; it says which emotions the tables have columns for.
        source_file: `file` of the summary.
        now: monotonic seconds at the start of the work.
        clip: returns the content of NAME.session.json, called at the end; None writes none.
        lines: False writes no NAME.jsonl and no NAME.speech.jsonl, and makes all other files for lines that exist.
        alone: the folder was swept, and a claim keeps other runs away from this name, so it need not be listed.
        guard: called when everything is written and nothing is renamed yet; returns why results that lie there may not
            be replaced, else None.

    Attributes:
        tables: after `close`, the rows of the Parquet files by suffix, of those that are short (`TableFile.whole`).

    Raises RecordError if the files can't be created, or another run is writing them.
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
        alone: bool = False,
        guard: Callable[[], str | None] = lambda: None,
    ) -> None:
        _check_name(name)
        self.folder = folder
        self.name = name
        self._live = opened.policy == "latest"
        self._started = now
        self._clip = clip
        self._alone = alone
        self._summary = Summarizer(opened, source_file.encode("utf-8", "replace").decode())
        self._guard = guard
        self._finder = SegmentFinder(hops=opened.has_sound)
        emotions = set_of(opened)
        self._columns, self._hop_columns = frame_columns(emotions), hop_columns(emotions)
        self._segments: list[Segment] = []
        self._texts: dict[str, PartFile] = {}
        self._tables: dict[str, TableFile] = {}
        self.tables: dict[str, pa.Table] = {}
        self._unflushed = 0
        self._current = folder / name
        voice = opened.has_sound
        wanted = [LINES] * lines + [CSV, TABLE] + [HOP_LINES] * (voice and lines) + [HOP_CSV, HOP_TABLE] * voice
        wanted += [SEGMENT_CSV, SEGMENT_TABLE]
        wanted += [CLIP_SUFFIX] * (clip is not None) + [SUMMARY]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._current = folder
            with folder_lock(folder):
                self._open(wanted)
        except OSError as error:
            self.abandon()
            raise RecordError(describe(error, self._current)) from error
        self._texts[CSV].write(csv_header(self._columns))
        if voice:
            self._texts[HOP_CSV].write(csv_header(self._hop_columns))

    def _open(self, wanted: list[str]) -> None:
        """Delete what dead runs have left, and create the files. Raises OSError; RecordError if a run is alive."""
        names = {f"{self.name}{suffix}" for suffix in wanted}
        if not self._alone and sweep(leftovers(self.folder, names)):
            raise RecordError(
                f"another run is writing the results of {self.name} into {self.folder}; wait for it, or use another "
                "folder"
            )
        tables = {TABLE: self._columns, HOP_TABLE: self._hop_columns, SEGMENT_TABLE: SEGMENT_COLUMNS}
        for suffix in wanted:
            self._current = self.folder / f"{self.name}{suffix}"
            if suffix in tables:
                self._tables[suffix] = TableFile(self._current, tables[suffix])
            else:
                at_once = self._live and suffix in (LINES, HOP_LINES)
                self._texts[suffix] = PartFile(self._current, at_once=at_once)

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
        self._check_open()
        if event.seq < self._summary.next_seq:
            raise self._given_up(
                f"frame {event.seq} of {event.stream} came when frame {self._summary.next_seq} was due, "
                "so its results would not be in order; start again"
            )
        table = rows(event, self._columns)
        lines = csv_lines(table, self._columns)
        self._texts[CSV].write(lines)
        self._tables[TABLE].add(table)
        self._unflushed += len(lines)
        if LINES in self._texts:
            line = event_line(event)
            self._texts[LINES].write(line)
            self._unflushed += len(line)
        self._summary.add(event)
        self._segments += self._finder.on_event(event)
        if self._unflushed > PENDING_BYTES:
            self.flush()

    def add_hop(self, hop: Hop) -> None:
        """Add the next hop of the voice; ignored where the stream was announced without sound. Raises as `add`."""
        self._check_open()
        if HOP_CSV not in self._texts:
            return
        row = hop_row(hop, self._hop_columns)
        lines = csv_lines([row], self._hop_columns)
        self._texts[HOP_CSV].write(lines)
        self._tables[HOP_TABLE].add([row])
        self._unflushed += len(lines)
        if HOP_LINES in self._texts:
            self._texts[HOP_LINES].write(event_line(hop))
        self._summary.add_hop(hop)
        self._segments += self._finder.on_hop(hop)
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
        """Write tables and summary, rename all files, and return their paths: lines, CSV, table, … summary.

        An older summary goes first, and the new one is renamed last: where there is one, the other files are complete.
        What says of which source they are is renamed before them, so that a run that was killed in between is known.

        Args:
            now: monotonic seconds.
            frames_offered: number of frames that the stream had, if known; missing ones count as lost.

        Raises RecordError if writing fails.
        """
        self._check_open()
        summary = self._summary.summary(now - self._started, frames_offered)
        self._texts[SUMMARY].write(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
        stretches = [segment_row(one) for one in in_order([*self._segments, *self._finder.finish()])]
        self._texts[SEGMENT_CSV].write(csv_header(SEGMENT_COLUMNS) + csv_lines(stretches, SEGMENT_COLUMNS))
        self._tables[SEGMENT_TABLE].add(stretches)
        if self._clip is not None:
            self._texts[CLIP_SUFFIX].write(pretty(self._clip()))
        try:
            for file in self._files():
                self._current = file.final
                file.finish()
            self._current = self.folder
            with folder_lock(self.folder):
                refused = self._guard()
                if refused is None:
                    self._rename()
        except OSError as error:
            raise self._failed(error) from error
        if refused is not None:
            raise self._given_up(refused)
        paths = tuple(file.final for file in self._files())
        self.tables = {suffix: file.whole for suffix, file in self._tables.items() if file.whole is not None}
        self._forget()
        return paths

    def _rename(self) -> None:
        self._current = self._texts[SUMMARY].final
        self._current.unlink(missing_ok=True)
        for file in sorted(self._files(), key=lambda file: not file.final.name.endswith(CLIP_SUFFIX)):
            self._current = file.final
            file.rename()

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
        """The files: the lines first, the summary last."""
        texts = dict(self._texts)
        last = [texts.pop(SUMMARY)] if SUMMARY in texts else []
        first = [texts.pop(suffix) for suffix in (LINES, CSV) if suffix in texts]
        tables = dict(self._tables)
        return [*first, *([tables.pop(TABLE)] if TABLE in tables else []), *texts.values(), *tables.values(), *last]

    def _forget(self) -> None:
        self._texts.clear()
        self._tables.clear()

    def _check_open(self) -> None:
        if not self._tables:
            raise RecordError(f"the recording {self.name} is over; start a new one")

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
