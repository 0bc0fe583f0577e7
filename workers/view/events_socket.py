"""The WebSocket /events: events as JSON, under the page's access control (docs/events.md).

One text message per event, with the names of the wire protocol. A slow reader loses its oldest messages and delays
nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import msgspec
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bimodal.broker.events import Changes, Emotion
from bimodal.broker.messages import Body
from bimodal.workers.view.access import EVENTS_PATH, SUBPROTOCOL
from bimodal.workers.view.state import View

MOST_READERS = 64
MOST_WAITING = 64
TRY_AGAIN_LATER = 1013


def routes(view: View) -> list[BaseRoute]:
    """Route of /events."""
    feed = EventFeed()

    def publish(body: Body) -> None:
        if isinstance(body, Emotion):
            feed.publish(body)

    view.listeners.append(publish)
    view.watched_by.append(lambda: feed.read)
    return [WebSocketRoute(EVENTS_PATH, feed.serve)]


class _Reader:
    """The outbox of one reader."""

    def __init__(self, stream: str | None, changes: Changes | None) -> None:
        self.stream = stream
        self._changes = changes
        self.waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self.filled = asyncio.Event()

    def wants(self, event: Emotion) -> bool:
        """True for an event of its stream, or, with changes only, one that says something new."""
        return self.stream in (None, event.stream) and (self._changes is None or self._changes.new(event))


class EventFeed:
    """All readers. For use in one event loop."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._encoder = msgspec.json.Encoder()

    @property
    def read(self) -> bool:
        """True while anybody reads events."""
        return bool(self._readers)

    def publish(self, event: Emotion) -> None:
        """Put an event into the outboxes of its readers; it is encoded once, and only if there are any."""
        readers = [reader for reader in self._readers if reader.wants(event)]
        if not readers:
            return
        text = self._encoder.encode(event).decode()
        for reader in readers:
            reader.waiting.append(text)
            reader.filled.set()

    async def serve(self, socket: WebSocket) -> None:
        """Serve one reader until it disconnects."""
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        if len(self._readers) >= MOST_READERS:
            await socket.close(TRY_AGAIN_LATER, f"{MOST_READERS} programs read events already")
            return
        reader = _Reader(
            socket.query_params.get("stream"), Changes() if socket.query_params.get("changes") == "1" else None
        )
        self._readers.add(reader)
        sending = asyncio.create_task(_send(socket, reader))
        try:
            # Messages of readers are ignored.
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self._readers.discard(reader)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sending


async def _send(socket: WebSocket, reader: _Reader) -> None:
    while True:
        await reader.filled.wait()
        reader.filled.clear()
        while reader.waiting:
            await socket.send_text(reader.waiting.popleft())
