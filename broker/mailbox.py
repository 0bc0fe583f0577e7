"""An actor's line to the broker, the supervisor and the event bus: what hides sockets from the actors."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import zmq

from bimodal.broker.errors import MessageError
from bimodal.broker.messages import (
    Body,
    Envelope,
    Heartbeat,
    Hello,
    Welcome,
    decode,
    seal,
)
from bimodal.broker.sockets import Login, connect, has_mail, mailbox_endpoint, supervisor_endpoint

HELLO_EVERY_S = 0.5


class Mailbox:
    """One actor's mailbox. Not for use by several threads; see `line` for those.

    A message on the wire holds one envelope or several, a frame each: what goes together costs one wake-up.

    Attributes:
        epoch: of the broker as last heard; 0 before the first Welcome.
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
        self._in_hand: deque[Body] = deque()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._broker = self._to_broker()
        self._poller = zmq.Poller()
        self._poller.register(self._broker, zmq.POLLIN)
        self._supervisor = self._to_supervisor()

    def _to_broker(self) -> zmq.Socket[bytes]:
        return connect(self._context, zmq.DEALER, mailbox_endpoint(self._directory))

    def _to_supervisor(self) -> zmq.Socket[bytes] | None:
        return connect(self._context, zmq.PUSH, supervisor_endpoint(self._directory))

    def send(self, body: Body) -> None:
        """Put a message on its way to the broker, and all before it."""
        self.send_soon(body)
        self.flush()

    def send_soon(self, body: Body) -> None:
        """A message for the broker that leaves with the next one, or before `receive` waits."""
        self._outgoing.append(self.sealed(body))

    def flush(self) -> None:
        """Put on its way what was to be sent soon."""
        if self._outgoing:
            self._broker.send_multipart(self._outgoing)
            self._outgoing = []

    def beat(self, heartbeat: Heartbeat) -> None:
        """Tell the supervisor; a supervisor that does not read never holds an actor up."""
        if self._supervisor is not None:
            with contextlib.suppress(zmq.Again):
                self._supervisor.send(self.sealed(heartbeat), zmq.NOBLOCK)

    def receive(self, timeout_s: float) -> Body | None:
        """The next message from the broker, or None when the time is over.

        Says Hello twice a second on the way. A Welcome is returned only when it brings a new epoch.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if now >= self._hello_due:
                self.send_soon(self._hello)
                self._hello_due = now + HELLO_EVERY_S
            wait_s = max(0.0, min(deadline, self._hello_due) - now)
            if self._has_mail(wait_s):
                body = self._in_hand.popleft() if self._in_hand else self._read()
                if body is not None:
                    return body
            elif time.monotonic() >= deadline:
                return None

    def _has_mail(self, wait_s: float) -> bool:
        if self.waiting():
            return True
        self.flush()
        return bool(self._poller.poll(int(wait_s * 1000) + (wait_s > 0)))

    def _take(self) -> Envelope:
        return decode(self._broker.recv())  # the next frame, of this message or another

    def _read(self) -> Body | None:
        try:
            envelope = self._take()
        except MessageError:
            return None
        if isinstance(envelope.body, Welcome):
            if envelope.epoch == self.epoch:
                return None
            self.epoch = envelope.epoch
            self._in_hand.clear()  # what the old one wanted, nobody wants any more
            return envelope.body
        return envelope.body if envelope.epoch == self.epoch else None

    def waiting(self) -> bool:
        """Whether a message lies ready to be received."""
        return bool(self._in_hand) or has_mail(self._broker)

    def in_hand(self) -> int:
        """How many messages lie ready. They are read for that, and `receive` gives them without a look at the line."""
        while has_mail(self._broker):
            body = self._read()
            if body is not None:
                self._in_hand.append(body)
        return len(self._in_hand)

    def line(self) -> Line:
        """A line to the same broker for other threads."""
        return Line(self, self._to_broker())

    def sealed(self, body: Body) -> bytes:
        """A message in its envelope, as bytes."""
        return seal(body, epoch=self.epoch, sender=self.name, incarnation=self.incarnation)

    def close(self) -> None:
        """Send what is under way (for half a second at most) and let go."""
        self.flush()
        self._broker.close()
        if self._supervisor is not None:
            self._supervisor.close()
        self._context.term()


class Line:
    """A one-way line to the broker, under the actor's own name, that several threads may share.

    What is sent on one line arrives in that order; nothing is promised between a line and the mailbox itself.
    """

    def __init__(self, mailbox: Mailbox, socket: zmq.Socket[bytes]) -> None:
        self._mailbox = mailbox
        self._socket = socket
        self._lock = threading.Lock()

    def send(self, body: Body) -> None:
        """Put a message on its way to the broker."""
        data = self._mailbox.sealed(body)
        with self._lock:
            self._socket.send(data)

    def close(self) -> None:
        """Send what is under way and let go."""
        with self._lock:
            self._socket.close()


class Subscriber:
    """A reader of the event bus, for views and users' programs; survives a broker restart by itself."""

    def __init__(self, endpoint: str, prefixes: Sequence[str], login: Login | None = None) -> None:
        """Subscribe to every topic that begins with one of `prefixes`; the bus need not be there yet.

        Raises EndpointError where the address is none, or is on another machine and there is no login for it.
        """
        self.endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = connect(self._context, zmq.SUB, endpoint, login=login)
        for prefix in prefixes:
            self._socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())

    def receive(self, timeout_s: float) -> tuple[str, Body] | None:
        """The next (topic, message), or None when the time is over. What can't be read is passed over."""
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
        """Let go of the bus."""
        self._socket.close(linger=0)
        self._context.term()
