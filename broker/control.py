"""The control channel between commands and a running supervisor: one request, one reply, both MessagePack.

Its address lies in the session's private directory, so that only the session's user can reach it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

import msgspec
import zmq

from bimodal.broker.errors import ControlError, EndpointError, RefusedError
from bimodal.broker.readers import Connections
from bimodal.broker.sockets import SocketFile, bind, connect
from bimodal.broker.words import State, StreamStatus

CONTROL_VERSION = 1
MOST_REQUEST_BYTES = 64 * 1024
ANSWER_WITHIN_S = 5.0
MOST_PER_TURN = 16
# Requests, and replies, that wait for each client.
MOST_WAITING = 64

_T = TypeVar("_T")


class StatusRequest(msgspec.Struct, frozen=True, tag="status"):
    """Request the state of all processes and streams."""


class ScaleRequest(msgspec.Struct, frozen=True, tag="scale", kw_only=True):
    """Set the number of workers by kind ("face", "audio"); it holds until the config file changes that number."""

    counts: dict[str, int]


class ConfigRequest(msgspec.Struct, frozen=True, tag="config"):
    """Request the config in force, with secrets hidden."""


class ChangeRequest(msgspec.Struct, frozen=True, tag="change", kw_only=True):
    """Change the config of the running system, until its file is edited; hidden secrets stay what they are.

    Attributes:
        values: of config.yaml.
        mode: `whole`: they are all of it; `sections`: the sections that they name; `merge`: only keys that they name
            change, and null brings a default back (RFC 7396).
    """

    values: dict[str, object]
    mode: Literal["whole", "sections", "merge"]


class PushRequest(msgspec.Struct, frozen=True, tag="push"):
    """A program on this machine wants to push frames and sound into this stream."""

    stream: str


class PushReply(msgspec.Struct, frozen=True, tag="push_reply", kw_only=True):
    """It may: the folder of the slots, and how the stream is read.

    Attributes:
        memory_mb: of shared slots, in MiB.
        picture, sound: what the stream takes.
    """

    slots: str
    max_height: int
    memory_mb: int
    picture: bool
    sound: bool


class ConfigReply(msgspec.Struct, frozen=True, tag="config_reply", kw_only=True):
    """The config in force, as values of config.yaml; secrets are hidden.

    Attributes:
        files: paths of the files that are watched, and that are there.
        in_files: whether it is what they say, as far as they were read.
        changing: true while a change is being carried out.
        refused: why the newest change was refused or rolled back, else None.
        given_up: why the newest change was given up, else None.
        tried: how the workers of the newest change did on real frames beforehand, None if they were not tried.
    """

    config: dict[str, object]
    files: tuple[str, ...]
    in_files: bool
    changing: bool
    refused: str | None
    given_up: str | None
    tried: str | None = None


class RecordRequest(msgspec.Struct, frozen=True, tag="record", kw_only=True):
    """Begin to record the live streams, or stop; it holds until `outputs.record` of the config file changes."""

    on: bool


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """State of one process. `figures` are those of its heartbeat and the supervisor's own (cpu_percent, memory_mb …);
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
    """State of all processes and streams.

    Attributes:
        up_s: seconds since the supervisor was started.
        because: what is degraded, or why an edited config was refused; None if all is well.
        changing: true while a change of the config is being carried out.
        config: path of the file that is watched (of several: with commas between them), None if there is none.
        refused: why the newest edit of the config was refused, else None.
        given_up: why the newest change of config or scale was given up, else None.
        streams: the broker's counters, as of the last second.
        tried: how the workers of the newest change did on real frames beforehand, None if they were not tried.
        corpus: where the run over a corpus stands, in one line; None for any other system. 'bimodal status' puts a line
            for each run that is under way here.
        workers: number of workers by modality, here and on other machines, as of the last second.
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
    tried: str | None = None
    corpus: str | None = None
    workers: dict[str, int] = {}


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The request is done or under way; `sentence` says what happens."""

    sentence: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The request can't be done; `sentence` says why."""

    sentence: str


Request: TypeAlias = StatusRequest | ScaleRequest | ConfigRequest | ChangeRequest | PushRequest | RecordRequest
Reply: TypeAlias = StatusReply | ConfigReply | PushReply | Accepted | Refused


class _Packet(msgspec.Struct, frozen=True):
    """A request or reply on the wire."""

    v: int
    body: Request | Reply


_decoder = msgspec.msgpack.Decoder(_Packet)


def _pack(body: Request | Reply) -> bytes:
    return msgspec.msgpack.encode(_Packet(CONTROL_VERSION, body))


def parse(data: bytes) -> Request | Reply:
    """Decode a request or reply; raises ControlError for anything but a control message of this version."""
    try:
        packet = _decoder.decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, ValueError) as error:
        raise ControlError(f"what came is no control message: {error}") from error
    if packet.v != CONTROL_VERSION:
        raise ControlError("it is another version of bimodal; use the commands of the version that runs")
    return packet.body


def control_endpoint(directory: Path) -> str:
    """The address at which a supervisor takes requests."""
    return f"ipc://{directory / 'control.ipc'}"


class ControlServer:
    """The supervisor's end of the control channel. For its main thread only."""

    def __init__(self, directory: Path) -> None:
        """Bind the session's address; raises EndpointError if that fails."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = bind(
            self._context, zmq.ROUTER, control_endpoint(directory), most=MOST_WAITING, largest=MOST_REQUEST_BYTES
        )
        self._file = SocketFile(self._socket, control_endpoint(directory))
        self._connections = Connections(self._socket, "the control channel")

    @property
    def watched(self) -> tuple[zmq.Socket[bytes], int]:
        """What is readable when there is something to `serve`."""
        return self._socket, self._connections.descriptor

    def serve(self, answer: Callable[[Request], Reply]) -> None:
        """Answer the requests that have arrived, without waiting. One that does not decode is answered by Refused."""
        self._file.restore(time.monotonic())
        self._connections.update()
        self._connections.ended.clear()
        for _ in range(MOST_PER_TURN):
            if not self._socket.poll(0):
                return
            frames = self._socket.recv_multipart()
            if len(frames) == 2:
                # A ROUTER drops the reply if its client is gone.
                self._socket.send_multipart([frames[0], _pack(_answered(frames[1], answer))])

    def close(self) -> None:
        """Close the socket."""
        self._connections.close()
        self._socket.close()
        self._context.term()


def _answered(data: bytes, answer: Callable[[Request], Reply]) -> Reply:
    try:
        request = parse(data)
    except ControlError as error:
        return Refused(str(error))
    if isinstance(request, Request):
        return answer(request)
    return Refused("that is a reply and no request")


def ask(directory: Path, request: Request, wanted: type[_T], within_s: float = ANSWER_WITHIN_S) -> _T:
    """Send a request to the supervisor of the session in `directory` and return its reply.

    Raises RefusedError if it refuses, ControlError if it does not answer in time or replies with another type than
    `wanted`.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        socket = connect(context, zmq.DEALER, control_endpoint(directory))
    except EndpointError:
        context.term()
        raise
    try:
        socket.send(_pack(request))
        if not socket.poll(int(within_s * 1000)):
            raise ControlError(f"session '{directory.name}' did not answer within {within_s:g} s")
        reply = parse(socket.recv())
    finally:
        socket.close(linger=0)
        context.term()
    if isinstance(reply, Refused):
        raise RefusedError(reply.sentence)
    if not isinstance(reply, wanted):
        raise ControlError(f"session '{directory.name}' answered something else than was asked")
    return reply
