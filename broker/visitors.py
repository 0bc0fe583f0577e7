"""The private channel to the capture process of a stream that visitors' browsers, or programs of this machine, fill.

Each message has two frames: a note (MessagePack, one of the Structs below) and its data, empty if there is none. The
queue is short on purpose: what a slow receiver can't take is lost at the sender, which learns of it. The page's
process, which alone talks to browsers, has checked everything that it sends. A program of this machine (`bimodal.push`)
writes pixels into slots of its own, so that only their place travels.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import zmq

from bimodal.broker.events import Size, Whole
from bimodal.broker.sockets import SocketFile, bind, connect, visitor_endpoint

MOST_WAITING = 16

MediaKind = Literal["picture", "sound"]


class PageAt(msgspec.Struct, frozen=True, tag="page_at"):
    """Sent every two seconds: the page is running, and people open it at `url`."""

    url: str


class Media(msgspec.Struct, frozen=True, tag="media"):
    """A picture (data: JPEG) or a block of sound (data: int16 little-endian mono) of one visit.

    Attributes:
        visit: number of the visit; a new number is a new visitor.
        captured_ns, sent_ns: on the browser's own clock; a sound is captured when its first sample is.
        arrived_ns: on this machine's monotonic clock, when it was received.
        position: number of a picture in the visit, or of a sound's first sample.
        rate: Hz; 0 for a picture.
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


class PushedFrame(msgspec.Struct, frozen=True, kw_only=True, tag="pushed_frame"):
    """A picture that a program of this machine has written into a slot (no data).

    Attributes:
        visit: number of the program's connection; a new number is a new one.
        pts_ns: time on the program's own line.
        grab_ns: on this machine's monotonic clock.
        ring, slot, generation, shape: as of a Job: uint8 [H, W, 3] RGB.
        size: (width, height) before it was scaled.
    """

    visit: int
    pts_ns: int
    grab_ns: int
    ring: str
    slot: Whole
    generation: Whole
    shape: tuple[int, int, int]
    size: Size


class PushedSound(msgspec.Struct, frozen=True, kw_only=True, tag="pushed_sound"):
    """A stretch of sound of a program of this machine (data: float32 little-endian mono).

    `pts_ns` is its first sample's time on the program's own line, `grab_ns` is when its last one was there.
    """

    visit: int
    pts_ns: int
    grab_ns: int
    rate: int


VisitorNote: TypeAlias = PageAt | Media | Left | PushedFrame | PushedSound

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[VisitorNote] = msgspec.msgpack.Decoder(
    PageAt | Media | Left | PushedFrame | PushedSound
)


class VisitorSender:
    """The page's or program's end of the channel, for one stream."""

    def __init__(self, directory: Path, stream: str) -> None:
        """Connect to the capture process of `stream` in the session in `directory`; it need not be there yet."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.PUSH, visitor_endpoint(directory, stream), most=MOST_WAITING)

    def send(self, note: VisitorNote, data: bytes = b"") -> bool:
        """Send a message without waiting; return False if it is lost, because the receiver is absent or slow."""
        with contextlib.suppress(zmq.Again):
            if self._socket.closed:
                return False
            self._socket.send_multipart([_encoder.encode(note), data], zmq.NOBLOCK)
            return True
        return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=200)
        self._context.term()


class VisitorReceiver:
    """The capture process's end of the channel. For one thread."""

    def __init__(self, directory: Path, stream: str) -> None:
        """Bind the stream's address; raises EndpointError if that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = bind(self._context, zmq.PULL, visitor_endpoint(directory, stream), most=MOST_WAITING)
        self._file = SocketFile(self._socket, visitor_endpoint(directory, stream))

    def receive(self, timeout_s: float) -> tuple[VisitorNote, bytes] | None:
        """Return the next message; None after `timeout_s`, or if what came does not decode."""
        self._file.restore(time.monotonic())
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
        """Close the socket."""
        self._socket.close(linger=0)
        self._context.term()
