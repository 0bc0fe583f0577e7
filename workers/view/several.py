"""One page and one /metrics over several sessions: their event buses are read by a thread each, and merged.

Names of streams and processes get the session's before them (`lab/desk`, `face lab/2`), so that nothing is mixed up.
Pictures come from sessions of this machine only: those of others send events.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from bimodal.broker.errors import SlotError
from bimodal.broker.events import Emotion, Hop, Stretch
from bimodal.broker.frames import RingCache
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import ELSEWHERE, Body, Heartbeat, Job, Status, StreamClosed, StreamOpened
from bimodal.broker.sockets import Login
from bimodal.workers.observer import FramedEvent, Pairing, Pixels
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.system_state import SystemState
from bimodal.workers.view.actor import ViewActor
from bimodal.workers.view.listening import address_of, listen
from bimodal.workers.view.live_socket import frame_message
from bimodal.workers.view.server import Server
from bimodal.workers.view.state import View

log = logging.getLogger(__name__)

TURN_S = 0.2
SEPARATOR = "/"


class Place(NamedTuple):
    """A session to look at.

    Attributes:
        name: before the names of its streams and processes.
        endpoint: address of its event bus.
        slots: folder of its shared slots; None where it runs on another machine.
        login: keys for another machine.
    """

    name: str
    endpoint: str
    slots: Path | None
    login: Login | None = None


def renamed(body: Body, session: str) -> Body:
    """A message with the session before the names of its stream and process."""
    match body:
        case Emotion() | Hop() | Stretch() | StreamOpened() | StreamClosed() | Job():
            return msgspec.structs.replace(body, stream=f"{session}{SEPARATOR}{body.stream}")
        case Heartbeat():
            return msgspec.structs.replace(body, name=process_name(body.name, session))
        case Status():
            streams = tuple(
                msgspec.structs.replace(one, stream=f"{session}{SEPARATOR}{one.stream}") for one in body.streams
            )
            return msgspec.structs.replace(body, streams=streams)
        case _:
            return body


def process_name(name: str, session: str) -> str:
    """The name of a process among those of several sessions: its kind first, as everywhere ("face lab/2")."""
    if ELSEWHERE in name:
        return f"{session}{SEPARATOR}{name}"
    kind, _, rest = name.partition(" ")
    return f"{kind} {session}{SEPARATOR}{rest}" if rest else f"{kind} {session}"


def merged(newest: list[Status]) -> Status:
    """The counters of several sessions as of one."""
    workers: Counter[str] = Counter()
    for one in newest:
        workers.update(one.workers)
    return Status(
        streams=tuple(stream for one in newest for stream in one.streams),
        waiting=sum(one.waiting for one in newest),
        workers=dict(workers),
        undecodable=sum(one.undecodable for one in newest),
        ignored=sum(one.ignored for one in newest),
        received_bytes=sum(one.received_bytes for one in newest),
        sent_bytes=sum(one.sent_bytes for one in newest),
    )


class SeveralSessions:
    """Serves one page over several sessions, until `close`.

    Attributes:
        address: URL of the page.

    Raises ViewError where no port can be used, EndpointError for an address that is none.
    """

    def __init__(self, places: list[Place], settings: ViewActorSettings) -> None:
        bound = listen(settings)
        self.address = address_of(settings, bound)
        # Nothing is visited here, so that no socket is made in this folder; its name is the page's title.
        self.view = View(settings, Path(" + ".join(place.name for place in places)), self.address)
        self.view.system.parts = {place.name: SystemState() for place in places}
        self.server = Server(self.view, bound)
        self._newest: dict[str, Status] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._buses = [Subscriber(place.endpoint, ViewActor.topics, place.login) for place in places]
        self._threads = [
            threading.Thread(target=self._read, args=(place, bus), name=f"bus {place.name}", daemon=True)
            for place, bus in zip(places, self._buses, strict=True)
        ]
        self.server.start()
        for thread in self._threads:
            thread.start()

    def _read(self, place: Place, bus: Subscriber) -> None:
        rings = RingCache(place.slots) if place.slots is not None else None

        def copied(job: Job) -> Pixels | None:
            shown = f"{place.name}{SEPARATOR}{job.stream}" in self.view.viewers.shown
            if rings is None or not shown or self.view.settings.faces == "hide":
                return None
            try:
                reader = rings.reader(job.ring)
                data: Pixels = reader.view(job).copy()
                return data if reader.holds(job) else None
            except SlotError:
                return None

        pairing = Pairing(copied)
        while not self._over.is_set():
            found = bus.receive(TURN_S)
            if found is not None:
                try:
                    self._take(place.name, found[1], pairing)
                except Exception:  # one message that can't be shown must not end the page
                    log.exception("a message of %s can't be shown", place.name)
        bus.close()

    def _take(self, session: str, body: Body, pairing: Pairing) -> None:
        framed = None if isinstance(body, Job) and body.modality == "speech" else pairing.take(body)
        if isinstance(body, Job):
            return
        self._pass_on_to(self.view.system.parts[session], body)
        body = renamed(body, session)
        if isinstance(body, Status):
            with self._lock:
                self._newest[session] = body
                body = merged(list(self._newest.values()))
        payload = None
        if framed is not None and isinstance(body, Emotion) and body.stream in self.view.viewers.awaiting:
            named: FramedEvent = framed._replace(stream=body.stream, event=body)
            hide = self.view.settings.faces == "hide"
            payload = frame_message(named, time.monotonic(), hide=hide, about=self.view.settings.emotions)
        self._call(lambda: self.view.take(body, payload))

    def _pass_on_to(self, part: SystemState, body: Body) -> None:
        self._call(lambda: part.take(body, time.monotonic()))

    def _call(self, action: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the server's loop has ended before us
            self.server.loop.call_soon_threadsafe(action)

    def close(self) -> None:
        """End all connections and threads."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self.server.stop()
