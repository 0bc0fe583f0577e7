"""A file's recording: NAME.* in the folder of the results, complete or not there at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bimodal.broker.messages import Emotion, StreamOpened
from bimodal.workers.record.checksum import SourceCheck
from bimodal.workers.record.recording import Recording
from bimodal.workers.record.records import ClipRecord, PartRecord, SessionRecord, stream_record

# A checksum is ready long before a film's results are; a heartbeat must not wait for one that is not.
CHECKSUM_PATIENCE_S = 2.0


class FileRecording:
    """Takes the events of one run of a file.

    Args:
        folder: of the results.
        session: what NAME.session.json says of the session; None writes none.
        check: of the source.
        monotonic: the clock, in seconds.

    Raises RecordError where the files can't be made.
    """

    def __init__(
        self,
        folder: Path,
        opened: StreamOpened,
        session: SessionRecord | None,
        check: SourceCheck,
        monotonic: Callable[[], float],
    ) -> None:
        self.opened = opened
        self._session = session
        self._check = check
        self._monotonic = monotonic
        self._span: tuple[float, float] | None = None
        clip = self._clip if session is not None else None
        self._recording = Recording(folder, opened.stream, opened, opened.source, monotonic(), clip=clip)

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

    def add(self, event: Emotion) -> None:
        """Take the stream's next event. Raises RecordError; then nothing is left behind."""
        self._recording.add(event)
        self._span = (event.t if self._span is None else self._span[0], event.t)

    def flush(self) -> None:
        """Write what came. Raises RecordError where the disk refuses."""
        self._recording.flush()

    def close(self, frames_offered: int | None = None) -> None:
        """Give the results their names. Raises RecordError where the disk refuses."""
        self._recording.close(self._monotonic(), frames_offered)

    def stop(self) -> None:
        """Not looked at to its end: no results."""
        self._recording.abandon()
