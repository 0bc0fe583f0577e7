"""Live events over HTTP: server-sent events and WebSocket at one address.

A slow reader delays nobody: it loses its oldest events, and is told how many.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Annotated

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from bimodal.broker.events import Changes, Emotion
from bimodal.workers.http_api.access import SUBPROTOCOL
from bimodal.workers.http_api.problems import ProblemError, too_many

MOST_WAITING = 256
KEEP_ALIVE_S = 15.0
RETRY_MS = 2000
NORMAL = 1000


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events.

    Attributes:
        stream: of this stream only.
        changes: only those that say something new.
        count: end after so many.
    """

    stream: Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="Of this stream only.")] | None = None
    changes: Annotated[bool, msgspec.Meta(description="Only events that say something new.")] = False
    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000, description="End after so many events.")] | None = None


class Sent(msgspec.Struct, frozen=True):
    """One message to a reader: an event as JSON with its identity, or how many were lost before it."""

    json: bytes
    identity: str | None = None


class Reader:
    """The outbox of one reader."""

    def __init__(self, query: EventsQuery) -> None:
        self.lost = 0
        self._stream, self._left = query.stream, query.count
        self._changes = Changes() if query.changes else None
        self._waiting: deque[Sent] = deque()
        self._filled = asyncio.Event()
        self._closed = False

    def wants(self, event: Emotion) -> bool:
        """True for an event of its stream, or, with changes only, one that says something new."""
        return self._stream in (None, event.stream) and (self._changes is None or self._changes.new(event))

    def put(self, sent: Sent) -> None:
        """Put an event into its outbox; the oldest goes where that is full."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(sent)
        self._filled.set()

    def close(self) -> None:
        """End its messages after those that wait."""
        self._closed = True
        self._filled.set()

    async def messages(self) -> AsyncIterator[Sent | None]:
        """Its messages, without an end unless a count was asked for; None where nothing came for a while."""
        while self._left is None or self._left > 0:
            if not self._waiting:
                if self._closed:
                    return
                self._filled.clear()
                try:
                    # Not wait_for: until Python 3.12 it forgets that it was cancelled if an event comes in that moment.
                    async with asyncio.timeout(KEEP_ALIVE_S):
                        await self._filled.wait()
                except TimeoutError:
                    yield None
                continue
            if self.lost:
                lost, self.lost = self.lost, 0
                yield Sent(msgspec.json.encode({"type": "lost", "count": lost}))
            sent = self._waiting.popleft()
            if self._left is not None:
                self._left -= 1
            yield sent


class Feed:
    """All readers. For use in one event loop."""

    def __init__(self, most_readers: int) -> None:
        self._most = most_readers
        self._readers: set[Reader] = set()
        self._encoder = msgspec.json.Encoder()

    def __len__(self) -> int:
        return len(self._readers)

    def publish(self, event: Emotion) -> None:
        """Put an event into the outboxes of its readers; it is encoded once, and only if there are any."""
        readers = [reader for reader in self._readers if reader.wants(event)]
        if readers:
            sent = Sent(self._encoder.encode(event), f"{event.run}-{event.seq}")
            for reader in readers:
                reader.put(sent)

    def close(self) -> None:
        """End all streams."""
        for reader in self._readers:
            reader.close()

    @contextlib.contextmanager
    def reader(self, query: EventsQuery) -> Iterator[Reader]:
        """One reader, for as long as the context. Raises ProblemError (429) where there are too many."""
        if len(self._readers) >= self._most:
            raise too_many("too_many_readers", f"{self._most} programs read events already.", KEEP_ALIVE_S)
        reader = Reader(query)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def server_sent(self, query: EventsQuery) -> AsyncGenerator[bytes, None]:
        """The body of a stream of server-sent events, the first piece at once."""
        with self.reader(query) as reader:
            yield b"retry: %d\n: connected\n\n" % RETRY_MS
            async for sent in reader.messages():
                yield b": nothing new\n\n" if sent is None else as_server_sent(sent)

    async def serve(self, socket: WebSocket, query: EventsQuery) -> None:
        """Serve one WebSocket until it, or the count of its events, ends. Raises ProblemError before it is accepted."""
        with self.reader(query) as reader:
            await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
            sending = asyncio.create_task(_send(socket, reader))
            leaving = asyncio.create_task(_until_left(socket))
            try:
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (sending, leaving):
                    task.cancel()
                await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(socket: WebSocket, reader: Reader) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        async for sent in reader.messages():
            if sent is not None:
                await socket.send_text(sent.json.decode())
        await socket.close(NORMAL)


async def _until_left(socket: WebSocket) -> None:
    """Ignore what a reader sends until it leaves."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def as_server_sent(sent: Sent) -> bytes:
    """One message of a stream of server-sent events. JSON has no line breaks outside of its escapes."""
    kind = b"lost" if sent.identity is None else b"emotion"
    identity = b"" if sent.identity is None else b"id: %s\n" % sent.identity.encode()
    return b"%sevent: %s\ndata: %s\n\n" % (identity, kind, sent.json)


def no_session() -> ProblemError:
    """What a server without a running system says to what needs one."""
    return ProblemError(
        404, "no_session", "This server analyses clips only; live streams belong to 'bimodal up' with outputs.api."
    )
