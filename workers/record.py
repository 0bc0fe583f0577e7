"""The recorder's process: events in, files out."""

from __future__ import annotations

import logging
import os
import time
from datetime import datetime

import msgspec

from bimodal.broker.events import Emotion, Hop
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import LaneMessage, StreamClosed, StreamOpened
from bimodal.broker.paths import unpack
from bimodal.errors import BimodalError
from bimodal.recordings.records import SessionRecord
from bimodal.recordings.retention import Retention
from bimodal.recordings.writers import FileRecording, LiveRecording, SourceChecksum
from bimodal.workers.actor import ActorSettings, LaneReader, own
from bimodal.workers.settings import RecordActorSettings

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.5
RETRY_AFTER_S = 30.0
DRAIN_S = 1.0
"""Longest time for what is under way to the recorder once it is to stop: what subscribers saw is recorded too."""


class RecordActor(LaneReader):
    """One recording for each stream that is open.

    A file that can't be recorded fails, and its capture gets the reason. A live stream goes on without its recording,
    with the reason in the heartbeat; the recording is retried every half minute.
    """

    drain_s = DRAIN_S

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        mine = own(settings, RecordActorSettings)
        if mine.record.private:
            os.umask(0o077)
        self._folder = unpack(mine.record.folder)
        self._split_s = mine.record.split_minutes * 60
        self._sources = {stream: unpack(file) for stream, file in mine.sources.items()}
        self._given = mine.given
        self._overwrite = mine.overwrite
        self._session = msgspec.convert(mine.session, SessionRecord) if mine.session else None
        self._recordings: dict[str, FileRecording | LiveRecording] = {}
        self._failed: dict[str, tuple[StreamOpened, str, float]] = {}
        self._flush_due = 0.0
        self._frames = 0
        self._retention = None
        if mine.record.retention_days is not None:
            self._retention = Retention(self._folder.parent, mine.record.retention_days, self._folder)

    def receive(self, message: LaneMessage) -> None:
        """Record the message."""
        match message:
            case StreamOpened():
                self._open(message)
            case Emotion():
                self._add(message)
            case Hop():
                self._add_hop(message)
            case StreamClosed():
                self._close(message)
            case _:
                pass
        self._flush()

    def _open(self, opened: StreamOpened) -> None:
        recording = self._recordings.get(opened.stream)
        if recording is not None and recording.opened.run == opened.run:
            return
        try:
            if recording is not None:
                del self._recordings[opened.stream]
                recording.stop()
            self._failed.pop(opened.stream, None)
            self._recordings[opened.stream] = self._begin(opened)
        except BimodalError as error:
            self._give_up(opened, error)

    def _begin(self, opened: StreamOpened) -> FileRecording | LiveRecording:
        stream = opened.stream
        check = SourceChecksum(opened.source, self._sources.get(stream), self._given.get(stream))
        if opened.policy == "every":
            return FileRecording(self._folder, opened, self._session, check, time.monotonic, overwrite=self._overwrite)
        folder = self._folder / opened.stream
        return LiveRecording(folder, opened, self._split_s, check, time.monotonic, _wall)

    def _add(self, emotion: Emotion) -> None:
        self._retry(emotion)
        recording = self._recordings.get(emotion.stream)
        if recording is None or recording.opened.run != emotion.run:
            return
        try:
            recording.add(emotion)
            self._frames += 1
        except BimodalError as error:
            self._give_up(recording.opened, error)

    def _add_hop(self, hop: Hop) -> None:
        recording = self._recordings.get(hop.stream)
        if recording is None or recording.opened.run != hop.run:
            return
        try:
            recording.add_hop(hop)
        except BimodalError as error:
            self._give_up(recording.opened, error)

    def _retry(self, emotion: Emotion) -> None:
        """Reopen the failed recording of a live stream once its retry is due."""
        opened, _, when = self._failed.get(emotion.stream, (None, "", 0.0))
        if opened is not None and time.monotonic() >= when and opened.run == emotion.run:
            self._open(msgspec.structs.replace(opened, next_face_seq=emotion.seq, next_speech_seq=emotion.seq))

    def _close(self, closed: StreamClosed) -> None:
        recording = self._recordings.get(closed.stream)
        if recording is None or recording.opened.run != closed.run:
            if self._failed.pop(closed.stream, None) is not None:
                self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))
            return
        try:
            recording.close(closed.frames)
            del self._recordings[closed.stream]
            self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))
        except BimodalError as error:
            self._give_up(recording.opened, error)
            if self._failed.pop(closed.stream, None) is not None:
                self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))

    def _give_up(self, opened: StreamOpened, error: BimodalError) -> None:
        """Stop recording one stream that can't be written (a full disk), and report why; the others go on."""
        log.info("giving up %s", opened.stream, exc_info=error)
        self._recordings.pop(opened.stream, None)
        if opened.policy == "latest":
            self._failed[opened.stream] = (opened, str(error), time.monotonic() + RETRY_AFTER_S)
        else:
            self._mailbox.send(StreamClosed(stream=opened.stream, run=opened.run, because=str(error)))

    def _flush(self) -> None:
        now = time.monotonic()
        if now < self._flush_due:
            return
        self._flush_due = now + FLUSH_EVERY_S
        if self._retention is not None:
            self._retention.poll()
        for recording in list(self._recordings.values()):
            try:
                recording.flush()
            except BimodalError as error:
                self._give_up(recording.opened, error)

    def on_idle(self) -> None:
        """Acknowledge messages and flush files."""
        super().on_idle()
        self._flush()

    def figures(self) -> dict[str, float]:
        """Number of recorded events."""
        return {"kept": float(self._frames)}

    def degraded_reason(self) -> str | None:
        """Why live streams are not being recorded; None while all are."""
        found = [f"{stream} is not being recorded: {reason}" for stream, (_, reason, _) in self._failed.items()]
        return "; ".join(found) or None

    def close(self) -> None:
        """Stop all recordings: of live streams they are complete, of unfinished files they are not."""
        for stream, recording in self._recordings.items():
            try:
                recording.stop()
            except BimodalError:
                log.exception("the recording of %s can't be completed", stream)


def _wall() -> datetime:
    return datetime.now().astimezone()
