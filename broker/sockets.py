"""Endpoints and socket options: where every ZeroMQ socket of the system is made.

All sockets of a session lie in its private directory (0700), so that only its user reaches them.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import zmq

from broker.errors import EndpointError
from broker.messages import MAX_MESSAGE_BYTES

# The longest path of a Unix socket on Linux is 107 bytes; ZeroMQ's "ipc://" does not count.
MAX_SOCKET_PATH = 107
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def session_directory(session: str) -> Path:
    """Where the sockets of a session lie: under XDG_RUNTIME_DIR, else the temporary directory."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) / "bimodal" if runtime else Path(tempfile.gettempdir()) / f"bimodal-{os.getuid()}"
    return base / session


def slots_directory(session: str) -> Path:
    """Where the shared slots of a session lie."""
    base = SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    return base / f"bimodal-{os.getuid()}-{session}"


def make_private(directory: Path) -> None:
    """Create a directory that only this user can enter.

    Raises EndpointError where it can't be made, belongs to someone else, or its path is too long for sockets.
    """
    if len(str(directory / "supervisor.ipc").encode()) > MAX_SOCKET_PATH:
        raise EndpointError(f"{directory} is too long a path for sockets; set XDG_RUNTIME_DIR to a shorter one")
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise EndpointError(f"the session directory {directory} can't be made: {error.strerror}") from error
    if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
        raise EndpointError(f"{directory} belongs to another user; remove it or set XDG_RUNTIME_DIR")
    directory.chmod(0o700)


def mailbox_endpoint(directory: Path) -> str:
    """The broker's mailbox: every actor's line to it."""
    return f"ipc://{directory / 'mailbox.ipc'}"


def events_endpoint(directory: Path) -> str:
    """The event bus."""
    return f"ipc://{directory / 'events.ipc'}"


def supervisor_endpoint(directory: Path) -> str:
    """Where actors send their heartbeats."""
    return f"ipc://{directory / 'supervisor.ipc'}"


def visitor_endpoint(directory: Path, stream: str) -> str:
    """Where the live page hands what a visitor's browser sends to the capture process of a stream."""
    name = hashlib.blake2s(stream.encode(), digest_size=4).hexdigest()  # a stream's name may be longer than a path
    return f"ipc://{directory / f'v-{name}.ipc'}"


def bind(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, *, most: int | None = None
) -> zmq.Socket[bytes]:
    """A bound socket with our options; `most` as for `connect`.

    Raises EndpointError, naming the endpoint, where it is in use or can't be bound, and for TCP beyond loopback.
    """
    socket = _socket(context, kind, most)
    try:
        bind_also(socket, endpoint)
    except EndpointError:
        socket.close()
        raise
    return socket


def bind_also(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind a socket to one more endpoint; raises EndpointError like `bind`."""
    refuse_open_tcp(endpoint)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise EndpointError(
            f"{endpoint} can't be bound ({error.strerror.lower()}): is another bimodal using it?"
        ) from error


def connect(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, endpoint: str, *, most: int | None = None
) -> zmq.Socket[bytes]:
    """A connected socket with our options; the peer need not be there yet.

    Args:
        most: messages that may wait on this side; then nothing is kept for a peer that is not there, either.
    """
    socket = _socket(context, kind, most)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise EndpointError(
            f"'{endpoint}' is no address that can be connected to ({error.strerror.lower()})"
        ) from error
    return socket


def refuse_open_tcp(endpoint: str) -> None:
    """Raises EndpointError for TCP on anything but loopback: that needs CURVE keys."""
    if not endpoint.startswith("tcp://"):
        return
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if not (host == "localhost" or host == "::1" or host.startswith("127.")):
        raise EndpointError(f"{endpoint} is reachable from other machines; only loopback is allowed without keys")


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, most: int | None = None) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 500)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    if kind == zmq.ROUTER:
        # A peer that died takes its old connection along; its next life must get the same name at once.
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    if kind in (zmq.ROUTER, zmq.DEALER):
        # Flow is bounded by credits, so these queues must never block or drop.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
    if most is not None:
        socket.setsockopt(zmq.SNDHWM, most)
        socket.setsockopt(zmq.RCVHWM, most)
        socket.setsockopt(zmq.IMMEDIATE, 1)
    return socket
