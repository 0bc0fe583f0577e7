"""The broker process: sockets and clock around the router, and the event bus."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import zmq

from bimodal.broker.beats import BROKER_GATHERS_S, QUIET_BEAT_S, gather, next_beat
from bimodal.broker.errors import BrokerError, MessageError, RingGoneError, SlotError, VersionError
from bimodal.broker.events import Emotion, Hop, Stretch
from bimodal.broker.keys import keys_folder
from bimodal.broker.mailbox import drain
from bimodal.broker.messages import (
    Assignment,
    Body,
    Dismissed,
    Envelope,
    ExpectedWorker,
    FilePiece,
    FileWanted,
    Heartbeat,
    Hello,
    Job,
    Pixels,
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
from bimodal.broker.readers import Connections, Readers
from bimodal.broker.remote import RemoteListeners, RemotePeers, admit
from bimodal.broker.router import SUPERVISOR, Out, Router, Send
from bimodal.broker.sockets import (
    MOST_SUBSCRIPTION_BYTES,
    SocketFile,
    bind,
    connect,
    events_endpoint,
    mailbox_endpoint,
    needs_keys,
    readable,
    rebind,
    supervisor_endpoint,
)
from bimodal.broker.topics import topic_of

if TYPE_CHECKING:
    from bimodal.broker.frames import RingCache
    from bimodal.broker.pixels import Encoder
log = logging.getLogger(__name__)

# While there are jobs; without, a tick is due at each beat only.
TICK_S = 0.1
SECOND_S = 1.0
# After so long without a job, messages that come with a beat are waited for, and read in one go.
QUIET_AFTER_S = 2.0
QUALITY = 90
"""Of compressed pictures, where config.yaml says no other."""
# Messages read before anything is sent: answers to messages that came together leave together, without long waits.
MOST_PER_TURN = 16


class BrokerProcess:
    """Sockets and main loop of the broker. For one thread."""

    def __init__(
        self,
        directory: Path,
        name: str,
        incarnation: int,
        events: Sequence[str] = (),
        *,
        workers: Sequence[str] = (),
        pixels: Pixels = "auto",
        quality: int = QUALITY,
        expected: Sequence[ExpectedWorker] = (),
        slots: Path | None = None,
        keys: Path | None = None,
    ) -> None:
        """Bind the mailbox and the event bus of the session in `directory`, and the bus at `events` too.

        Args:
            workers: addresses for workers on other machines, which are sent the data of the rings in folder `slots`.
            pixels, quality: how pictures are sent to them (broker/pixels.py).
            expected: what they are to work with where no worker of their kind is here.
            keys: the folder of keys, by default the user's.

        Raises EndpointError if an address is in use, KeysError if one needs keys and there are none.
        """
        self._name = name
        self._incarnation = incarnation
        # Not the wall clock, which may be set back between two starts of the broker.
        self._epoch = time.monotonic_ns()
        self._router = Router()
        self._router.expect(expected, time.monotonic_ns())
        self._addresses: dict[str, bytes] = {}
        self._outgoing: dict[bytes, list[bytes]] = {}
        self._remote = RemotePeers()
        self._slots = slots if slots is not None else directory
        self._rings: RingCache | None = None
        self._pixels: Pixels = pixels
        self._quality = quality
        self._encoder: Encoder | None = None
        self._encoded: tuple[int, int] | None = None
        # The counters of Status that are kept here, not in the router.
        self._traffic = Counter(undecodable=0, ignored=0, received_bytes=0, sent_bytes=0)
        self._drop_logged_at = 0.0
        self._ticked_at = self._second_due = 0.0
        self._busy_at = time.monotonic()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._supervisor = connect(self._context, zmq.PUSH, supervisor_endpoint(directory))
        self._listeners = RemoteListeners(self._context, keys if keys is not None else keys_folder())
        self._events = EventBus(self._context, directory, self._listeners)
        try:
            self._events.serve(events, workers)
        except BrokerError:
            self._listeners.close()
            raise
        self._mailbox = bind(self._context, zmq.ROUTER, mailbox_endpoint(directory))
        self._connections = Connections(self._mailbox, "the mailbox")
        self._files = [
            SocketFile(self._mailbox, mailbox_endpoint(directory), keep_connections=True),
            SocketFile(self._events.socket, events_endpoint(directory), keep_connections=True),
        ]
        self._poller = zmq.Poller()
        self._pipes: set[int] = set()
        self._remote_mailbox: zmq.Socket[bytes] | None = None
        for one in (self._mailbox, self._connections.descriptor, self._events.socket, self._events.descriptor):
            self._poller.register(one, zmq.POLLIN)

    def wake_on(self, descriptor: int) -> None:
        """End a wait when this pipe is readable, and read its bytes."""
        self._poller.register(descriptor, zmq.POLLIN)
        self._pipes.add(descriptor)

    def run(self, keep_on: Callable[[], bool], beat: Callable[[], Heartbeat | None]) -> None:
        """Serve until `keep_on` returns False. `beat` returns the heartbeat when one is due."""
        while keep_on():
            self._poll()
            now = time.monotonic()
            if now >= self._ticked_at + TICK_S and now >= self._tick_due():
                self._ticked_at = now
                self._apply(self._router.tick(time.monotonic_ns()))
                for file in self._files:
                    file.restore(now)
            if now >= self._second_due:
                self._second_due = next_beat(now, SECOND_S)
                self._each_second()
            heartbeat = beat()
            if heartbeat is not None:
                # A stopped supervisor must not block the broker.
                with contextlib.suppress(zmq.Again):
                    self._supervisor.send(self._sealed(heartbeat), zmq.NOBLOCK)

    def _tick_due(self) -> float:
        """When to look at deadlines again: soon while there are jobs, else at the next beat."""
        soonest = self._ticked_at + TICK_S
        if self._router.busy:
            self._busy_at = time.monotonic()
            return soonest
        # Where the last tick was just before the beat, a wait until the beat would be over before a tick is due.
        return max(soonest, next_beat(self._ticked_at, QUIET_BEAT_S))

    def _wait(self) -> list[tuple[Any, int]]:
        """Wait until something is readable or due; without jobs, a moment longer for all that comes with a beat."""
        left_s = min(self._tick_due(), self._second_due) - time.monotonic()
        ready = self._poller.poll(max(0, int(left_s * 1000) + 1))
        if time.monotonic() - self._busy_at > QUIET_AFTER_S and gather(BROKER_GATHERS_S):
            ready = self._poller.poll(0)
        return ready

    def _each_second(self) -> None:
        status = msgspec.structs.replace(self._router.status(), **self._traffic)
        self._publish("", status)
        self._send(SUPERVISOR, status)
        for found in self._router.shadowed():
            self._send(SUPERVISOR, found)
        for item in self._router.instructions():
            self._send(item.to, item.body)
        now_ns = time.monotonic_ns()
        gone = self._remote.disconnect_all() if self._listeners.enforce_keys() else self._remote.expire(now_ns)
        for message in gone:
            self._apply(self._router.handle(self._name, message, now_ns))

    # -------------------------------------------------------------------------------- receiving

    def _poll(self) -> None:
        """Send pending messages, wait a moment for others, and read what has arrived."""
        self._flush()
        self._watch_remote_mailbox()
        ready = [socket for socket, _ in self._wait()]
        self._send_encoded()
        # Apply pending subscriptions first, so that their subscribers get the messages below.
        if self._events.is_among(ready):
            self._events.read_subscriptions()
        for socket in ready:
            if socket is self._mailbox:
                self._read_mailbox()
            elif socket == self._connections.descriptor:
                self._connections.update()
                self._connections.ended.clear()
            elif socket in self._pipes:
                drain(socket)
            elif self._remote_mailbox is not None and socket is self._remote_mailbox and not socket.closed:
                self._read_remote_mailbox(self._remote_mailbox)

    def _watch_remote_mailbox(self) -> None:
        """Poll the current socket for other machines, which is another one after each reopening."""
        known, self._remote_mailbox = self._remote_mailbox, self._listeners.workers.socket
        if known is not self._remote_mailbox:
            if known is not None:
                self._poller.unregister(known)
            if self._remote_mailbox is not None:
                self._poller.register(self._remote_mailbox, zmq.POLLIN)

    def _read_mailbox(self) -> None:
        for _ in range(MOST_PER_TURN):
            address, *frames = self._mailbox.recv_multipart()
            for frame in frames:
                self._traffic["received_bytes"] += len(frame)
                try:
                    self._receive(decode(frame), frame, address)
                except MessageError as error:
                    self._drop(error)
            if not readable(self._mailbox):
                return

    def _read_remote_mailbox(self, mailbox: zmq.Socket[bytes]) -> None:
        for _ in range(MOST_PER_TURN):
            frames = mailbox.recv_multipart(copy=False)
            now_ns = time.monotonic_ns()
            try:
                if len(frames) != 2:
                    raise MessageError(f"a message of {len(frames)} frames")
                envelope = admit(decode(frames[1].bytes), str(frames[1].get("User-Id")), now_ns)
                beats = isinstance(envelope.body, Heartbeat)
                for gone in self._remote.on_message(
                    envelope.sender, envelope.incarnation, frames[0].bytes, now_ns, beats=beats
                ):
                    self._apply(self._router.handle(self._name, gone, now_ns))
                self._receive(envelope)
            except VersionError as error:
                self._refuse_version(mailbox, frames, error)
            except MessageError as error:
                self._drop(error)
            if not readable(mailbox):
                return

    def _refuse_version(self, mailbox: zmq.Socket[bytes], frames: list[zmq.Frame], error: VersionError) -> None:
        """Answer a worker of another protocol version in ours, by which it knows, and tell the supervisor."""
        self._drop(error)
        mailbox.send_multipart([frames[0].bytes, self._sealed(Welcome(fresh=False))])
        reason = f"{error}: install the same version of bimodal on both"
        name = f"{frames[1].get('User-Id')}: a worker"
        self._send(SUPERVISOR, Dismissed(name=name, incarnation=0, because=reason))

    def _drop(self, error: MessageError) -> None:
        self._traffic["undecodable"] += 1
        now = time.monotonic()
        if now - self._drop_logged_at > SECOND_S:  # a flood of invalid messages must not fill the disk with its log
            self._drop_logged_at = now
            log.warning("dropped an invalid message, %d so far: %s", self._traffic["undecodable"], error)

    def _receive(self, envelope: Envelope, data: bytes | None = None, address: bytes | None = None) -> None:
        """Handle one message; `data` is its encoded envelope, `address` the sender's at the session's own mailbox."""
        now_ns = time.monotonic_ns()
        if isinstance(envelope.body, Hello):
            fresh, out = self._router.hello(envelope.sender, envelope.incarnation, envelope.body, now_ns)
            if self._router.knows(envelope.sender, envelope.incarnation):
                if address is not None:
                    self._addresses[envelope.sender] = address
                self._send(envelope.sender, Welcome(fresh=fresh))
            self._apply(out)
        elif envelope.epoch == self._epoch and self._router.knows(envelope.sender, envelope.incarnation):
            if isinstance(envelope.body, Reconfigure) and (envelope.sender, envelope.body.to) == (
                SUPERVISOR,
                self._name,
            ):
                self._reconfigure(envelope.body)
            elif isinstance(envelope.body, FileWanted):
                self._on_file_wanted(envelope.sender, envelope.body)
            elif self._router.refuses(envelope.sender, envelope.body):
                self._traffic["ignored"] += 1
            else:
                self._apply(self._router.handle(envelope.sender, envelope.body, now_ns), envelope.body, data)
        else:
            self._traffic["ignored"] += 1

    def _on_file_wanted(self, name: str, wanted: FileWanted) -> None:
        """Send a piece of a model file to a worker on another machine; it asks for one at a time."""
        from bimodal.broker.model_files import piece

        file = self._router.model_file(name, wanted.sha256) if name in self._remote else None
        nothing = FilePiece(sha256=wanted.sha256, offset=wanted.offset, data=b"")
        self._send(name, piece(file, wanted.offset) if file is not None else nothing)

    def _reconfigure(self, order: Reconfigure) -> None:
        """Move the event bus and the workers' listener to other addresses, and expect other workers; if that fails,
        keep all and answer why."""
        reason = None
        try:
            events = msgspec.convert(order.settings.get("events", ()), tuple[str, ...])
            network = msgspec.convert(order.settings.get("network", {}), _Network)
            expected = msgspec.convert(order.settings.get("expected", ()), tuple[ExpectedWorker, ...])
            self._events.serve(events, network.workers)
            self._pixels, self._quality = network.pixels, network.quality
            self._apply(self._router.expect(expected, time.monotonic_ns()))
        except (BrokerError, msgspec.ValidationError) as error:
            reason = str(error)
        self._send(SUPERVISOR, Reconfigured(name=self._name, revision=order.revision, because=reason))

    # -------------------------------------------------------------------------------- sending

    def _apply(self, out: list[Out], received: Body | None = None, data: bytes | None = None) -> None:
        """Send and publish the router's output; `received` is published without encoding it again, as `data`."""
        left = deque(out)
        while left:
            item = left.popleft()
            if isinstance(item, Send):
                left += self._send(item.to, item.body)
            else:
                self._publish(item.name, item.body, data if item.body is received else None)

    def _send(self, name: str, body: Body) -> list[Out]:
        """Send to one actor; return what follows from that."""
        if name in self._remote:
            return self._send_remote(name, body)
        address = self._addresses.get(name)
        if address is not None:
            self._outgoing.setdefault(address, []).append(self._sealed(body))
        return []

    def _flush(self) -> None:
        """Send all envelopes for the same actor as one message, which costs it one wake-up."""
        for address, frames in self._outgoing.items():
            # A ROUTER drops what it can't route: the supervisor reports peers that are gone.
            self._mailbox.send_multipart([address, *frames])
            self._traffic["sent_bytes"] += sum(map(len, frames))
        self._outgoing.clear()

    def _send_remote(self, name: str, body: Body) -> list[Out]:
        """Send to an actor on another machine; the data of a job's slot is added as a frame of its own."""
        if self._listeners.workers.socket is None:
            return []
        frames = [self._remote.address(name), self._sealed(body)]
        if isinstance(body, Assignment):
            try:
                if self._encode(name, body):
                    return []
                frames.append(self._ring_cache().copy(body.job))
            except SlotError as error:
                return self._on_no_data(name, body, error)
        self._listeners.workers.socket.send_multipart(frames)
        return []

    def _on_no_data(self, name: str, given: Assignment, error: SlotError) -> list[Out]:
        gone = isinstance(error, RingGoneError)
        answer = failed(given.job, str(error), number=given.number, stale=True, gone=gone)
        return self._router.handle(name, answer, time.monotonic_ns())

    def _ring_cache(self) -> RingCache:
        if self._rings is None:
            # Imports numpy, which a broker without remote workers does not need.
            from bimodal.broker.frames import RingCache

            self._rings = RingCache(self._slots)
        return self._rings

    def _encode(self, name: str, given: Assignment) -> bool:
        """Have an assignment's picture compressed, to be sent later; False where it is sent as it is."""
        job = given.job
        if job.modality != "face" or self._pixels == "raw":
            return False
        # Imports OpenCV, which a broker that sends nothing compressed does not need.
        from bimodal.broker.pixels import Encoder, compress, encoding_of

        encoding = encoding_of(self._pixels, live=self._router.is_live(job.stream), shape=job.shape)
        if encoding == "raw":
            return False
        if self._encoder is None or self._encoded is None:
            self._encoded = os.pipe()
            for end in self._encoded:
                os.set_blocking(end, False)
            self._encoder = Encoder(partial(_wake, self._encoded[1]))
            self._poller.register(self._encoded[0], zmq.POLLIN)  # read by `_send_encoded`
        reader = self._ring_cache().reader(job.ring)
        read = partial(compress, reader.view(job), partial(reader.holds, job), encoding, self._quality)
        given = msgspec.structs.replace(given, encoding=encoding)
        self._encoder.submit((name, self._remote.address(name)), given, read)
        return True

    def _send_encoded(self) -> None:
        """Send the assignments whose pictures have been compressed meanwhile."""
        if self._encoder is None or self._encoded is None:
            return
        with contextlib.suppress(BlockingIOError):
            os.read(self._encoded[0], 4096)
        for (name, address), given, data in self._encoder.take():
            # A worker that has connected anew since then has lost its assignments.
            if name not in self._remote or self._remote.address(name) != address:
                continue
            if isinstance(data, SlotError):
                self._apply(self._on_no_data(name, given, data))
            elif self._listeners.workers.socket is not None:
                self._listeners.workers.socket.send_multipart([address, self._sealed(given), data])

    def _publish(
        self,
        name: str,
        body: Emotion | Hop | Stretch | Job | StreamOpened | StreamClosed | Heartbeat | Status,
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
        """Send pending messages and close all sockets."""
        self._flush()
        if self._encoder is not None and self._encoded is not None:
            self._encoder.close()
            for end in self._encoded:
                os.close(end)
        self._connections.close()
        self._mailbox.close()
        self._supervisor.close()
        self._events.close()
        self._listeners.close()
        self._context.term()


class _Network(msgspec.Struct, frozen=True):
    """What the broker takes of config.yaml's section `network` (workers/settings.py)."""

    workers: tuple[str, ...] = ()
    pixels: Pixels = "auto"
    quality: int = QUALITY


def _wake(end: int) -> None:
    with contextlib.suppress(OSError):  # full: it is awake already
        os.write(end, b"\0")


# The event bus


class EventBus:
    """The session's publishing socket, at one or more addresses, and a second one for other machines.

    Never waits for slow readers, which may lose anything. It is an XPUB socket, which reports subscriptions, so that
    messages without readers are not even encoded.

    Attributes:
        socket, descriptor: readable whenever there may be something for `read_subscriptions`; the latter, where a
            connection has come or gone.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], directory: Path, listeners: RemoteListeners) -> None:
        """Bind the address in the session's directory; raises EndpointError if that is in use."""
        self.socket = bind(context, zmq.XPUB, events_endpoint(directory), largest=MOST_SUBSCRIPTION_BYTES)
        self._listeners = listeners
        self._local: dict[str, str] = {}
        self._readers = Readers(self.socket, "the event bus")
        self.descriptor = self._readers.descriptor
        self._remote: Readers | None = None

    def serve(self, events: Sequence[str], workers: Sequence[str]) -> None:
        """Listen at the addresses `events` too: loopback and socket files openly, all others with keys only.

        `workers` are the addresses for remote workers. Raises EndpointError or KeysError, and keeps the previous
        addresses then.
        """
        local = [endpoint for endpoint in events if not needs_keys(endpoint)]
        before = list(self._local)
        # New addresses are bound first and old ones unbound last, so that a failure in between loses none.
        self._local = rebind(self.socket, self._local, [*before, *local])
        try:
            self._listeners.serve(events=[endpoint for endpoint in events if endpoint not in local], workers=workers)
        except BrokerError:
            self._local = rebind(self.socket, self._local, before)
            raise
        self._local = rebind(self.socket, self._local, local)

    def is_among(self, ready: Collection[object]) -> bool:
        """True if what a poll found readable may have subscriptions; with a socket for other machines, always."""
        remote = self._remote is not None or self._listeners.events.socket is not None
        return remote or self.socket in ready or self.descriptor in ready

    def read_subscriptions(self) -> None:
        """Take in new connections and some of the pending subscriptions and their ends."""
        self._readers.read()
        self._read_remote_subscriptions()

    def _read_remote_subscriptions(self) -> None:
        remote = self._listeners.events.socket
        if self._remote is None or self._remote.socket is not remote:
            if self._remote is not None:
                self._remote.close()
            self._remote = Readers(remote, "the event bus for other machines") if remote is not None else None
        if self._remote is not None:
            self._remote.read()

    def has_readers(self, topic: bytes) -> bool:
        """True if the topic has readers, here or on other machines."""
        return self._readers.want(topic) or (self._remote is not None and self._remote.want(topic))

    def publish(self, frames: list[bytes]) -> None:
        """Publish a message here and to other machines."""
        self.socket.send_multipart(frames)
        if self._listeners.events.socket is not None:
            self._read_remote_subscriptions()
            self._listeners.events.socket.send_multipart(frames)

    def close(self) -> None:
        """Close the socket."""
        self._readers.close()
        if self._remote is not None:
            self._remote.close()
        self.socket.close()
