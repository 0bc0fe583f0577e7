"""The private line from the live page's process to the capture process of a stream that visitors' browsers fill.

Two frames a message: a note (MessagePack, one of the Structs below) and the data it speaks of, empty where there is
none. The line is short on purpose: what a slow receiver can't take is lost at the sender, who is told so. Everything
on it was checked by the page's process, which alone talks to browsers.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import zmq

from bimodal.broker.sockets import bind, connect, visitor_endpoint

MOST_WAITING = 16

MediaKind = Literal["picture", "sound"]


class PageAt(msgspec.Struct, frozen=True, tag="page_at"):
    """Every two seconds: the page is there, and where people open it."""

    url: str


class Media(msgspec.Struct, frozen=True, tag="media"):
    """A picture (the data is a JPEG) or a stretch of sound (int16 little-endian mono) of one visit.

    Attributes:
        visit: which visit; a number that was not there before is a new visitor.
        captured_ns, sent_ns: on the browser's own clock, of a sound when its first sample was heard.
        arrived_ns: the monotonic clock of this machine when it was received.
        position: of a picture its number in the visit, of a sound the number of its first sample.
        rate: Hz; 0 of a picture.
    """

    visit: int
    kind: MediaKind
    captured_ns: int
    sent_ns: int
    arrived_ns: int
    position: int
    rate: int = 0


class Left(msgspec.Struct, frozen=True, tag="left"):
    """The visit is over."""

    visit: int
    because: str


VisitorNote: TypeAlias = PageAt | Media | Left

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[VisitorNote] = msgspec.msgpack.Decoder(PageAt | Media | Left)


class VisitorLine:
    """The page's end, for one stream."""

    def __init__(self, directory: Path, stream: str) -> None:
        """Connect to the capture process of `stream` in the session in `directory`; it need not be there yet."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.PUSH, visitor_endpoint(directory, stream), most=MOST_WAITING)

    def send(self, note: VisitorNote, data: bytes = b"") -> bool:
        """Put a message on its way, without ever waiting; False where it is lost, for nobody takes it."""
        with contextlib.suppress(zmq.Again):
            if self._socket.closed:
                return False
            self._socket.send_multipart([_encoder.encode(note), data], zmq.NOBLOCK)
            return True
        return False

    def close(self) -> None:
        """Let go."""
        self._socket.close(linger=200)
        self._context.term()


class VisitorInbox:
    """The capture process's end. For one thread."""

    def __init__(self, directory: Path, stream: str) -> None:
        """Bind; raises EndpointError where that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = bind(self._context, zmq.PULL, visitor_endpoint(directory, stream), most=MOST_WAITING)

    def receive(self, timeout_s: float) -> tuple[VisitorNote, bytes] | None:
        """The next message, or None when the time is over; what can't be read is passed over as nothing."""
        if not self._socket.poll(int(timeout_s * 1000)):
            return None
        frames = self._socket.recv_multipart()
        if len(frames) != 2:
            return None
        try:
            return _decoder.decode(frames[0]), frames[1]
        except (msgspec.DecodeError, msgspec.ValidationError):
            return None

    def close(self) -> None:
        """Let go."""
        self._socket.close(linger=0)
        self._context.term()
