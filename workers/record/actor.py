"""The recorder's process: events in, files out."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import NamedTuple

from broker.mailbox import Mailbox
from broker.messages import Emotion, LaneMessage, StreamClosed, StreamOpened
from workers.actor import ActorSettings, own
from workers.errors import WorkerError
from workers.lane_reader import LaneReader
from workers.record.recording import Recording
from workers.settings import RecordActorSettings

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 1.0


class _Open(NamedTuple):
    run: int
    recording: Recording


class RecordActor(LaneReader):
    """One recording for each stream that is open."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(mailbox)
        mine = own(settings, RecordActorSettings)
        self._folder = Path(mine.folder)
        self._recordings: dict[str, _Open] = {}
        self._flush_due = 0.0
        self._frames = 0

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
        known = self._recordings.get(opened.stream)
        if known is not None:
            if known.run == opened.run:
                return
            known.recording.abandon()
        name = opened.stream
        if opened.policy == "latest":
            # A live stream has no end that would give its results a name of their own.
            name = f"{name} {time.strftime('%Y-%m-%d %H.%M.%S')}"
        try:
            recording = Recording(self._folder, name, opened, opened.source, time.monotonic())
            self._recordings[opened.stream] = _Open(opened.run, recording)
        except WorkerError as error:
            self._give_up(opened.stream, opened.run, error)

    def _keep(self, emotion: Emotion) -> None:
        known = self._recordings.get(emotion.stream)
        if known is None or known.run != emotion.run:
            return
        try:
            known.recording.add(emotion)
            self._frames += 1
        except WorkerError as error:
            self._give_up(emotion.stream, emotion.run, error)

    def _close(self, closed: StreamClosed) -> None:
        known = self._recordings.get(closed.stream)
        if known is None or known.run != closed.run:
            return
        try:
            known.recording.close(time.monotonic(), closed.frames)
            del self._recordings[closed.stream]
            self._mailbox.send(StreamClosed(stream=closed.stream, run=closed.run, frames=closed.frames))
        except WorkerError as error:
            self._give_up(closed.stream, closed.run, error)

    def _give_up(self, stream: str, run: int, error: WorkerError) -> None:
        """One stream can't be kept (a full disk): say so, and go on with the others."""
        log.info("giving up %s", stream, exc_info=error)
        self._recordings.pop(stream, None)
        self._mailbox.send(StreamClosed(stream=stream, run=run, because=str(error)))

    def _flush(self) -> None:
        now = time.monotonic()
        if now < self._flush_due:
            return
        self._flush_due = now + FLUSH_EVERY_S
        for stream, known in list(self._recordings.items()):
            try:
                known.recording.flush()
            except WorkerError as error:
                self._give_up(stream, known.run, error)

    def idle(self) -> None:
        """Acknowledge and flush what is left."""
        super().idle()
        self._flush()

    def figures(self) -> dict[str, float]:
        """Events kept."""
        return {"kept": float(self._frames)}

    def close(self) -> None:
        """A live stream is complete whenever it is stopped; a file that was not looked at to its end is not."""
        for stream, known in self._recordings.items():
            try:
                known.recording.stop(time.monotonic())
            except WorkerError:
                log.exception("the recording of %s can't be completed", stream)
