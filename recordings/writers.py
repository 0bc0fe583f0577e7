"""Recordings of live streams, in parts, and of files; see docs/recordings.md."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bimodal.broker.events import Emotion, Hop
from bimodal.broker.messages import StreamOpened
from bimodal.broker.paths import pack, shown
from bimodal.recordings.identity import belongs_to, refusal
from bimodal.recordings.parts import replace_text
from bimodal.recordings.recording import LINES, MADE_FROM_RESULTS, RecordError, Recording, describe
from bimodal.recordings.records import (
    STREAM_FILE,
    ClipRecord,
    PartRecord,
    SessionRecord,
    SourceRecord,
    StreamRecord,
    pretty,
    set_of,
    stream_record,
)

if TYPE_CHECKING:
    import pyarrow as pa


def part_of(t: float, split_s: float) -> int:
    """The number, from 1, of the part of a frame at `t` seconds."""
    return max(0, int(t // split_s)) + 1


def part_name(folder: Path, run: int, part: int) -> str:
    """Return a part's name that is not taken in `folder`; a part that was begun twice gets a suffix "-2"."""
    name = f"{run:04d}-{part:04d}"
    tried = 1
    while (folder / f"{name}{LINES}").exists():
        tried += 1
        name = f"{run:04d}-{part:04d}-{tried}"
    return name


class LiveRecording:
    """Records one run of a live stream, in parts.

    Args:
        folder: of the stream; existing files are kept.
        split_s: duration of a part, in seconds of the stream's own time.
        check: checksum of the source.
        monotonic, wall: clocks, in seconds and as local time.
    """

    def __init__(
        self,
        folder: Path,
        opened: StreamOpened,
        split_s: float,
        check: SourceChecksum,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self.opened = opened
        self._folder = folder
        # The duration of a looped file is that of one round, not of the stream.
        self._endless = msgspec.structs.replace(opened, duration_ns=None)
        self._split_s = split_s
        self._check = check
        self._monotonic, self._wall = monotonic, wall
        self._record = stream_record(self._endless, check.record())
        before = _record_before(folder)
        if before is not None:
            self._record.parts = before.parts
            # A stream whose emotions were changed meanwhile has parts of both sets.
            both = set_of(before).joined(set_of(opened))
            self._record.emotions = () if both.is_seven else both.emotions
            self._record.categories, self._record.dominance = both.categories, both.dominance
        self._recording: Recording | None = None
        self._part = 0

    def add(self, event: Emotion) -> None:
        """Add the stream's next event; it is written with the next `flush`.

        Raises RecordError if writing fails; everything flushed before is kept.
        """
        part = part_of(event.t, self._split_s)
        if self._recording is None or part != self._part:
            self._begin_part(part, event)
        assert self._recording is not None
        self._recording.add(event)
        entry = self._record.parts[-1]
        entry.first_t = event.t if entry.first_t is None else entry.first_t
        entry.frames, entry.last_t = self._recording.frames, event.t

    def add_hop(self, hop: Hop) -> None:
        """Add the next hop of the voice, to the part of the events around it. Raises as `add`."""
        if self._recording is None:
            self._begin_part(part_of(hop.t, self._split_s), None)
        assert self._recording is not None
        self._recording.add_hop(hop)

    def _begin_part(self, part: int, event: Emotion | None) -> None:
        opened = self._endless
        if self._recording is not None:
            following = self._recording.next_seq
            self.close()
        else:  # the first event may precede the announced one: fusion held it when the stream was announced again
            voices = max(1, len(opened.channels))
            following = opened.next_face_seq if opened.has_picture else opened.next_speech_seq // voices
            following = following if event is None else min(event.seq, following)
        opened = msgspec.structs.replace(opened, next_face_seq=following, next_speech_seq=following, channels=())
        self._part = part
        name = part_name(self._folder, opened.run, part)
        self._recording = Recording(self._folder, name, opened, opened.source, self._monotonic())
        begun = self._wall().isoformat(timespec="milliseconds")
        self._record.parts.append(
            PartRecord(name=name, run=opened.run, begun=begun, first_t=event.t if event is not None else None)
        )
        self._write_record()

    def flush(self) -> None:
        """Write all events so far; to be called twice a second. Raises RecordError if writing fails."""
        if self._recording is not None:
            self._recording.flush()

    def close(self, frames_offered: int | None = None) -> None:
        """Complete the current part. Raises RecordError if writing fails."""
        if self._recording is None:
            return
        recording, self._recording = self._recording, None
        recording.close(self._monotonic(), frames_offered)
        self._record.parts[-1].complete = True
        self._write_record()

    def stop(self) -> None:
        """Complete the recording: a live stream is complete whenever it is stopped. Raises as `close`."""
        self.close()

    def _write_record(self) -> None:
        self._record.source = self._check.record()
        path = self._folder / STREAM_FILE
        try:
            replace_text(path, pretty(self._record))
        except OSError as error:
            raise RecordError(describe(error, path)) from error


def _record_before(folder: Path) -> StreamRecord | None:
    """The record with the parts that earlier runs, or a killed recorder, have recorded."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / STREAM_FILE).read_bytes(), type=StreamRecord)
    return None


# Files

# The checksum is usually ready long before the results; if not, the heartbeat must not wait for it longer than this.
CHECKSUM_PATIENCE_S = 2.0


class FileRecording:
    """Records one run of a file: its results are complete, or there are none.

    Args:
        folder: folder of the results.
        session: session record for NAME.session.json; None writes none.
        check: checksum of the source.
        monotonic: clock, in seconds.
        overwrite: whether results of another source are replaced.
        alone: as `Recording` has it.

    Raises RecordError if the files can't be created.
    """

    def __init__(
        self,
        folder: Path,
        opened: StreamOpened,
        session: SessionRecord | None,
        check: SourceChecksum,
        monotonic: Callable[[], float],
        *,
        overwrite: bool = False,
        alone: bool = False,
    ) -> None:
        self.opened = opened
        self._folder, self._overwrite = folder, overwrite
        self._session = session
        self._check = check
        self._monotonic = monotonic
        self._span: tuple[float, float] | None = None
        clip = self._clip if session is not None else None
        self._recording = Recording(
            folder, opened.stream, opened, opened.source, monotonic(), clip=clip, alone=alone, guard=self._refusal
        )

    def _clip(self) -> ClipRecord:
        assert self._session is not None
        stream = stream_record(self.opened, self._check.record(CHECKSUM_PATIENCE_S))
        first_t, last_t = self._span or (None, None)
        stream.parts = [
            PartRecord(
                name=self.opened.stream,
                run=self.opened.run,
                begun=self._session.started,
                frames=self._recording.frames,
                first_t=first_t,
                last_t=last_t,
                complete=True,
            )
        ]
        return ClipRecord(session=self._session, stream=stream)

    def _refusal(self) -> str | None:
        """Why results that lie there may not be replaced; what was made from those of another source is deleted."""
        mine, name = self._check.file, self.opened.stream
        if mine is None:
            return None
        if not self._overwrite:
            return refusal(self._folder, name, self._check.identity or "", mine)
        before = belongs_to(self._folder, name)
        if before is not None and before.file != self._check.identity:
            for ending in MADE_FROM_RESULTS:
                (self._folder / f"{name}{ending}").unlink(missing_ok=True)
        return None

    @property
    def tables(self) -> Mapping[str, pa.Table]:
        """After `close`, the rows of its Parquet files by suffix, of those that are short."""
        return self._recording.tables

    def add_hop(self, hop: Hop) -> None:
        """Add the next hop of the voice. Raises RecordError, after which all files are deleted."""
        self._recording.add_hop(hop)

    def add(self, event: Emotion) -> None:
        """Add the stream's next event. Raises RecordError, after which all files are deleted."""
        self._recording.add(event)
        self._span = (event.t if self._span is None else self._span[0], event.t)

    def flush(self) -> None:
        """Write all events so far. Raises RecordError if writing fails."""
        self._recording.flush()

    def close(self, frames_offered: int | None = None) -> None:
        """Complete and rename the results. Raises RecordError if writing fails."""
        self._recording.close(self._monotonic(), frames_offered)

    def stop(self) -> None:
        """Delete the results, because the file was not analysed to its end."""
        self._recording.abandon()


# Checksums

CHUNK = 2**20


class SourceChecksum:
    """Computes the SHA-256 of a source file in a thread of its own, so that a large file does not delay its results.

    `record` may be called at any time.
    """

    def __init__(self, name: str, file: Path | None, given: str | None = None, *, source: str | None = None) -> None:
        """Start the thread, if there is a file.

        Args:
            name: the stream's name of its source.
            given: of a file that is a copy (of stdin, of an address): what the user has named.
            source: its path relative to its root; None: its name.
        """
        self.file = file
        self._source = source
        self._mtime_ns: int | None = None
        self.identity = given if given is not None or file is None else pack(file)
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
                self._mtime_ns = os.fstat(file.fileno()).st_mtime_ns
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
                    self._bytes = file.tell()
        except OSError:
            return
        self._sha256 = digest.hexdigest()

    def record(self, patience_s: float = 0.0) -> SourceRecord:
        """Return what is known of the source, after waiting at most `patience_s` for the checksum."""
        if self._file is None:
            return SourceRecord(name=self._name)
        self._thread.join(patience_s)
        whole = not self._thread.is_alive()
        return SourceRecord(
            name=self._name,
            file=self.identity,
            path=self._source or shown(self._file.name),
            bytes=self._bytes if whole else None,
            sha256=self._sha256 if whole else None,
            mtime_ns=self._mtime_ns if whole else None,
        )
