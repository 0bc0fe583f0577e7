"""A live stream's recording: part by part, in its folder of the session (docs/recordings.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.broker.messages import Emotion, StreamOpened
from bimodal.workers.record.checksum import SourceCheck
from bimodal.workers.record.errors import RecordError, describe
from bimodal.workers.record.part_file import replace_text
from bimodal.workers.record.recording import LINES, Recording
from bimodal.workers.record.records import STREAM_FILE, PartRecord, StreamRecord, pretty, stream_record


def part_of(t: float, split_s: float) -> int:
    """The number, from 1, of the part that a frame at `t` seconds belongs to."""
    return max(0, int(t // split_s)) + 1


def part_name(folder: Path, run: int, part: int) -> str:
    """A part's name that is not taken in `folder`; a part that was begun twice has a number behind it."""
    name = f"{run:04d}-{part:04d}"
    tried = 1
    while (folder / f"{name}{LINES}").exists():
        tried += 1
        name = f"{run:04d}-{part:04d}-{tried}"
    return name


class LiveRecording:
    """Takes the events of one run of a live stream.

    Args:
        folder: of the stream; what lies there stays.
        split_s: seconds of the stream's own time in a part.
        check: of the source.
        monotonic, wall: the clocks.
    """

    def __init__(
        self,
        folder: Path,
        opened: StreamOpened,
        split_s: float,
        check: SourceCheck,
        monotonic: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self.opened = opened
        self._folder = folder
        # A looped file says how long a round is, which is not how long the stream is.
        self._endless = msgspec.structs.replace(opened, duration_ns=None)
        self._split_s = split_s
        self._check = check
        self._monotonic, self._wall = monotonic, wall
        self._record = stream_record(self._endless, check.record())
        self._record.parts = _parts_before(folder)
        self._recording: Recording | None = None
        self._part = 0

    def add(self, event: Emotion) -> None:
        """Take the stream's next event; it reaches the disk with the next `flush`.

        Raises RecordError where the disk refuses; what was flushed before stays.
        """
        part = part_of(event.t, self._split_s)
        if self._recording is None or part != self._part:
            self._turn(part, event)
        assert self._recording is not None
        self._recording.add(event)
        entry = self._record.parts[-1]
        entry.frames, entry.last_t = self._recording.frames, event.t

    def _turn(self, part: int, event: Emotion) -> None:
        opened = self._endless
        if self._recording is not None:
            following = self._recording.next_seq
            opened = msgspec.structs.replace(opened, next_face_seq=following, next_speech_seq=following)
            self.close()
        self._part = part
        name = part_name(self._folder, opened.run, part)
        self._recording = Recording(self._folder, name, opened, opened.source, self._monotonic())
        begun = self._wall().isoformat(timespec="milliseconds")
        self._record.parts.append(PartRecord(name=name, run=opened.run, begun=begun, first_t=event.t))
        self._write_record()

    def flush(self) -> None:
        """Write what came; call it twice a second. Raises RecordError where the disk refuses."""
        if self._recording is not None:
            self._recording.flush()

    def close(self, frames_offered: int | None = None) -> None:
        """Complete the part. Raises RecordError where the disk refuses."""
        if self._recording is None:
            return
        recording, self._recording = self._recording, None
        recording.close(self._monotonic(), frames_offered)
        self._record.parts[-1].complete = True
        self._write_record()

    def stop(self) -> None:
        """The recorder is going: a live stream is complete whenever it is stopped. Raises as `close`."""
        self.close()

    def _write_record(self) -> None:
        self._record.source = self._check.record()
        path = self._folder / STREAM_FILE
        try:
            replace_text(path, pretty(self._record))
        except OSError as error:
            raise RecordError(describe(error, path)) from error


def _parts_before(folder: Path) -> list[PartRecord]:
    """What earlier runs, or a recorder that died, have left in the list."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / STREAM_FILE).read_bytes(), type=StreamRecord).parts
    return []
