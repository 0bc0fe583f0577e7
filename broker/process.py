"""The broker process: sockets around the post office and the event bus."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import zmq

from broker.errors import BrokerError, MessageError
from broker.messages import (
    Body,
    Emotion,
    Heartbeat,
    Hello,
    Job,
    Reconfigure,
    Reconfigured,
    Status,
    StreamClosed,
    StreamOpened,
    Welcome,
    decode,
    seal,
)
from broker.office import SUPERVISOR, Out, Post, PostOffice
from broker.sockets import bind, bind_also, connect, events_endpoint, mailbox_endpoint, supervisor_endpoint
from broker.topics import topic_of

log = logging.getLogger(__name__)

TICK_S = 0.1
STATUS_EVERY_S = 1.0
MOST_PER_TURN = 256


class BrokerProcess:
    """Owns the sockets. One loop, one thread."""

    def __init__(self, directory: Path, name: str, incarnation: int, events: Sequence[str] = ()) -> None:
        """Bind the mailbox and the event bus of the session in `directory`, and the bus at `events` too.

        Raises EndpointError where an address is in use.
        """
        self._name = name
        self._incarnation = incarnation
        self._epoch = time.time_ns()
        self._office = PostOffice()
        self._addresses: dict[str, bytes] = {}
        self._undecodable = 0
        self._status_due = 0.0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._supervisor = connect(self._context, zmq.PUSH, supervisor_endpoint(directory))
        self._events = bind(self._context, zmq.PUB, events_endpoint(directory))
        self._served: tuple[str, ...] = ()
        self._serve_events(tuple(events))
        self._mailbox = bind(self._context, zmq.ROUTER, mailbox_endpoint(directory))

    def run(self, keep_on: Callable[[], bool], beat: Callable[[], Heartbeat | None]) -> None:
        """Serve until `keep_on` says no. `beat` gives the heartbeat when one is due."""
        while keep_on():
            if self._mailbox.poll(int(TICK_S * 1000)):
                self._read_mail()
            now = time.monotonic()
            self._send(self._office.tick(time.monotonic_ns()))
            if now >= self._status_due:
                self._status_due = now + STATUS_EVERY_S
                status = self._office.status(self._undecodable)
                self._publish("", status)
                self._post(SUPERVISOR, status)
            heartbeat = beat()
            if heartbeat is not None:
                # A supervisor that is stopped must not stop the broker.
                with contextlib.suppress(zmq.Again):
                    self._supervisor.send(self._sealed(heartbeat), zmq.NOBLOCK)

    def _read_mail(self) -> None:
        for _ in range(MOST_PER_TURN):
            try:
                frames = self._mailbox.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._receive(frames)

    def _receive(self, frames: list[bytes]) -> None:
        try:
            if len(frames) != 2:
                raise MessageError(f"a message of {len(frames)} frames")
            envelope = decode(frames[1])
        except MessageError as error:
            self._undecodable += 1
            log.warning("dropped what is no message: %s", error)
            return
        now_ns = time.monotonic_ns()
        if isinstance(envelope.body, Hello):
            fresh, out = self._office.hello(envelope.sender, envelope.incarnation, envelope.body, now_ns)
            if self._office.knows(envelope.sender, envelope.incarnation):
                self._addresses[envelope.sender] = frames[0]
                self._post(envelope.sender, Welcome(fresh=fresh))
            self._send(out)
        elif envelope.epoch == self._epoch and self._office.knows(envelope.sender, envelope.incarnation):
            if isinstance(envelope.body, Reconfigure) and (envelope.sender, envelope.body.to) == (
                SUPERVISOR,
                self._name,
            ):
                self._reconfigure(envelope.body)
            else:
                self._send(self._office.handle(envelope.sender, envelope.body, now_ns))

    def _reconfigure(self, order: Reconfigure) -> None:
        """Move the event bus to other addresses beside the session's own, or say why not and leave it as it is."""
        because = None
        try:
            wanted = msgspec.convert(order.settings.get("events", ()), tuple[str, ...])
            self._serve_events(wanted)
        except (BrokerError, msgspec.ValidationError) as error:
            because = str(error)
        self._post(SUPERVISOR, Reconfigured(name=self._name, revision=order.revision, because=because))

    def _serve_events(self, wanted: tuple[str, ...]) -> None:
        bound: list[str] = []
        try:
            for endpoint in wanted:
                if endpoint not in self._served:
                    bind_also(self._events, endpoint)
                    bound.append(endpoint)
        except BrokerError:
            for endpoint in bound:
                self._events.unbind(endpoint)
            raise
        for endpoint in self._served:
            if endpoint not in wanted:
                self._events.unbind(endpoint)
        self._served = wanted

    def _send(self, out: list[Out]) -> None:
        for item in out:
            if isinstance(item, Post):
                self._post(item.to, item.body)
            else:
                self._publish(item.name, item.body)

    def _post(self, name: str, body: Body) -> None:
        address = self._addresses.get(name)
        if address is not None:
            # A ROUTER drops what it can't route: a peer that is gone is the supervisor's to report.
            self._mailbox.send_multipart([address, self._sealed(body)])

    def _publish(self, name: str, body: Emotion | Job | StreamOpened | StreamClosed | Heartbeat | Status) -> None:
        self._events.send_multipart([topic_of(body, name), self._sealed(body)])

    def _sealed(self, body: Body) -> bytes:
        return seal(body, epoch=self._epoch, sender=self._name, incarnation=self._incarnation)

    def close(self) -> None:
        """Let go of all sockets."""
        for socket in (self._mailbox, self._events, self._supervisor):
            socket.close()
        self._context.term()
