"""Bounds on those who connect: how many connections a socket accepts, and how many subscriptions each of them has.

A reader of the event bus needs no permission but its user's, so it must not be able to stop the broker: 100,000
subscriptions would otherwise be asked at each publication, and connections without end would use up the descriptors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket as sockets
import struct
from collections import Counter
from pathlib import Path

import zmq

from bimodal.broker.sockets import descriptor_of, readable

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 512
# Descriptors that the process itself needs, also where few are allowed.
OWN_DESCRIPTORS = 128
WANTED_DESCRIPTORS = 16_384
MOST_SUBSCRIPTIONS = 256
MOST_PREFIX_BYTES = 256
# Subscriptions handled before the broker turns to other messages.
MOST_PER_TURN = 256
SUBSCRIBED, UNSUBSCRIBED = b"\x01", b"\x00"


def raise_descriptor_limit() -> None:
    """Allow this process as many descriptors as it may have, up to what it can need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def most_connections() -> int:
    """Limit of connections of a socket: fewer where few descriptors are allowed."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(8, min(MOST_CONNECTIONS, (soft - OWN_DESCRIPTORS) // 2))


class Connections:
    """Counts the connections of a listening socket, and closes those beyond the limit as soon as they are accepted.

    Processes of the session itself are always accepted.
    """

    def __init__(self, socket: zmq.Socket[bytes], name: str) -> None:
        self._name = name
        self._monitor = socket.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._socket = socket
        self._open: set[int] = set()
        self._refused = 0
        self.ended: list[int] = []

    @property
    def descriptor(self) -> int:
        """Readable whenever there may be something for `update`, which must then be called."""
        return descriptor_of(self._monitor)

    @property
    def full(self) -> bool:
        """True while no more strangers are accepted."""
        return len(self._open) >= most_connections()

    def update(self) -> None:
        """Take in who came and went. Descriptors that ended, or were given to somebody new, are added to `ended`."""
        while readable(self._monitor):
            # zmq.utils.monitor reads these too, but imports asyncio, which no process of the system needs.
            event, descriptor = struct.unpack("=Hi", self._monitor.recv_multipart()[0])
            self.ended.append(descriptor)
            if event == zmq.EVENT_DISCONNECTED:
                self._open.discard(descriptor)
            elif self.full and not _is_own(descriptor):
                self._refuse(descriptor)
            else:
                self._open.add(descriptor)

    def _refuse(self, descriptor: int) -> None:
        self._refused += 1
        if self._refused.bit_count() == 1:  # 1, 2, 4, 8 …: a flood must not fill the log
            log.warning("%s has %d connections; %d more were refused", self._name, len(self._open), self._refused)
        with contextlib.suppress(OSError), _borrowed(descriptor) as connection:
            connection.shutdown(sockets.SHUT_RDWR)

    def close(self) -> None:
        """Stop watching."""
        if not self._socket.closed:
            self._socket.disable_monitor()
        self._monitor.close(linger=0)


def _borrowed(descriptor: int) -> sockets.socket:
    """A socket of our own for a connection of ZeroMQ's."""
    return sockets.socket(fileno=os.dup(descriptor))


def _is_own(descriptor: int) -> bool:
    """True for a connection from our supervisor or one of its processes."""
    try:
        with _borrowed(descriptor) as connection:
            if connection.family != sockets.AF_UNIX or not hasattr(sockets, "SO_PEERCRED"):
                return False
            credentials = connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_PEERCRED, struct.calcsize("3i"))
            pid = int(struct.unpack("3i", credentials)[0])
        family = {os.getpid(), os.getppid()} - {1}
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, ValueError, IndexError):
        return False
    return pid in family or parent in family


class Readers:
    """The subscriptions of one XPUB socket, of which each connection may have a bounded number. For one thread.

    The socket must be in manual mode (ZMQ_XPUB_MANUAL), in which nothing is subscribed but what is admitted here.
    """

    def __init__(self, socket: zmq.Socket[bytes], name: str) -> None:
        self.socket = socket
        self._connections = Connections(socket, name)
        self._name = name
        self._prefixes: dict[int, set[bytes]] = {}
        self._wanted: Counter[bytes] = Counter()
        self._lengths: Counter[int] = Counter()
        self._ignored = 0

    def read(self) -> None:
        """Take in connections, and some of the pending subscriptions and their ends."""
        self._take_connections()
        for _ in range(MOST_PER_TURN):
            if not readable(self.socket):
                return
            frame = self.socket.recv(copy=False)
            # A connection may have come since then, with the descriptor of one that has ended: what it says must not
            # count as the other's.
            self._take_connections()
            self._read_one(frame)

    def _take_connections(self) -> None:
        self._connections.update()
        for descriptor in self._connections.ended:
            for prefix in self._prefixes.pop(descriptor, ()):
                self._forget(prefix)
        self._connections.ended.clear()

    def _read_one(self, frame: zmq.Frame) -> None:
        try:
            descriptor = int(frame.get(zmq.SRCFD))
        except zmq.ZMQError:
            return  # of a connection that has ended
        data = frame.bytes
        kind, prefix = data[:1], data[1:]
        mine = self._prefixes.setdefault(descriptor, set())
        if kind == UNSUBSCRIBED and prefix in mine:
            mine.remove(prefix)
            self._forget(prefix)
            self.socket.setsockopt(zmq.UNSUBSCRIBE, prefix)
        elif kind == SUBSCRIBED:
            if prefix not in mine:
                if len(mine) >= MOST_SUBSCRIPTIONS or len(prefix) > MOST_PREFIX_BYTES:
                    self._ignore()
                    return
                mine.add(prefix)
                self._wanted[prefix] += 1
                self._lengths[len(prefix)] += 1
            # Also where it is known: the one that is known may be left from a connection with the same descriptor.
            self.socket.setsockopt(zmq.SUBSCRIBE, prefix)

    def _ignore(self) -> None:
        self._ignored += 1
        if self._ignored.bit_count() == 1:
            log.warning(
                "a reader of %s has more than %d subscriptions, or too long ones; %d were ignored: subscribe to the "
                "beginning that they share",
                self._name,
                MOST_SUBSCRIPTIONS,
                self._ignored,
            )

    def _forget(self, prefix: bytes) -> None:
        self._wanted[prefix] -= 1
        self._lengths[len(prefix)] -= 1
        if not self._wanted[prefix]:
            del self._wanted[prefix]
        if not self._lengths[len(prefix)]:
            del self._lengths[len(prefix)]

    @property
    def descriptor(self) -> int:
        """Readable whenever a connection may have come or gone; `read` must then be called."""
        return self._connections.descriptor

    def want(self, topic: bytes) -> bool:
        """True if some reader has subscribed to the topic. The cost grows with the lengths in use, not with readers."""
        return any(topic[:length] in self._wanted for length in self._lengths if length <= len(topic))

    def close(self) -> None:
        """Stop watching connections; the socket stays open."""
        self._connections.close()
