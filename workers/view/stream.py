"""What flows to an open page, over one WebSocket at /stream.

To the page: text messages, JSON, with a key "type": "hello" once, "state" twice a second (workers/view/feed.py),
"history" whenever it looks at a stream; and binary messages, a frame with its event (workers/view/frames.py).
From the page: {"look": STREAM}, or {"look": null} while nobody sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bimodal.models.emotions import EMOTIONS
from bimodal.workers.verdict import CONFLICT_BELOW
from bimodal.workers.view.audience import Viewer
from bimodal.workers.view.context import View

STATE_EVERY_S = 0.5
TRY_AGAIN_LATER = 1013
NOT_UNDERSTOOD = 1008
MOST_REQUEST_CHARACTERS = 1024


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page says: which stream it shows."""

    look: str | None


_encoder = msgspec.json.Encoder()
_look = msgspec.json.Decoder(Look)


def _text(values: object) -> str:
    return _encoder.encode(values).decode()


def routes(view: View) -> list[BaseRoute]:
    """/stream"""
    teller = Teller(view)

    async def flow(socket: WebSocket) -> None:
        await socket.accept()
        if view.audience.full:
            await socket.close(TRY_AGAIN_LATER, "too many pages are open")
            return
        viewer = view.audience.enter()
        teller.wake()
        try:
            writing = asyncio.create_task(_write(view, viewer, socket))
            try:
                await _read(view, viewer, socket)
            finally:
                writing.cancel()
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                    await writing
        finally:
            view.audience.leave(viewer)

    return [WebSocketRoute("/stream", flow)]


def hello(view: View) -> dict[str, object]:
    """The first message."""
    return {
        "type": "hello",
        "session": view.session,
        "emotions": EMOTIONS,
        "faces": view.settings.faces,
        "visitors": list(view.visitors),
        "conflict_below": CONFLICT_BELOW,
    }


async def _read(view: View, viewer: Viewer, socket: WebSocket) -> None:
    """Follow what the page says until it leaves."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        try:
            if text is None or len(text) > MOST_REQUEST_CHARACTERS:
                raise msgspec.DecodeError
            stream = _look.decode(text).look
        except msgspec.DecodeError:  # ill-typed ones are of this kind, too
            await socket.close(NOT_UNDERSTOOD, "not understood")
            return
        view.audience.look(viewer, stream)
        state = view.feed.streams.get(stream) if stream is not None else None
        points = list(state.history.points) if state is not None else []
        viewer.offer("history", _text({"type": "history", "stream": stream, "points": points}))


async def _write(view: View, viewer: Viewer, socket: WebSocket) -> None:
    """Greet the page, and send what waits for it, one message at a time, as fast as its line takes them."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text(_text(hello(view)))
        while True:
            kind, payload = await viewer.next()
            if isinstance(payload, str):
                await socket.send_text(payload)
            else:
                await socket.send_bytes(payload)
            view.audience.taken(kind)


class Teller:
    """Tells all pages the state twice a second; sleeps while there is none."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Somebody is there."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        while len(self._view.audience):
            self._view.audience.tell(_text(self._view.feed.snapshot(time.monotonic())))
            await asyncio.sleep(STATE_EVERY_S)
