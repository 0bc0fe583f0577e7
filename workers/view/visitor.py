"""The WebSocket /visit: a visitor's browser sends the pictures and sound of a stream.

A visit: the browser names the stream it wants to fill (JSON, with the token where one is asked for), gets the limits,
and sends pictures and sound (visitor_message.py). All of it is checked here and goes to the capture process of that
stream. One visitor at a time for each stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from bimodal.broker.visitors import Left, Media, PageAt, VisitorSender
from bimodal.workers.rate_limit import TokenBucket
from bimodal.workers.view.settings import VisitorSettings
from bimodal.workers.view.state import View
from bimodal.workers.view.visitor_message import (
    BAD,
    NO_SUCH_STREAM,
    SILENT,
    TAKEN,
    TOO_MUCH,
    WRONG_TOKEN,
    VisitorRefusedError,
    read,
)

log = logging.getLogger(__name__)

ANNOUNCE_EVERY_S = 2.0
REPORT_EVERY_S = 1.0
REQUEST_WITHIN_S = 10.0
SILENT_AFTER_S = 10.0
AFTER_WRONG_TOKEN_S = 1.0
MOST_PENDING = 8
MOST_REQUEST_BYTES = 2048
BURST_S = 3.0
# Pictures and sound, 25 times a second, with room for what jitters.
SOUNDS_PER_S = 60
MOST_REASON_BYTES = 123


class VisitRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of a visit, as JSON."""

    stream: str
    token: str = ""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The answer: limits of what the browser may send."""

    stream: str
    max_fps: int
    max_width: int
    max_height: int
    max_picture_bytes: int
    max_bytes_per_s: int


class Received(msgspec.Struct, frozen=True, kw_only=True, tag="received"):
    """Once a second: pictures and sounds received so far, and messages that capture could not take."""

    pictures: int
    sounds: int
    lost: int


def routes(view: View) -> list[BaseRoute]:
    """Routes of /visit and /visitors; both say so where no stream is for visitors."""
    streams = view.settings.visitor_streams
    visits = Visits(view.settings.visitors, streams, view.directory, view.address)
    view.visitors.extend(streams)
    view.listeners.append(lambda _body: visits.announce(time.monotonic()))
    view.closers.append(visits.close)

    async def offer(_request: Request) -> Response:
        return JSONResponse(visits.offer())

    return [WebSocketRoute("/visit", visits.serve), Route("/visitors", offer)]


class Visits:
    """All visits of one page. For use in one event loop."""

    def __init__(self, settings: VisitorSettings, streams: Sequence[str], directory: Path, address: str) -> None:
        """
        Args:
            streams: the streams that visitors may fill.
            directory: folder of the session's sockets.
            address: URL of the page.
        """
        self._settings, self._address = settings, address
        self._lines = {stream: VisitorSender(directory, stream) for stream in streams}
        self._current: dict[str, int] = {}
        self._pending = 0
        self._announce_at_s = 0.0

    def offer(self) -> dict[str, object]:
        """Streams with whether they are taken, and whether a token is needed, as JSON-like values."""
        taken = {stream: stream in self._current for stream in self._lines}
        return {"streams": taken, "token": self._settings.token is not None}

    def announce(self, now_s: float) -> None:
        """Send the page's address to the capture processes when it is due; called more often than that."""
        if now_s < self._announce_at_s:
            return
        self._announce_at_s = now_s + ANNOUNCE_EVERY_S
        for line in self._lines.values():
            line.send(PageAt(self._address))

    def close(self) -> None:
        """Disconnect from the capture processes."""
        for line in self._lines.values():
            line.close()

    # -------------------------------------------------------------------------------- one visit

    async def serve(self, socket: WebSocket) -> None:
        """Serve one WebSocket from its opening to its end."""
        await socket.accept()
        try:
            stream = await self._authorize(socket)
            await self._run(socket, stream)
        except VisitorRefusedError as refused:
            log.info("a visitor was refused: %s", refused)
            await _close(socket, refused.code, str(refused))
        except (WebSocketDisconnect, RuntimeError):
            pass

    async def _authorize(self, socket: WebSocket) -> str:
        """The stream that the visitor wants and may fill."""
        if self._pending >= MOST_PENDING:
            raise VisitorRefusedError(TOO_MUCH, "too many visitors at once; try again in a moment")
        self._pending += 1
        try:
            request = _request(await _receive(socket, REQUEST_WITHIN_S))
            wanted = self._settings.token
            if wanted is not None and not hmac.compare_digest(request.token.encode(), wanted.encode()):
                await asyncio.sleep(AFTER_WRONG_TOKEN_S)
                raise VisitorRefusedError(WRONG_TOKEN, "this is not the token; ask whoever runs this page")
        finally:
            self._pending -= 1
        if request.stream not in self._lines:
            raise VisitorRefusedError(NO_SUCH_STREAM, "there is no such stream for visitors")
        return request.stream

    async def _run(self, socket: WebSocket, stream: str) -> None:
        if stream in self._current:
            raise VisitorRefusedError(TAKEN, f"somebody else is '{stream}' just now; try again later")
        visit = self._current[stream] = time.time_ns()
        because = "the page's process stopped"
        try:
            limits = self._settings
            await _send(
                socket,
                Welcome(
                    stream=stream,
                    max_fps=limits.max_fps,
                    max_width=limits.max_width,
                    max_height=limits.max_height,
                    max_picture_bytes=limits.max_picture_kbytes * 1000,
                    max_bytes_per_s=limits.max_kbytes_per_s * 1000,
                ),
            )
            await Visit(visit, socket, self._lines[stream], limits).receive()
        except VisitorRefusedError as refused:
            because = str(refused)
            raise
        except WebSocketDisconnect:
            because = "the visitor left"
            raise
        finally:
            del self._current[stream]
            self._lines[stream].send(Left(visit, because))


class Visit:
    """The visit of one authorized visitor."""

    def __init__(self, number: int, socket: WebSocket, line: VisitorSender, limits: VisitorSettings) -> None:
        now_s = time.monotonic()
        self._number, self._socket, self._line, self._limits = number, socket, line, limits
        self._bytes = TokenBucket(limits.max_kbytes_per_s * 1000, BURST_S, now_s)
        self._messages = {
            "picture": TokenBucket(limits.max_fps + 1, BURST_S, now_s),
            "sound": TokenBucket(SOUNDS_PER_S, BURST_S, now_s),
        }
        self._counts = {"picture": 0, "sound": 0}
        self._lost = 0
        self._report_at_s = now_s

    async def receive(self) -> None:
        """Pass messages on until the visitor leaves. Raises VisitorRefusedError or WebSocketDisconnect."""
        while True:
            message = await _receive(self._socket, SILENT_AFTER_S)
            if not isinstance(message, bytes):
                raise VisitorRefusedError(BAD, "pictures and sound come as binary messages")
            self._pass_on(message, time.monotonic_ns())
            if time.monotonic() >= self._report_at_s:
                self._report_at_s = time.monotonic() + REPORT_EVERY_S
                counts = self._counts
                await _send(self._socket, Received(pictures=counts["picture"], sounds=counts["sound"], lost=self._lost))

    def _pass_on(self, message: bytes, arrived_ns: int) -> None:
        if not self._bytes.take(len(message), arrived_ns / 1e9):
            raise VisitorRefusedError(TOO_MUCH, f"more than {self._limits.max_kbytes_per_s} kB a second")
        found = read(message, self._limits)
        if not self._messages[found.kind].take(1, arrived_ns / 1e9):
            most = f"{self._limits.max_fps} pictures and {SOUNDS_PER_S} sounds"
            raise VisitorRefusedError(TOO_MUCH, f"more than {most} a second")
        note = Media(
            visit=self._number,
            kind=found.kind,
            captured_ns=found.captured_ns,
            sent_ns=found.sent_ns,
            arrived_ns=arrived_ns,
            position=found.position,
            rate=found.rate,
        )
        self._counts[found.kind] += 1
        self._lost += not self._line.send(note, found.data)


def _request(message: str | bytes) -> VisitRequest:
    if isinstance(message, str) and len(message) <= MOST_REQUEST_BYTES:
        with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
            return msgspec.json.decode(message, type=VisitRequest)
    raise VisitorRefusedError(BAD, 'a visit begins with {"stream": NAME, "token": TOKEN}')


async def _receive(socket: WebSocket, within_s: float) -> str | bytes:
    try:
        async with asyncio.timeout(within_s):
            message = await socket.receive()
    except TimeoutError as error:
        raise VisitorRefusedError(SILENT, f"nothing came for {within_s:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    found = message.get("bytes")
    return found if found is not None else str(message.get("text"))


async def _send(socket: WebSocket, message: msgspec.Struct) -> None:
    await socket.send_text(msgspec.json.encode(message).decode())


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    if socket.client_state is WebSocketState.CONNECTED:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason.encode()[:MOST_REASON_BYTES].decode(errors="ignore"))
