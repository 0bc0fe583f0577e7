"""The control line: commands ask a running supervisor, and it answers. One request, one reply, MessagePack both ways.

Its address lies in the session's private directory, so that only the session's user reaches it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
import zmq

from bimodal.broker.errors import ControlError, EndpointError, MessageError
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import (
    Gone,
    Heartbeat,
    Hello,
    OffDuty,
    Reconfigure,
    Reconfigured,
    State,
    Status,
    StreamStatus,
    StreamWithdrawn,
    Welcome,
    decode,
)
from bimodal.broker.sockets import bind, connect, supervisor_endpoint

CONTROL_VERSION = 1
MOST_REQUEST_BYTES = 64 * 1024
ANSWER_WITHIN_S = 5.0
MOST_PER_TURN = 16

_T = TypeVar("_T")


class StatusRequest(msgspec.Struct, frozen=True, tag="status"):
    """How is everything?"""


class ScaleRequest(msgspec.Struct, frozen=True, tag="scale", kw_only=True):
    """Have so many workers of these kinds ("face", "audio"), until the config file says something else of them."""

    counts: dict[str, int]


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `figures` are those of its heartbeat, the supervisor's among them (cpu_percent, memory_mb …);
    `address` is the URL where people reach it (the live page)."""

    name: str
    role: str
    state: State
    pid: int | None
    because: str | None
    figures: dict[str, float]
    models: dict[str, str]
    address: str | None = None


class StatusReply(msgspec.Struct, frozen=True, tag="status_reply", kw_only=True):
    """How everything is.

    Attributes:
        up_s: seconds since the supervisor was started.
        because: what is degraded, or why an edited config was refused; None where all is well.
        changing: whether a change of the config is on its way.
        config: the file that is watched, None where there is none.
        refused: why the newest edit of the config was not taken over, else None.
        given_up: why the newest change, be it of the config or of the scale, was given up, else None.
        streams: the broker's counters, as of the last second.
    """

    session: str
    up_s: float
    because: str | None
    changing: bool
    config: str | None
    refused: str | None
    given_up: str | None
    processes: tuple[ProcessReport, ...]
    streams: tuple[StreamStatus, ...]


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """It is done, or on its way: the sentence says what."""

    sentence: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """It can't be done: the sentence says why."""

    sentence: str


Request: TypeAlias = StatusRequest | ScaleRequest
Reply: TypeAlias = StatusReply | Accepted | Refused


class _Sealed(msgspec.Struct, frozen=True):
    """A request or reply on the wire."""

    v: int
    body: Request | Reply


_decoder = msgspec.msgpack.Decoder(_Sealed)


def _seal(body: Request | Reply) -> bytes:
    return msgspec.msgpack.encode(_Sealed(CONTROL_VERSION, body))


def opened(data: bytes) -> Request | Reply:
    """What the bytes on the wire say; raises ControlError where they are no control message of this version."""
    try:
        sealed = _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
        raise ControlError(f"what came is no control message: {error}") from error
    if sealed.v != CONTROL_VERSION:
        raise ControlError("it is another version of bimodal; use the commands of the version that runs")
    return sealed.body


def control_endpoint(directory: Path) -> str:
    """Where a supervisor takes requests."""
    return f"ipc://{directory / 'control.ipc'}"


class ControlServer:
    """The supervisor's end. For its main thread only."""

    def __init__(self, directory: Path) -> None:
        """Bind the session's address; raises EndpointError where that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = bind(self._context, zmq.ROUTER, control_endpoint(directory), most=MOST_REQUEST_BYTES)

    def serve(self, answer: Callable[[Request], Reply]) -> None:
        """Answer what has come, without waiting. A request that can't be read is answered with a Refused."""
        for _ in range(MOST_PER_TURN):
            if not self._socket.poll(0):
                return
            frames = self._socket.recv_multipart()
            if len(frames) == 2:
                # A ROUTER drops the reply where its asker has gone.
                self._socket.send_multipart([frames[0], _seal(_answered(frames[1], answer))])

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()
        self._context.term()


def _answered(data: bytes, answer: Callable[[Request], Reply]) -> Reply:
    try:
        request = opened(data)
    except ControlError as error:
        return Refused(str(error))
    if isinstance(request, StatusRequest | ScaleRequest):
        return answer(request)
    return Refused("that is a reply and no request")


def ask(directory: Path, request: Request, wanted: type[_T], within_s: float = ANSWER_WITHIN_S) -> _T:
    """Ask the supervisor of the session in `directory`.

    Raises ControlError where it does not answer in time, refuses, or answers something else than `wanted`.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = connect(context, zmq.DEALER, control_endpoint(directory))
    except EndpointError:
        context.term()
        raise
    try:
        socket.send(_seal(request))
        if not socket.poll(int(within_s * 1000)):
            raise ControlError(f"session '{directory.name}' did not answer within {within_s:g} s")
        reply = opened(socket.recv())
    finally:
        socket.close(linger=0)
        context.term()
    if isinstance(reply, Refused):
        raise ControlError(reply.sentence)
    if not isinstance(reply, wanted):
        raise ControlError(f"session '{directory.name}' answered something else than was asked")
    return reply


# The supervisor's sockets: where heartbeats arrive, and its line to the broker.


NAME = "supervisor"
# Whoever floods this address must not keep the supervisor from its children.
MOST_BEATS_PER_TURN = 1024

Order: TypeAlias = Gone | Heartbeat | OffDuty | Reconfigure | StreamWithdrawn
Report: TypeAlias = Heartbeat | Welcome | Reconfigured | Status


class SupervisorLine:
    """Owns both sockets. For the supervisor's main thread only."""

    def __init__(self, directory: Path) -> None:
        """Bind the heartbeats' address of the session; raises EndpointError where that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._heartbeats = bind(self._context, zmq.PULL, supervisor_endpoint(directory))
        self._mailbox = Mailbox(directory, NAME, 1, Hello(role="supervisor", pid=os.getpid()))

    def receive(self, timeout_s: float) -> list[Report]:
        """What came, waiting up to `timeout_s` for the first heartbeat: heartbeats of all processes; a Welcome from a
        broker that is new and knows nothing of what it was told before; answers and counters of the broker."""
        found: list[Report] = []
        while (body := self._mailbox.receive(0.0)) is not None:
            if isinstance(body, Welcome | Reconfigured | Status):
                found.append(body)
        deadline = time.monotonic() + timeout_s
        for _ in range(MOST_BEATS_PER_TURN):
            if not self._heartbeats.poll(0 if found else int(max(0.0, deadline - time.monotonic()) * 1000)):
                break
            try:
                body = decode(self._heartbeats.recv()).body
            except MessageError:
                continue
            if isinstance(body, Heartbeat):
                found.append(body)
        return found

    def send(self, message: Order) -> None:
        """Tell the broker; nothing is said while it has not answered yet."""
        if self._mailbox.epoch:
            self._mailbox.send(message)

    def close(self) -> None:
        """Let go of both."""
        self._heartbeats.close()
        self._mailbox.close()
        self._context.term()
