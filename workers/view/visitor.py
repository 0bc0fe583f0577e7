"""Where visitors lend the camera and microphone of their browser: the WebSocket /visit, behind the page's gate.

A visit: the browser says which stream it wants to be (JSON, with the token where one is asked for), is told the
limits, and sends pictures and sound (visitor_message.py). All that is checked here; what is left goes to the
capture process of that stream. One visitor at a time for each stream.
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
TELL_EVERY_S = 1.0
INTRODUCE_WITHIN_S = 10.0
SILENT_AFTER_S = 10.0
AFTER_WRONG_TOKEN_S = 1.0
MOST_INTRODUCING = 8
MOST_INTRODUCTION_BYTES = 2048
BURST_S = 3.0
# Pictures and sound, 25 times a second, with room for what jitters.
SOUNDS_PER_S = 60
MOST_REASON_BYTES = 123


class Introduction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of a visit, as JSON."""

    stream: str
    token: str = ""


class Welcome(msgspec.Struct, frozen=True, kw_only=True, tag="welcome"):
    """The answer: what the browser may send."""

    stream: str
    max_fps: int
    max_width: int
    max_height: int
    max_picture_bytes: int
    max_bytes_per_s: int


class Received(msgspec.Struct, frozen=True, kw_only=True, tag="received"):
    """Once a second: what has come so far, and how many messages nobody could take."""

    pictures: int
    sounds: int
    lost: int


def routes(view: View) -> list[BaseRoute]:
    """/visit and /visitors; both say so where no stream is for visitors."""
    streams = view.settings.visitor_streams
    desk = VisitorDesk(view.settings.visitors, streams, view.directory, view.address)
    view.visitors.extend(streams)
    view.listeners.append(lambda _body: desk.announce(time.monotonic()))
    view.closers.append(desk.close)

    async def offer(_request: Request) -> Response:
        return JSONResponse(desk.offer())

    return [WebSocketRoute("/visit", desk.visit), Route("/visitors", offer)]


class VisitorDesk:
    """All visits of one page. For one event loop."""

    def __init__(self, settings: VisitorSettings, streams: Sequence[str], directory: Path, address: str) -> None:
        """
        Args:
            streams: the streams that visitors may be.
            directory: of the session.
            address: where people open the page.
        """
        self._settings, self._address = settings, address
        self._lines = {stream: VisitorSender(directory, stream) for stream in streams}
        self._seats: dict[str, int] = {}
        self._introducing = 0
        self._announce_at_s = 0.0

    def offer(self) -> dict[str, object]:
        """What the page needs to know before it asks for a camera, as JSON-like values."""
        taken = {stream: stream in self._seats for stream in self._lines}
        return {"streams": taken, "token": self._settings.token is not None}

    def announce(self, now_s: float) -> None:
        """Tell the capture processes where the page is; to be called more often than it is due."""
        if now_s < self._announce_at_s:
            return
        self._announce_at_s = now_s + ANNOUNCE_EVERY_S
        for line in self._lines.values():
            line.send(PageAt(self._address))

    def close(self) -> None:
        """Let go of the capture processes."""
        for line in self._lines.values():
            line.close()

    # -------------------------------------------------------------------------------- one visit

    async def visit(self, socket: WebSocket) -> None:
        """One WebSocket, from its opening to its end."""
        await socket.accept()
        try:
            stream = await self._introduced(socket)
            await self._seated(socket, stream)
        except VisitorRefusedError as refused:
            log.info("a visitor was refused: %s", refused)
            await _close(socket, refused.code, str(refused))
        except (WebSocketDisconnect, RuntimeError):
            pass

    async def _introduced(self, socket: WebSocket) -> str:
        """The stream that the visitor wants to be, and may."""
        if self._introducing >= MOST_INTRODUCING:
            raise VisitorRefusedError(TOO_MUCH, "too many visitors at once; try again in a moment")
        self._introducing += 1
        try:
            introduction = _introduction(await _receive(socket, INTRODUCE_WITHIN_S))
            wanted = self._settings.token
            if wanted is not None and not hmac.compare_digest(introduction.token.encode(), wanted.encode()):
                await asyncio.sleep(AFTER_WRONG_TOKEN_S)
                raise VisitorRefusedError(WRONG_TOKEN, "this is not the token; ask whoever runs this page")
        finally:
            self._introducing -= 1
        if introduction.stream not in self._lines:
            raise VisitorRefusedError(NO_SUCH_STREAM, "there is no such stream for visitors")
        return introduction.stream

    async def _seated(self, socket: WebSocket, stream: str) -> None:
        if stream in self._seats:
            raise VisitorRefusedError(TAKEN, f"somebody else is '{stream}' just now; try again later")
        visit = self._seats[stream] = time.time_ns()
        because = "the page's process stopped"
        try:
            limits = self._settings
            await _tell(
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
            del self._seats[stream]
            self._lines[stream].send(Left(visit, because))


class Visit:
    """One visitor who has a seat."""

    def __init__(self, number: int, socket: WebSocket, line: VisitorSender, limits: VisitorSettings) -> None:
        now_s = time.monotonic()
        self._number, self._socket, self._line, self._limits = number, socket, line, limits
        self._bytes = Allowance(limits.max_kbytes_per_s * 1000, BURST_S, now_s)
        self._messages = {
            "picture": Allowance(limits.max_fps + 1, BURST_S, now_s),
            "sound": Allowance(SOUNDS_PER_S, BURST_S, now_s),
        }
        self._counts = {"picture": 0, "sound": 0}
        self._lost = 0
        self._tell_at_s = now_s

    async def receive(self) -> None:
        """Pass on what comes, until the visitor leaves. Raises VisitorRefusedError or WebSocketDisconnect."""
        while True:
            message = await _receive(self._socket, SILENT_AFTER_S)
            if not isinstance(message, bytes):
                raise VisitorRefusedError(BAD, "pictures and sound come as binary messages")
            self._pass_on(message, time.monotonic_ns())
            if time.monotonic() >= self._tell_at_s:
                self._tell_at_s = time.monotonic() + TELL_EVERY_S
                counts = self._counts
                await _tell(self._socket, Received(pictures=counts["picture"], sounds=counts["sound"], lost=self._lost))

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


def _introduction(message: str | bytes) -> Introduction:
    if isinstance(message, str) and len(message) <= MOST_INTRODUCTION_BYTES:
        with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
            return msgspec.json.decode(message, type=Introduction)
    raise VisitorRefusedError(BAD, 'a visit begins with {"stream": NAME, "token": TOKEN}')


async def _receive(socket: WebSocket, within_s: float) -> str | bytes:
    try:
        message = await asyncio.wait_for(socket.receive(), within_s)
    except TimeoutError as error:
        raise VisitorRefusedError(SILENT, f"nothing came for {within_s:g} s") from error
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    found = message.get("bytes")
    return found if found is not None else str(message.get("text"))


async def _tell(socket: WebSocket, message: msgspec.Struct) -> None:
    await socket.send_text(msgspec.json.encode(message).decode())


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    if socket.client_state is WebSocketState.CONNECTED:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason.encode()[:MOST_REASON_BYTES].decode(errors="ignore"))


# How much may come in a time: an allowance that refills evenly and holds a few seconds' worth. Pure.


class Allowance:
    """A token bucket: `rate` a second, and `burst_s` seconds' worth at once after a pause.

    A network that stumbles delivers late and then all at once; that is no offence, so the burst is generous.
    """

    def __init__(self, rate: float, burst_s: float, now_s: float) -> None:
        self._rate, self._most = rate, rate * burst_s
        self._left, self._at_s = self._most, now_s

    def take(self, amount: float, now_s: float) -> bool:
        """Whether so much may come now; if not, nothing is taken."""
        self._left = min(self._most, self._left + self._rate * max(0.0, now_s - self._at_s))
        self._at_s = max(self._at_s, now_s)
        if amount > self._left:
            return False
        self._left -= amount
        return True
