"""The process that tells the Lab Streaming Layer what the bus tells."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from bimodal.broker.mailbox import Mailbox, Subscriber
from bimodal.broker.messages import Body, Emotion, Job
from bimodal.broker.sockets import events_endpoint
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.lsl.outlets import Layer, Outlets
from bimodal.workers.lsl.samples import GrabTimes
from bimodal.workers.settings import LslActorSettings

log = logging.getLogger(__name__)

POLL_S = 0.1
JOIN_S = 1.0


class LslActor:
    """A thread reads the bus and pushes: a sample must not wait for the mailbox's turn."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:  # noqa: ARG002
        """Open the outlets of all streams, so that recorders find them first. Raises WorkerError without pylsl."""
        self.models: dict[str, str] = {}
        mine = own(settings, LslActorSettings)
        directory = Path(settings.directory)
        self._session = directory.name
        self._layer = Layer(machine_only=mine.machine_only)
        self._outlets: dict[str, Outlets] = {}
        for stream in mine.streams:
            self._of(stream)
        self._grabs = GrabTimes()
        self._sent = 0
        self._error: Exception | None = None
        self._stopped = threading.Event()
        self._bus = Subscriber(events_endpoint(directory), ["emotion.", "frame.", "sound."])
        self._thread = threading.Thread(target=self._read, name="lsl", daemon=True)
        self._thread.start()

    def _of(self, stream: str) -> Outlets:
        if stream not in self._outlets:
            self._outlets[stream] = self._layer.outlets(self._session, stream)
        return self._outlets[stream]

    def _read(self) -> None:
        try:
            while not self._stopped.is_set():
                found = self._bus.receive(POLL_S)
                if found is not None:
                    self._take(found[1])
        except Exception as error:
            log.exception("sending to the Lab Streaming Layer failed")
            self._error = error

    def _take(self, body: Body) -> None:
        match body:
            case Job():
                self._grabs.announced(body)
            case Emotion():
                self._of(body.stream).push(body, self._grabs.of(body, time.monotonic_ns()))
                self._sent += 1
            case _:
                pass

    def welcome(self) -> None:
        """Nothing is held."""

    def handle(self, body: Body) -> None:
        """The broker has no work for who only listens."""

    def idle(self) -> None:
        """Nothing to do."""

    def figures(self) -> dict[str, float]:
        """Samples sent."""
        return {"sent": float(self._sent)}

    def trouble(self) -> str | None:
        """None: nobody needs to listen."""
        return None

    def finished(self) -> int | None:
        """Never by itself."""
        if self._error is not None:
            raise WorkerError(f"events can't be sent to the Lab Streaming Layer: {self._error}") from self._error
        return None

    def close(self) -> None:
        """Stop; recorders see the streams end."""
        self._stopped.set()
        self._thread.join(JOIN_S)
        self._bus.close()
        self._outlets.clear()
