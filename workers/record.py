"""The recorder's process: events in, files out."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import LaneMessage, StreamClosed, StreamOpened
from bimodal.errors import BimodalError
from bimodal.recordings.records import SessionRecord
from bimodal.recordings.retention import Retention
from bimodal.recordings.writers import FileRecording, LiveRecording, SourceChecksum
from bimodal.workers.actor import ActorSettings, LaneReader, own
from bimodal.workers.settings import RecordActorSettings

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.5
AGAIN_AFTER_S = 30.0


class RecordActor(LaneReader):
    """One recording for each stream that is open.

    A file that can't be kept fails: its capture is told. A live stream goes on without its recording, the heartbeat
    says why, and it is tried again every half minute.
    """

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        mine = own(settings, RecordActorSettings)
        self._folder = Path(mine.record.folder)
        self._split_s = mine.record.split_minutes * 60
        self._sources = {stream: Path(file) for stream, file in mine.sources.items()}
        self._session = msgspec.convert(mine.session, SessionRecord) if mine.session else None
        self._kept: dict[str, FileRecording | LiveRecording] = {}
        self._lost: dict[str, tuple[StreamOpened, str, float]] = {}
        self._flush_due = 0.0
        self._frames = 0
        self._retention = None
        if mine.record.retention_days is not None:
            self._retention = Retention(self._folder.parent, mine.record.retention_days, self._folder)

    def receive(self, message: LaneMessage) -> None:
        """Keep what the message says."""
        match message:
            case StreamOpened():
                self._open(message)
            case Emotion():
                self._keep(message)
            case StreamClosed():
                self._close(message)
            case _:
                pass
        self._flush()

    def _open(self, opened: StreamOpened) -> None:
        known = self._kept.get(opened.stream)
        if known is not None and known.opened.run == opened.run:
            return
        try:
            if known is not None:
                del self._kept[opened.stream]
                known.stop()
            self._lost.pop(opened.stream, None)
            self._kept[opened.stream] = self._begin(opened)
        except BimodalError as error:
            self._give_up(opened, error)

    def _begin(self, opened: StreamOpened) -> FileRecording | LiveRecording:
        check = SourceChecksum(opened.source, self._sources.get(opened.stream))
        if opened.policy == "every":
            return FileRecording(self._folder, opened, self._session, check, time.monotonic)
        folder = self._folder / opened.stream
        return LiveRecording(folder, opened, self._split_s, check, time.monotonic, _wall)

    def _keep(self, emotion: Emotion) -> None:
        self._try_again(emotion)
        known = self._kept.get(emotion.stream)
        if known is None or known.opened.run != emotion.run:
            return
        try:
            known.add(emotion)
            self._frames += 1
        except BimodalError as error:
            self._give_up(known.opened, error)

    def _try_again(self, emotion: Emotion) -> None:
        """A live stream whose recording failed: perhaps there is room again."""
        opened, _, when = self._lost.get(emotion.stream, (None, "", 0.0))
        if opened is not None and time.monotonic() >= when and opened.run == emotion.run:
            self._open(msgspec.structs.replace(opened, next_face_seq=emotion.seq, next_speech_seq=emotion.seq))

    def _close(self, closed: StreamClosed) -> None:
        known = self._kept.get(closed.stream)
        if known is None or known.opened.run != closed.run:
            if self._lost.pop(closed.stream, None) is not None:
                self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))
            return
        try:
            known.close(closed.frames)
            del self._kept[closed.stream]
            self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))
        except BimodalError as error:
            self._give_up(known.opened, error)
            if self._lost.pop(closed.stream, None) is not None:
                self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))

    def _give_up(self, opened: StreamOpened, error: BimodalError) -> None:
        """One stream can't be kept (a full disk): say so, and go on with the others."""
        log.info("giving up %s", opened.stream, exc_info=error)
        self._kept.pop(opened.stream, None)
        if opened.policy == "latest":
            self._lost[opened.stream] = (opened, str(error), time.monotonic() + AGAIN_AFTER_S)
        else:
            self._mailbox.send(StreamClosed(stream=opened.stream, run=opened.run, because=str(error)))

    def _flush(self) -> None:
        now = time.monotonic()
        if now < self._flush_due:
            return
        self._flush_due = now + FLUSH_EVERY_S
        if self._retention is not None:
            self._retention.poll()
        for known in list(self._kept.values()):
            try:
                known.flush()
            except BimodalError as error:
                self._give_up(known.opened, error)

    def on_idle(self) -> None:
        """Acknowledge and flush what is left."""
        super().on_idle()
        self._flush()

    def figures(self) -> dict[str, float]:
        """Events kept."""
        return {"kept": float(self._frames)}

    def degraded_reason(self) -> str | None:
        """Why a live stream is not being recorded."""
        found = [f"{stream} is not being recorded: {because}" for stream, (_, because, _) in self._lost.items()]
        return "; ".join(found) or None

    def close(self) -> None:
        """A live stream is complete whenever it is stopped; a file that was not looked at to its end is not."""
        for stream, known in self._kept.items():
            try:
                known.stop()
            except BimodalError:
                log.exception("the recording of %s can't be completed", stream)


def _wall() -> datetime:
    return datetime.now().astimezone()
