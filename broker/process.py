"""The broker process: sockets around the post office and the event bus."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import zmq

from bimodal.broker.errors import BrokerError, MessageError, SlotError
from bimodal.broker.events import Emotion
from bimodal.broker.keys import keys_folder
from bimodal.broker.messages import (
    Assignment,
    Body,
    Envelope,
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
    failed,
    seal,
)
from bimodal.broker.remote import Doors, RemotePeers, admit
from bimodal.broker.router import SUPERVISOR, Out, Post, PostOffice
from bimodal.broker.sockets import (
    bind,
    connect,
    events_endpoint,
    has_mail,
    mailbox_endpoint,
    move,
    needs_keys,
    supervisor_endpoint,
)
from bimodal.broker.topics import topic_of

if TYPE_CHECKING:
    from bimodal.broker.frames import RingShelf
log = logging.getLogger(__name__)

TICK_S = 0.1
SECOND_S = 1.0
# What is read before anything is sent: answers to what came together leave together, and nothing waits for long.
MOST_PER_TURN = 16


class BrokerProcess:
    """Owns the sockets. One loop, one thread."""

    def __init__(
        self,
        directory: Path,
        name: str,
        incarnation: int,
        events: Sequence[str] = (),
        *,
        workers: Sequence[str] = (),
        slots: Path | None = None,
        keys: Path | None = None,
    ) -> None:
        """Bind the mailbox and the event bus of the session in `directory`, and the bus at `events` too.

        Args:
            workers: addresses for workers on other machines, which are sent what lies in the rings of `slots`.
            keys: the folder of keys, by default the user's.

        Raises EndpointError where an address is in use, KeysError where one needs keys and there are none.
        """
        self._name = name
        self._incarnation = incarnation
        # Not the wall clock, which may be set back between two lives of the broker.
        self._epoch = time.monotonic_ns()
        self._office = PostOffice()
        self._addresses: dict[str, bytes] = {}
        self._outgoing: dict[bytes, list[bytes]] = {}
        self._remote = RemotePeers()
        self._slots = slots if slots is not None else directory
        self._shelf: RingShelf | None = None
        # The counters of Status that are the sockets'.
        self._traffic = Counter(undecodable=0, ignored=0, received_bytes=0, sent_bytes=0)
        self._told_of_dropped = 0.0
        self._tick_due = self._second_due = 0.0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._supervisor = connect(self._context, zmq.PUSH, supervisor_endpoint(directory))
        self._doors = Doors(self._context, keys if keys is not None else keys_folder())
        self._events = EventBus(self._context, directory, self._doors)
        try:
            self._events.serve(events, workers)
        except BrokerError:
            self._doors.close()
            raise
        self._mailbox = bind(self._context, zmq.ROUTER, mailbox_endpoint(directory))
        self._poller = zmq.Poller()
        self._remote_mailbox: zmq.Socket[bytes] | None = None
        for socket in (self._mailbox, self._events.socket):
            self._poller.register(socket, zmq.POLLIN)

    def run(self, keep_on: Callable[[], bool], beat: Callable[[], Heartbeat | None]) -> None:
        """Serve until `keep_on` says no. `beat` gives the heartbeat when one is due."""
        while keep_on():
            self._await_mail()
            now = time.monotonic()
            if now >= self._tick_due:
                self._tick_due = now + TICK_S
                self._send(self._office.tick(time.monotonic_ns()))
            if now >= self._second_due:
                self._second_due = now + SECOND_S
                self._each_second()
            heartbeat = beat()
            if heartbeat is not None:
                # A supervisor that is stopped must not stop the broker.
                with contextlib.suppress(zmq.Again):
                    self._supervisor.send(self._sealed(heartbeat), zmq.NOBLOCK)

    def _each_second(self) -> None:
        status = msgspec.structs.replace(self._office.status(), **self._traffic)
        self._publish("", status)
        self._post(SUPERVISOR, status)
        now_ns = time.monotonic_ns()
        gone = self._remote.all_gone() if self._doors.tend() else self._remote.silent(now_ns)
        for message in gone:
            self._send(self._office.handle(self._name, message, now_ns))

    # -------------------------------------------------------------------------------- what comes in

    def _await_mail(self) -> None:
        """Send what is to be sent, wait a moment for mail, and read what there is."""
        self._send_mail()
        self._watch_remote_mailbox()
        ready = self._poller.poll(int(TICK_S * 1000))
        # Whoever has subscribed before a message came shall have it.
        self._events.hear()
        for socket, _ in ready:
            if socket is self._mailbox:
                self._read_mail()
            elif socket is self._events.socket:
                continue
            elif self._remote_mailbox is not None and not self._remote_mailbox.closed:
                self._read_remote_mail(self._remote_mailbox)

    def _watch_remote_mailbox(self) -> None:
        """The door for other machines opens, closes and opens anew as a socket of its own."""
        known, self._remote_mailbox = self._remote_mailbox, self._doors.workers.socket
        if known is not self._remote_mailbox:
            if known is not None:
                self._poller.unregister(known)
            if self._remote_mailbox is not None:
                self._poller.register(self._remote_mailbox, zmq.POLLIN)

    def _read_mail(self) -> None:
        for _ in range(MOST_PER_TURN):
            address, *letters = self._mailbox.recv_multipart()
            for letter in letters:
                self._traffic["received_bytes"] += len(letter)
                try:
                    self._receive(decode(letter), letter, address)
                except MessageError as error:
                    self._drop(error)
            if not has_mail(self._mailbox):
                return

    def _read_remote_mail(self, mailbox: zmq.Socket[bytes]) -> None:
        for _ in range(MOST_PER_TURN):
            frames = mailbox.recv_multipart(copy=False)
            now_ns = time.monotonic_ns()
            try:
                if len(frames) != 2:
                    raise MessageError(f"a message of {len(frames)} frames")
                envelope = admit(decode(frames[1].bytes), str(frames[1].get("User-Id")), now_ns)
                for gone in self._remote.heard(envelope.sender, envelope.incarnation, frames[0].bytes, now_ns):
                    self._send(self._office.handle(self._name, gone, now_ns))
                self._receive(envelope)
            except MessageError as error:
                self._drop(error)
            if not has_mail(mailbox):
                return

    def _drop(self, error: MessageError) -> None:
        self._traffic["undecodable"] += 1
        now = time.monotonic()
        if now - self._told_of_dropped > SECOND_S:  # a flood of rubbish must not fill the disk with its log
            self._told_of_dropped = now
            log.warning("dropped what is no message, %d so far: %s", self._traffic["undecodable"], error)

    def _receive(self, envelope: Envelope, data: bytes | None = None, address: bytes | None = None) -> None:
        """One message; `data` is its envelope as it came, `address` the sender's at the session's own mailbox."""
        now_ns = time.monotonic_ns()
        if isinstance(envelope.body, Hello):
            fresh, out = self._office.hello(envelope.sender, envelope.incarnation, envelope.body, now_ns)
            if self._office.knows(envelope.sender, envelope.incarnation):
                if address is not None:
                    self._addresses[envelope.sender] = address
                self._post(envelope.sender, Welcome(fresh=fresh))
            self._send(out)
        elif envelope.epoch == self._epoch and self._office.knows(envelope.sender, envelope.incarnation):
            if isinstance(envelope.body, Reconfigure) and (envelope.sender, envelope.body.to) == (
                SUPERVISOR,
                self._name,
            ):
                self._reconfigure(envelope.body)
            elif self._office.refuses(envelope.sender, envelope.body):
                self._traffic["ignored"] += 1
            else:
                self._send(self._office.handle(envelope.sender, envelope.body, now_ns), envelope.body, data)
        else:
            self._traffic["ignored"] += 1

    def _reconfigure(self, order: Reconfigure) -> None:
        """Move the event bus and the workers' door to other addresses, or say why not and leave them as they are."""
        because = None
        try:
            events = msgspec.convert(order.settings.get("events", ()), tuple[str, ...])
            workers = msgspec.convert(order.settings.get("workers", ()), tuple[str, ...])
            self._events.serve(events, workers)
        except (BrokerError, msgspec.ValidationError) as error:
            because = str(error)
        self._post(SUPERVISOR, Reconfigured(name=self._name, revision=order.revision, because=because))

    # -------------------------------------------------------------------------------- what goes out

    def _send(self, out: list[Out], received: Body | None = None, data: bytes | None = None) -> None:
        """Carry out what follows; what was just `received` is published as it came, in `data`."""
        left = deque(out)
        while left:
            item = left.popleft()
            if isinstance(item, Post):
                left += self._post(item.to, item.body)
            else:
                self._publish(item.name, item.body, data if item.body is received else None)

    def _post(self, name: str, body: Body) -> list[Out]:
        """Send to one actor: what else follows."""
        if name in self._remote:
            return self._post_remote(name, body)
        address = self._addresses.get(name)
        if address is not None:
            self._outgoing.setdefault(address, []).append(self._sealed(body))
        return []

    def _send_mail(self) -> None:
        """All that goes to one actor as one message: it costs one wake-up."""
        for address, letters in self._outgoing.items():
            # A ROUTER drops what it can't route: a peer that is gone is the supervisor's to report.
            self._mailbox.send_multipart([address, *letters])
            self._traffic["sent_bytes"] += sum(map(len, letters))
        self._outgoing.clear()

    def _post_remote(self, name: str, body: Body) -> list[Out]:
        """The other machine can't read our slots: what lies there goes along, as a frame of its own."""
        if self._doors.workers.socket is None:
            return []
        frames = [self._remote.address(name), self._sealed(body)]
        if isinstance(body, Assignment):
            try:
                frames.append(self._data_of(body.job))
            except SlotError as error:
                answer = failed(body.job, str(error), number=body.number, stale=True)
                return self._office.handle(name, answer, time.monotonic_ns())
        self._doors.workers.socket.send_multipart(frames)
        return []

    def _data_of(self, job: Job) -> bytes:
        if self._shelf is None:
            # Brings numpy, which a broker whose workers are all at home does without.
            from bimodal.broker.frames import RingShelf

            self._shelf = RingShelf(self._slots)
        return self._shelf.copy(job)

    def _publish(
        self,
        name: str,
        body: Emotion | Job | StreamOpened | StreamClosed | Heartbeat | Status,
        data: bytes | None = None,
    ) -> None:
        topic = topic_of(body, name)
        if self._events.has_readers(topic):
            data = data or self._sealed(body)
            self._events.publish([topic, data])
            self._traffic["sent_bytes"] += len(data)

    def _sealed(self, body: Body) -> bytes:
        return seal(body, epoch=self._epoch, sender=self._name, incarnation=self._incarnation)

    def close(self) -> None:
        """Let go of all sockets."""
        self._send_mail()
        self._mailbox.close()
        self._supervisor.close()
        self._events.close()
        self._doors.close()
        self._context.term()


# The event bus: the PUB socket of the session, further addresses of it, and its twin for other machines.
#
# It is an XPUB socket, which tells what is subscribed to: what nobody reads is not even encoded.


SUBSCRIBED, UNSUBSCRIBED = b"\x01", b"\x00"


class EventBus:
    """May lose anything for a slow reader, and never waits for one.

    Attributes:
        socket: has something to `hear` whenever it can be read.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], directory: Path, doors: Doors) -> None:
        """Bind it at its address in the session's directory; raises EndpointError where that is in use."""
        self.socket = bind(context, zmq.XPUB, events_endpoint(directory))
        self._doors = doors
        self._near: dict[str, str] = {}
        self._prefixes: set[bytes] = set()

    def serve(self, events: Sequence[str], workers: Sequence[str]) -> None:
        """Be reachable at `events` too: of loopback and socket files openly, of anything else with keys only.

        `workers` are the addresses of the other door. Raises EndpointError or KeysError; what was served before, is.
        """
        near = [endpoint for endpoint in events if not needs_keys(endpoint)]
        before = list(self._near)
        # What is new first, what goes last: so nothing that stays is let go of, should anything in between fail.
        self._near = move(self.socket, self._near, [*before, *near])
        try:
            self._doors.serve(events=[endpoint for endpoint in events if endpoint not in near], workers=workers)
        except BrokerError:
            self._near = move(self.socket, self._near, before)
            raise
        self._near = move(self.socket, self._near, near)

    def hear(self) -> None:
        """Take note of first subscriptions to prefixes, and of the ends of the last: of all that have come."""
        while has_mail(self.socket):
            data = self.socket.recv()
            if data[:1] == SUBSCRIBED:
                self._prefixes.add(data[1:])
            elif data[:1] == UNSUBSCRIBED:
                self._prefixes.discard(data[1:])

    def has_readers(self, topic: bytes) -> bool:
        """Whether anybody may read it. What other machines subscribed to is not asked."""
        return self._doors.events.socket is not None or topic.startswith(tuple(self._prefixes))

    def publish(self, frames: list[bytes]) -> None:
        """Put a message on it."""
        self.socket.send_multipart(frames)
        if self._doors.events.socket is not None:
            self._doors.events.socket.send_multipart(frames)

    def close(self) -> None:
        """Let go of it."""
        self.socket.close()
