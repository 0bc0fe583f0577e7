"""`bimodal.listen`: the events of a running system, as they come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any

from bimodal.broker.errors import ControlError
from bimodal.broker.events import Changes, Emotion
from bimodal.broker.keys import OWN
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import events_endpoint, log_in
from bimodal.supervisor.session import directory_of, running_sessions

DEFAULT_SESSION = "default"
TURN_S = 0.25


def listen(
    address: str | None = None,
    *,
    topic: str = "emotion.",
    changes: bool = False,
    session: str | None = None,
    server_key: str | None = None,
    key: str = OWN,
) -> Events:
    """Listen to a running system; it need not run yet, and may be started again.

    Args:
        address: of its event bus, such as tcp://127.0.0.1:5655; None for a system of this machine.
        topic: a topic or the beginning of one: "emotion.desk", "status", "process." (docs/protocol.md).
        changes: of the events of frames, only those that say something new: another label of a face, of the voice or of
            both, a face that comes or goes (`bimodal.broker.events.Changes`).
        session: the name of the system, where this machine runs several.
        server_key: the public key of another machine's system ('bimodal keys show' there).
        key: which own key to show it.

    Returns what gives events: in a `for` or an `async for` loop, as a context manager, or until its `close`.
    An event that is not taken in time is lost; nobody waits for a listener.

    Raises ControlError where this machine runs several systems and none was named; EndpointError for a bad address;
    KeysError for a bad key.
    """
    place = address or events_endpoint(directory_of(session or _only_session()))
    login = None if server_key is None else log_in(server_key, key)
    return Events(Subscriber(place, [topic], login), Changes() if changes else None)


def _only_session() -> str:
    """The session that runs here; the default's name where none does yet."""
    running = running_sessions()
    if len(running) > 1 and DEFAULT_SESSION not in running:
        raise ControlError(f"several systems run here; name one as session=: {', '.join(running)}")
    return running[0] if len(running) == 1 else DEFAULT_SESSION


def _new(event: object, changes: Changes) -> bool:
    return not isinstance(event, Emotion) or changes.new(event)


class Events(Iterator[Any], AsyncIterator[Any]):
    """Events of a running system, without an end: `bimodal.Emotion` for the topics `emotion.…`, else the topic's
    message. Iterating waits for the next one."""

    def __init__(self, bus: Subscriber, changes: Changes | None = None) -> None:
        self._bus: Subscriber | None = bus
        self._changes = changes
        # `async for` receives in threads; a socket must not be closed under one of them.
        self._lock = threading.Lock()
        self.address = bus.endpoint
        self.until: Callable[[], bool] = lambda: False
        """True when nothing more can come; called while there is no event."""

    def receive(self, timeout_s: float) -> Any | None:
        """The next event, None where none comes in this time."""
        with self._lock:
            found = self._bus.receive(timeout_s) if self._bus is not None else None
        if found is None or (self._changes is not None and not _new(found[1], self._changes)):
            return None
        return found[1]

    def __next__(self) -> Any:
        while self._bus is not None:
            event = self.receive(TURN_S)
            if event is not None:
                return event
            if self.until():
                break
        raise StopIteration

    async def __anext__(self) -> Any:
        while self._bus is not None:
            event = await asyncio.to_thread(self.receive, TURN_S)
            if event is not None:
                return event
            if self.until():
                break
        raise StopAsyncIteration

    def __iter__(self) -> Events:
        return self

    def __aiter__(self) -> Events:
        return self

    def close(self) -> None:
        """Stop listening; ends a loop over the events."""
        with self._lock:
            bus, self._bus = self._bus, None
            if bus is not None:
                bus.close()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
