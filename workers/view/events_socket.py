"""The events as JSON for web developers: the WebSocket /events, behind the page's gate; docs/events.md.

One text message for each event, with the names of the wire protocol. A reader that is slow loses the oldest of what
waits for it, and holds nobody up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

import msgspec
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Body
from bimodal.workers.view.access import EVENTS_PATH, SUBPROTOCOL
from bimodal.workers.view.state import View

MOST_READERS = 64
MOST_WAITING = 64
TRY_AGAIN_LATER = 1013


def routes(view: View) -> list[BaseRoute]:
    """/events"""
    feed = EventFeed()

    def told(body: Body) -> None:
        if isinstance(body, Emotion):
            feed.publish(body)

    view.listeners.append(told)
    return [WebSocketRoute(EVENTS_PATH, feed.serve)]


class _Reader:
    """What waits for one reader."""

    def __init__(self, stream: str | None) -> None:
        self.stream = stream
        self.waiting: deque[str] = deque(maxlen=MOST_WAITING)
        self.some = asyncio.Event()


class EventFeed:
    """All readers. For one event loop."""

    def __init__(self) -> None:
        self._readers: set[_Reader] = set()
        self._encoder = msgspec.json.Encoder()

    def publish(self, event: Emotion) -> None:
        """One more event; it is encoded once, and only where somebody reads it."""
        readers = [reader for reader in self._readers if reader.stream in (None, event.stream)]
        if not readers:
            return
        text = self._encoder.encode(event).decode()
        for reader in readers:
            reader.waiting.append(text)
            reader.some.set()

    async def serve(self, socket: WebSocket) -> None:
        """One reader, until it leaves."""
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        if len(self._readers) >= MOST_READERS:
            await socket.close(TRY_AGAIN_LATER, f"{MOST_READERS} programs read events already")
            return
        reader = _Reader(socket.query_params.get("stream"))
        self._readers.add(reader)
        sending = asyncio.create_task(_send(socket, reader))
        try:
            # What a reader says is not listened to; that it leaves is.
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
        finally:
            self._readers.discard(reader)
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sending


async def _send(socket: WebSocket, reader: _Reader) -> None:
    while True:
        await reader.some.wait()
        reader.some.clear()
        while reader.waiting:
            await socket.send_text(reader.waiting.popleft())
