"""Endpoints and creation of every ZeroMQ socket of the system.

All sockets of a session lie in its private directory (0700), so that only its user reaches them. Those reachable
from other machines are encrypted, and open only to allowed keys (CURVE, ZeroMQ RFC 26).
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import zmq

from bimodal.broker.errors import EndpointError
from bimodal.broker.keys import KeyPair, Scope, check_public, keys_folder, own
from bimodal.broker.words import MAX_DATA_BYTES, MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

# The longest path of a Unix socket on Linux is 107 bytes; ZeroMQ's "ipc://" does not count.
MAX_SOCKET_PATH = 107
# Time after which the connection of a client without an allowed key is closed, and after which a refused one retries.
HANDSHAKE_MS = 3_000
READABLE = int(zmq.POLLIN)  # a plain int: enum flags are slow
# A reader that sends more than this in one message is disconnected: it has nothing to say but its subscriptions.
MOST_SUBSCRIPTION_BYTES = 4096
# How often the file of a bound socket is looked for.
LOOK_EVERY_S = 0.5
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


def session_directory(session: str) -> Path:
    """The directory of a session's sockets: under XDG_RUNTIME_DIR, else the temporary directory.

    (Not from platformdirs, which takes other folders where the variable is missing or its folder is open to others.)
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    base = Path(runtime) / "bimodal" if runtime else Path(tempfile.gettempdir()) / f"bimodal-{os.getuid()}"
    return base / session


def slots_directory(session: str) -> Path:
    """The directory of a session's shared slots: under /dev/shm, else the temporary directory."""
    base = SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
    return base / f"bimodal-{os.getuid()}-{session}"


def make_private(directory: Path) -> None:
    """Create a directory that only this user can enter, or take over an existing one of this user.

    Raises EndpointError if it can't be made, belongs to another user, is a link, could be replaced by others, or its
    path is too long for sockets.
    """
    if len(str(directory / "supervisor.ipc").encode()) > MAX_SOCKET_PATH:
        raise EndpointError(f"{directory} is too long a path for sockets; set XDG_RUNTIME_DIR to a shorter one")
    try:
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_open_parent(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
        if status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode):
            directory.chmod(0o700)
            return
    except OSError as error:
        raise EndpointError(f"the session directory {directory} can't be made: {error.strerror}") from error
    raise EndpointError(f"{directory} belongs to another user or is a link; remove it or set XDG_RUNTIME_DIR")


def _refuse_open_parent(parent: Path) -> None:
    """Raise EndpointError if others could rename entries of `parent`.

    It must belong to this user or root, and be sticky if others may write to it.
    """
    link, status = parent.lstat(), parent.stat()
    trusted = (0, os.getuid())
    writable = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if link.st_uid not in trusted or status.st_uid not in trusted or (writable and not status.st_mode & stat.S_ISVTX):
        raise EndpointError(f"other users can change {parent}; remove it or set XDG_RUNTIME_DIR to a folder of yours")


def mailbox_endpoint(directory: Path) -> str:
    """The address of the broker's mailbox, for all actors."""
    return f"ipc://{directory / 'mailbox.ipc'}"


def events_endpoint(directory: Path) -> str:
    """The address of the event bus."""
    return f"ipc://{directory / 'events.ipc'}"


def supervisor_endpoint(directory: Path) -> str:
    """The supervisor's address for heartbeats."""
    return f"ipc://{directory / 'supervisor.ipc'}"


def visitor_endpoint(directory: Path, stream: str) -> str:
    """The address at which a stream's capture process takes what a visitor's browser sends to the live page."""
    name = hashlib.blake2s(stream.encode(), digest_size=4).hexdigest()  # a stream's name may be longer than a path
    return f"ipc://{directory / f'v-{name}.ipc'}"


@dataclass(frozen=True)
class Login:
    """Credentials of a client for a CURVE socket: the server's public key, and its own pair."""

    server_key: str
    own: KeyPair


def log_in(server_key: str, name: str) -> Login:
    """Make a Login with the own key of that name from the user's folder; raises KeysError if a key is invalid."""
    check_public(server_key)
    return Login(server_key, own(keys_folder(), name))


def bind(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    endpoint: str,
    *,
    most: int | None = None,
    largest: int = MAX_MESSAGE_BYTES,
) -> zmq.Socket[bytes]:
    """Create a bound socket; `most` as for `connect`; a peer that sends more than `largest` bytes is disconnected.

    Raises EndpointError, naming the endpoint, if it is in use or can't be bound, and for TCP beyond loopback.
    """
    socket = _socket(context, kind, most)
    socket.setsockopt(zmq.MAXMSGSIZE, largest)
    try:
        bind_also(socket, endpoint)
    except EndpointError:
        socket.close()
        raise
    return socket


class SocketFile:
    """Watches the file of a bound socket, and binds it again where somebody has removed it, so that nobody new could
    connect."""

    def __init__(self, socket: zmq.Socket[bytes], endpoint: str, *, keep_connections: bool = False) -> None:
        """`keep_connections`: leave the connections of the old file open; it costs a descriptor for each repair."""
        self._socket, self._endpoint, self._keep = socket, endpoint, keep_connections
        self._path = Path(endpoint.removeprefix("ipc://"))
        self._look_at = 0.0

    def restore(self, now: float) -> bool:
        """Bind it again where its file is gone and its folder is there; True where that was done. `now` in seconds."""
        if now < self._look_at or self._socket.closed:
            return False
        self._look_at = now + LOOK_EVERY_S
        if self._path.exists() or not self._path.parent.is_dir():
            return False
        if not self._keep:
            # This closes its connections, with what is under way on them; peers connect again.
            with contextlib.suppress(zmq.ZMQError):
                self._socket.unbind(self._endpoint)
        with contextlib.suppress(EndpointError):
            bind_also(self._socket, self._endpoint)
            log.warning("the socket file %s had been removed; it was made again", self._path)
            return True
        return False


def bind_also(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind a socket to one more endpoint; raises EndpointError like `bind`."""
    if needs_keys(endpoint):
        raise EndpointError(f"{endpoint} is reachable from other machines; only loopback is allowed without keys")
    _bind(socket, endpoint)


def curve_socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, server: KeyPair, scope: Scope
) -> zmq.Socket[bytes]:
    """Create an unbound socket for `rebind_curve`, open to allowed keys only.

    The context's Authenticator must run.
    """
    socket = _socket(context, kind)
    socket.curve_server = True
    socket.curve_secretkey = server.secret
    socket.setsockopt(zmq.ZAP_DOMAIN, scope.encode())
    # Without this, ZeroMQ would admit everyone if the Authenticator were not running.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    if kind == zmq.ROUTER:
        # A client must not take over another's connection by using its identity.
        socket.setsockopt(zmq.ROUTER_HANDOVER, 0)
    _find_dead_peers(socket)
    return socket


def rebind(socket: zmq.Socket[bytes], have: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """Bind a socket to exactly the `wanted` endpoints, where it is bound to those of `have`.

    Argument and result map each endpoint as requested to the one that was bound (they differ if the port is `*`).
    Raises EndpointError like `bind`, and changes nothing then.
    """
    return _rebind(socket, have, wanted, bind_also)


def rebind_curve(socket: zmq.Socket[bytes], have: Mapping[str, str], wanted: Sequence[str]) -> dict[str, str]:
    """Rebind a socket that `curve_socket` made, as `rebind`."""
    for endpoint in wanted:
        if not endpoint.startswith("tcp://"):
            raise EndpointError(f"'{endpoint}' is no address for other machines, such as tcp://0.0.0.0:5656")
    return _rebind(socket, have, wanted, _bind)


def _rebind(
    socket: zmq.Socket[bytes],
    have: Mapping[str, str],
    wanted: Sequence[str],
    bind_one: Callable[[zmq.Socket[bytes], str], None],
) -> dict[str, str]:
    bound: dict[str, str] = {}
    try:
        for endpoint in wanted:
            if endpoint not in have:
                bind_one(socket, endpoint)
                bound[endpoint] = socket.getsockopt_string(zmq.LAST_ENDPOINT)
    except EndpointError:
        for actual in bound.values():
            socket.unbind(actual)
        raise
    for endpoint in have.keys() - set(wanted):
        socket.unbind(have[endpoint])
    return {endpoint: actual for endpoint, actual in {**have, **bound}.items() if endpoint in wanted}


def connect(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    endpoint: str,
    *,
    most: int | None = None,
    login: Login | None = None,
) -> zmq.Socket[bytes]:
    """Create a connected socket; the peer need not be there yet.

    Args:
        most: bound on messages that wait on this side; with it, nothing is queued for an absent peer either.
        login: credentials for a CURVE socket.

    Raises EndpointError if the address is invalid, and for TCP beyond loopback without a login.
    """
    if login is None and needs_keys(endpoint):
        raise EndpointError(f"{endpoint} is on another machine, and needs its key: --server-key (docs/security.md)")
    socket = _socket(context, kind, most)
    if login is not None:
        if kind == zmq.DEALER:
            socket.setsockopt(zmq.MAXMSGSIZE, MAX_DATA_BYTES)
        socket.curve_serverkey = login.server_key.encode()
        socket.curve_publickey = login.own.public.encode()
        socket.curve_secretkey = login.own.secret
        _find_dead_peers(socket)
    try:
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise EndpointError(
            f"'{endpoint}' is no address that can be connected to ({error.strerror.lower()})"
        ) from error
    return socket


def readable(socket: zmq.Socket[bytes]) -> bool:
    """True if a message can be received. Much cheaper than a `recv` that raises zmq.Again."""
    return bool(int(socket.getsockopt(zmq.EVENTS)) & READABLE)


def descriptor_of(socket: zmq.Socket[bytes]) -> int:
    """The descriptor to wait at for a socket that is read till `readable` says no whenever it is roused, and never
    written to: a poller asks the kernel alone then, where a socket costs it six system calls a turn."""
    return int(socket.getsockopt(zmq.FD))


def needs_keys(endpoint: str) -> bool:
    """True if an address is reachable from other machines.

    Raises EndpointError for anything but TCP and socket files: other transports have no keys, and an abstract socket
    (ipc://@name) has no owner.
    """
    transport, _, place = endpoint.partition("://")
    if transport == "ipc" and place and not place.startswith("@"):
        return False
    host, _, port = place.rpartition(":")
    if transport != "tcp" or not (port.isdecimal() or port == "*"):
        raise EndpointError(f"'{endpoint}' is no address that can be used: take tcp://ADDRESS:5655 or ipc:///PATH")
    host = host.strip("[]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    # A socket file takes its mode from the umask: no other user may connect, wherever it lies.
    mask = os.umask(0o077)
    try:
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise EndpointError(
            f"{endpoint} can't be bound ({error.strerror.lower()}): is another bimodal using it?"
        ) from error
    finally:
        os.umask(mask)


def _find_dead_peers(socket: zmq.Socket[bytes]) -> None:
    """Enable ZeroMQ heartbeats: a machine that was switched off does not close its connection."""
    socket.setsockopt(zmq.HEARTBEAT_IVL, 5_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int, most: int | None = None) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 500)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    if kind == zmq.XPUB:
        # Subscriptions are admitted one by one (broker/readers.py).
        socket.setsockopt(zmq.XPUB_MANUAL, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, MOST_SUBSCRIPTION_BYTES)
    if kind == zmq.ROUTER:
        # A restarted peer must get its identity at once, before its old connection is noticed to be dead.
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    if kind in (zmq.ROUTER, zmq.DEALER):
        # These must never block or drop. Files are bounded by their credits; jobs of live streams wait here, a few
        # hundred bytes each, while there is no broker.
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
    if most is not None:
        socket.setsockopt(zmq.SNDHWM, most)
        socket.setsockopt(zmq.RCVHWM, most)
        socket.setsockopt(zmq.IMMEDIATE, 1)
    return socket
