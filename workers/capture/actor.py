"""The capture actor: reads one stream's source, publishes frames and speech windows."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Release, StartAgain, StreamClosed
from bimodal.workers.actor import DONE, ActorSettings, own
from bimodal.workers.capture.open_source import open_source
from bimodal.workers.capture.run import Run
from bimodal.workers.errors import SourceError
from bimodal.workers.settings import CaptureActorSettings

log = logging.getLogger(__name__)

RUNS_A_LIFE = 1000
# How often the reader of a file is looked after while no message comes.
LOOK_EVERY_S = 0.1


class CaptureActor:
    """Runs its source: once, and a file again whenever a stateful process was lost."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Open the source. Raises SourceError with the reason."""
        self.models: dict[str, str] = {}
        self._mine = own(settings, CaptureActorSettings)
        self._slots = Path(settings.slots)
        self._mailbox = mailbox
        self._next_run = settings.incarnation * RUNS_A_LIFE
        self._directory = Path(settings.directory)
        self._source = open_source(self._mine, self._directory, self._slots, again=settings.incarnation > 1)
        self._sender = mailbox.sender()
        self._run: Run | None = None
        self._closed: StreamClosed | None = None
        self._look_at = 0.0

    @property
    def turn_s(self) -> float | None:
        """Seconds between two looks after the reader, of a file that is read as fast as possible."""
        return LOOK_EVERY_S if self._mine.policy == "every" else None

    def on_connected(self) -> None:
        """Announce a live stream to a new broker; start a file, or start it again."""
        if self._run is not None and self._mine.policy == "latest":
            self._run.announce_again()
        else:
            self._begin()

    def _begin(self) -> None:
        if self._run is not None:
            self._run.close()
            self._source = open_source(self._mine, self._directory, self._slots)
        self._run = Run(self._mine, self._source, self._next_run, self._sender, self._slots)
        self._next_run += 1
        self._run.start()

    def on_message(self, body: Body) -> None:
        """Handle settled jobs, a request to start again, and the end of the stream."""
        run = self._run
        if run is None:
            return
        match body:
            case Release() if body.run == run.number:
                run.release(body.modality, body.seqs)
            case StartAgain() if body.run == run.number:
                self._begin()
            case StreamClosed() if body.run == run.number:
                self._closed = body
            case _:
                pass

    def on_idle(self) -> None:
        """Do nothing."""

    def figures(self) -> dict[str, float]:
        """Frames and windows published in this run, and an estimate of all frames."""
        if self._run is None:
            return {}
        figures = {"frames": float(self._run.offered("face")), "windows": float(self._run.offered("speech"))}
        figures["has_picture"] = float(self._source.info.has_picture)
        figures["seconds"] = self._run.sound_ns / 1e9
        if self._source.info.duration_ns:
            figures["duration_s"] = self._source.info.duration_ns / 1e9
        if self._source.delay_s is not None:
            figures["delay_ms"] = round(self._source.delay_s * 1000, 1)
        if self._source.info.frames_estimate:
            figures["frames_estimate"] = float(self._source.info.frames_estimate)
        return figures

    def degraded_reason(self) -> str | None:
        """The source's current problems; of a file that ended, what was wrong with it."""
        reason = self._run.degraded_reason() if self._run is not None else self._source.degraded_reason
        # Of a file that is analysed also what is no problem, since nobody watches it live.
        notes = self._source.problems.notes if self._mine.policy == "every" else []
        return "; ".join([*notes, *([reason] if reason is not None else [])]) or None

    def finished(self) -> int | None:
        """DONE once every job of the run is settled. Raises the error of reading or recording it."""
        if self._run is not None and self._run.error is not None:
            raise self._run.error
        if self._lost_slots():
            self._begin()
            return None
        if self._closed is None:
            return None
        if self._closed.because is not None:
            raise SourceError(self._closed.because)
        return DONE

    def _lost_slots(self) -> bool:
        """True where somebody has removed the slots of a file and there is a folder for new ones.

        A frame in them would fail in every worker that had not mapped them before, so the file is started again.
        """
        now = time.monotonic()
        if self._mine.policy != "every" or self._run is None or now < self._look_at:
            return False
        self._look_at = now + LOOK_EVERY_S
        if not self._run.lost or not self._slots.is_dir():
            return False
        log.warning("the shared memory of %s had been removed; the file is started again", self._mine.stream)
        self._closed = None
        return True

    def close(self) -> None:
        """Stop reading and unlink the slots."""
        if self._run is not None:
            self._run.close()
        self._sender.close()
