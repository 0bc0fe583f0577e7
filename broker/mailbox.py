"""The actors' side of the broker, the supervisor and the event bus; it hides all sockets from them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import zmq

from bimodal.broker.beats import next_beat, until_beat
from bimodal.broker.errors import MessageError, VersionError
from bimodal.broker.messages import (
    Body,
    Envelope,
    Heartbeat,
    Hello,
    ModelFile,
    Refusal,
    Welcome,
    decode,
    seal,
)
from bimodal.broker.sockets import Login, connect, descriptor_of, mailbox_endpoint, readable, supervisor_endpoint

# Until the broker has answered; and afterwards, when a new connection, which may be to a new broker, asks for one too.
HELLO_EVERY_S, HELLO_QUIET_S = 0.5, 5.0

Watched: TypeAlias = "zmq.Socket[bytes] | int"
"""What a wait may watch beside its own socket: another socket, or a descriptor."""


class Mailbox:
    """One actor's connection to the broker and the supervisor. For one thread; others use a `sender`.

    A ZeroMQ message holds one or several envelopes, a frame each, so that a bundle costs one wake-up.

    Attributes:
        epoch: of the broker, from its last Welcome; 0 before the first.
    """

    def __init__(self, directory: Path, name: str, incarnation: int, hello: Hello) -> None:
        """Connect to the broker of the session in `directory`; it need not be there yet."""
        self.name = name
        self.incarnation = incarnation
        self.epoch = 0
        self._directory = directory
        self._hello = hello
        self._hello_due = 0.0
        self._outgoing: list[bytes] = []
        self._received: deque[Body] = deque()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._broker = self._to_broker()
        self._answered = self._roused = False
        self._poller = zmq.Poller()
        self._poller.register(self._broker, zmq.POLLIN)
        self._monitor = self._connections()
        self._connected = None if self._monitor is None else descriptor_of(self._monitor)
        if self._connected is not None:
            self._poller.register(self._connected, zmq.POLLIN)
        self._drained: set[int] = set()
        self._supervisor = self._to_supervisor()

    def introduce(
        self,
        product: str,
        models: dict[str, str],
        settings: dict[str, object] | None = None,
        files: tuple[ModelFile, ...] = (),
    ) -> None:
        """Say with which version, models, settings and files this worker works; before the first `receive`."""
        self._hello = msgspec.structs.replace(
            self._hello, product=product, models=models, settings=settings or {}, files=files
        )

    def _to_broker(self) -> zmq.Socket[bytes]:
        return connect(self._context, zmq.DEALER, mailbox_endpoint(self._directory))

    def _to_supervisor(self) -> zmq.Socket[bytes] | None:
        return connect(self._context, zmq.PUSH, supervisor_endpoint(self._directory))

    def _connections(self) -> zmq.Socket[bytes] | None:
        """A socket that is readable after each new connection to the broker."""
        return self._broker.get_monitor_socket(zmq.EVENT_CONNECTED)

    def watch(self, what: Watched, *, drain: bool = False) -> None:
        """Let `receive` return early, with None, when this is readable. `drain`: read a descriptor's bytes then."""
        self._poller.register(what, zmq.POLLIN)
        if drain and isinstance(what, int):
            self._drained.add(what)

    def unwatch(self, what: Watched) -> None:
        """Watch it no longer."""
        self._poller.unregister(what)

    def quiet_s(self, now: float) -> float:
        """Seconds for which an actor without work may wait, from `now`: until the beat of all processes."""
        return until_beat(now)

    def send(self, body: Body) -> None:
        """Send a message to the broker, after all that `send_soon` has queued."""
        self.send_soon(body)
        self.flush()

    def send_soon(self, body: Body) -> None:
        """Queue a message for the broker; it leaves with the next `send` or `flush`, or before `receive` waits."""
        self._outgoing.append(self.sealed(body))

    def flush(self) -> None:
        """Send all queued messages."""
        if self._outgoing:
            self._broker.send_multipart(self._outgoing)
            self._outgoing = []

    def beat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat to the supervisor; never blocks, even if the supervisor does not read."""
        if self._supervisor is not None:
            with contextlib.suppress(zmq.Again):
                self._supervisor.send(self.sealed(heartbeat), zmq.NOBLOCK)

    def receive(self, timeout_s: float) -> Body | None:
        """Return the next message from the broker, or None after `timeout_s` or once something watched is readable.

        Sends Hello meanwhile: twice a second until it is answered, at each new connection, and each 5 s. A Welcome is
        returned only if it brings a new epoch.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now >= self._hello_due:
                self.send_soon(self._hello)
                self._hello_due = self._next_hello(now)
            wait_s = max(0.0, min(deadline, self._hello_due) - now)
            if self._wait_readable(wait_s):
                body = self._received.popleft() if self._received else self._read()
                if body is not None:
                    return body
            elif self._roused or time.monotonic() >= deadline:
                return None

    def _next_hello(self, now: float) -> float:
        return next_beat(now, HELLO_QUIET_S) if self._answered else now + HELLO_EVERY_S

    def on_refused(self, reason: str | None) -> None:
        """Take the sentence why the broker gives no jobs; None once it does. Only workers elsewhere are refused."""

    def _wait_readable(self, wait_s: float) -> bool:
        """Wait for a message; False after `wait_s`, or where something else has ended the wait."""
        self._roused = False
        if self.waiting():
            return True
        self.flush()
        found = self._poller.poll(int(wait_s * 1000) + (wait_s > 0))
        for what, _ in found:
            if what == self._connected:
                self._on_connection()
            elif what is not self._broker:
                self._roused = True
                if isinstance(what, int) and what in self._drained:
                    drain(what)
        return any(what is self._broker for what, _ in found)

    def _on_connection(self) -> None:
        """Say Hello at once: a broker that was started again knows nobody."""
        while self._monitor is not None and readable(self._monitor):
            self._monitor.recv_multipart()
        self._answered, self._hello_due = False, 0.0

    def _receive_envelope(self) -> Envelope:
        return decode(self._broker.recv())  # the next frame, of this message or another

    def _read(self) -> Body | None:
        try:
            envelope = self._receive_envelope()
        except VersionError as error:
            self.on_refused(f"{error}, the other one: install the same version of bimodal on both")
            return None
        except MessageError:
            return None
        if isinstance(envelope.body, Refusal):
            self.on_refused(envelope.body.because)
            return None
        if isinstance(envelope.body, Welcome):
            self._answered = True
            self._hello_due = self._next_hello(time.monotonic())
            if envelope.epoch == self.epoch:
                return None
            self.epoch = envelope.epoch
            self._received.clear()  # messages of the old broker are void
            return envelope.body
        return envelope.body if envelope.epoch == self.epoch else None

    def waiting(self) -> bool:
        """True if a message can be received without waiting."""
        return bool(self._received) or readable(self._broker)

    def read_ahead(self) -> int:
        """Read all messages that have arrived into memory, for `receive` to return next; return their number."""
        while readable(self._broker):
            body = self._read()
            if body is not None:
                self._received.append(body)
        return len(self._received)

    def sender(self) -> Sender:
        """Create a sender to the same broker for other threads."""
        return Sender(self, self._to_broker())

    def beats(self) -> Beats:
        """Create the connection for heartbeats, for a thread of its own."""
        return Beats(self, connect(self._context, zmq.PUSH, supervisor_endpoint(self._directory)))

    def sealed(self, body: Body) -> bytes:
        """Return a message in this actor's envelope, encoded."""
        return seal(body, epoch=self.epoch, sender=self.name, incarnation=self.incarnation)

    def close(self) -> None:
        """Send what is pending (for half a second at most) and close all sockets."""
        self.flush()
        if self._monitor is not None:
            self._broker.disable_monitor()
            self._monitor.close(linger=0)
        self._broker.close()
        if self._supervisor is not None:
            self._supervisor.close()
        self._context.term()


def drain(descriptor: int) -> None:
    """Read all that waits in a pipe that does not block."""
    with contextlib.suppress(BlockingIOError):
        while os.read(descriptor, 512):
            pass


class Sender:
    """A send-only connection to the broker under the actor's own name, which several threads may share.

    Messages of one sender arrive in order; their order relative to those of the mailbox is undefined.
    """

    def __init__(self, mailbox: Mailbox, socket: zmq.Socket[bytes]) -> None:
        self._mailbox = mailbox
        self._socket = socket
        self._lock = threading.Lock()

    def send(self, body: Body) -> None:
        """Send a message to the broker."""
        data = self._mailbox.sealed(body)
        with self._lock:
            self._socket.send(data)

    def close(self) -> None:
        """Send what is pending and close the socket."""
        with self._lock:
            self._socket.close()


class Beats:
    """A connection for heartbeats, which several threads may share: to the supervisor; from another machine, to the
    broker."""

    def __init__(self, mailbox: Mailbox, socket: zmq.Socket[bytes]) -> None:
        self._mailbox = mailbox
        self._socket = socket
        self._lock = threading.Lock()

    def send(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat; never blocks, even if nobody reads."""
        with self._lock, contextlib.suppress(zmq.Again):
            if not self._socket.closed:
                self._socket.send(self._mailbox.sealed(heartbeat), zmq.NOBLOCK)

    def close(self) -> None:
        """Send what is pending and close the socket."""
        with self._lock:
            self._socket.close()


class Subscriber:
    """A subscriber of the event bus, for views and users' programs; reconnects by itself after a broker restart."""

    def __init__(self, endpoint: str, prefixes: Sequence[str], login: Login | None = None) -> None:
        """Subscribe to every topic that begins with one of `prefixes`; the bus need not be there yet.

        Raises EndpointError if the address is invalid, or is on another machine and there is no login for it.
        """
        self.endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.SUB, endpoint, login=login)
        for prefix in prefixes:
            self.subscribe(prefix)

    @property
    def watched(self) -> Watched:
        """What `Mailbox.watch` takes to end a wait when a message is there."""
        return self._socket

    def subscribe(self, prefix: str) -> None:
        """Get every topic that begins so, too."""
        self._socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())

    def unsubscribe(self, prefix: str) -> None:
        """Get no more topics that begin so, unless another prefix asks for them."""
        self._socket.setsockopt(zmq.UNSUBSCRIBE, prefix.encode())

    def receive(self, timeout_s: float) -> tuple[str, Body] | None:
        """Return the next (topic, message), or None after `timeout_s`. Messages that do not decode are skipped."""
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            if not self._socket.poll(int(left_s * 1000)):
                return None
            frames = self._socket.recv_multipart()
            if len(frames) == 2:
                with contextlib.suppress(MessageError, UnicodeDecodeError):
                    return frames[0].decode(), decode(frames[1]).body

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)
        self._context.term()
