"""The broker process over real sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.errors import EndpointError
from bimodal.broker.mailbox import HELLO_EVERY_S, Mailbox, Subscriber
from bimodal.broker.messages import (
    Assignment,
    Delivery,
    Hello,
    Ready,
    Reconfigure,
    Reconfigured,
    Status,
    StreamOpened,
    Welcome,
    encode,
)
from bimodal.broker.process import TICK_S, BrokerProcess, EventBus
from bimodal.broker.remote import RemoteListeners
from bimodal.broker.sockets import (
    bind,
    connect,
    events_endpoint,
    mailbox_endpoint,
    make_private,
    needs_keys,
)
from bimodal.workers.redaction import safe
from tests.broker.making import job, opened
from tests.broker.test_messages import sealed

PATIENCE_S = 20.0


class Running:
    """A broker in a thread."""

    def __init__(self, directory: Path, incarnation: int = 1) -> None:
        self.broker = BrokerProcess(directory, "broker", incarnation)
        self.stopped = threading.Event()
        # Ends its wait, as a signal does in a process of its own.
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        self.broker.wake_on(self._reader)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        self.broker.run(lambda: not self.stopped.is_set(), lambda: None)
        self.broker.close()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.stopped.set()
            os.write(self._writer, b"!")
            self.thread.join()
            os.close(self._reader)
            os.close(self._writer)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "s"
    make_private(place)
    return place


@pytest.fixture
def start(directory: Path) -> Iterator[Callable[[], Running]]:
    brokers: list[Running] = []

    def begin() -> Running:
        brokers.append(Running(directory, len(brokers) + 1))
        return brokers[-1]

    yield begin
    for broker in brokers:
        broker.stop()


@pytest.fixture
def actor(directory: Path) -> Iterator[Callable[..., Mailbox]]:
    boxes: list[Mailbox] = []

    def join(name: str, hello: Hello) -> Mailbox:
        boxes.append(Mailbox(directory, name, 1, hello))
        return boxes[-1]

    yield join
    for box in boxes:
        box.close()


def test_a_job_goes_from_capture_to_a_worker(start: Callable[[], Running], actor: Callable[..., Mailbox]) -> None:
    start()
    capture = actor("capture a", Hello(role="capture"))
    worker = actor("face 1", Hello(role="worker", modality="face"))
    assert isinstance(capture.receive(PATIENCE_S), Welcome)
    assert isinstance(worker.receive(PATIENCE_S), Welcome)
    worker.send(Ready())
    capture.send(opened("a", "latest"))
    capture.send(job("a", 0))
    assert worker.receive(PATIENCE_S) == Assignment(number=1, job=job("a", 0), ordered=True)


def test_the_bytes_of_messages_are_counted(
    start: Callable[[], Running], actor: Callable[..., Mailbox], directory: Path
) -> None:
    start()
    capture = actor("capture a", Hello(role="capture"))
    bus = Subscriber(events_endpoint(directory), ["status"])
    assert isinstance(capture.receive(PATIENCE_S), Welcome)

    def counted(jobs: int) -> Status:
        while True:
            found = bus.receive(PATIENCE_S)
            assert found is not None
            assert isinstance(found[1], Status)
            if found[1].streams and found[1].streams[0].offered["face"] == jobs:
                return found[1]

    capture.send(opened("a", "latest"))
    capture.send(job("a", 0))
    before = counted(1)
    for seq in range(1, 101):
        capture.send(job("a", seq))
    after = counted(101)
    a_job = len(encode(sealed(job("a", 50), sender="capture a")))
    assert 100 * a_job * 0.9 < after.received_bytes - before.received_bytes < 100 * a_job * 1.5
    assert after.sent_bytes > before.sent_bytes > 0, "the status itself"
    bus.close()


def test_what_lies_ready_is_counted_and_what_an_old_broker_wanted_is_forgotten(
    start: Callable[[], Running], actor: Callable[..., Mailbox]
) -> None:
    first = start()
    capture = actor("capture a", Hello(role="capture"))
    worker = actor("face 1", Hello(role="worker", modality="face"))
    assert isinstance(capture.receive(PATIENCE_S), Welcome)
    assert isinstance(worker.receive(PATIENCE_S), Welcome)
    for body in (opened("a", "every"), *(job("a", seq) for seq in range(12))):
        capture.send_soon(body)
    capture.flush()
    worker.send(Ready(in_advance=4))
    while worker.read_ahead() < 5:
        assert worker.waiting() or worker._poller.poll(PATIENCE_S * 1000), "it gets five"
    given = worker.receive(PATIENCE_S)
    assert isinstance(given, Assignment)
    assert (given.number, given.job) == (1, job("a", 0))
    assert worker.waiting()
    assert worker.read_ahead() == 4
    first.stop()
    start()
    while worker.read_ahead() != 1:
        worker.send(Hello(role="worker", modality="face"))
        worker._poller.poll(HELLO_EVERY_S * 1000)
    assert isinstance(worker.receive(PATIENCE_S), Welcome)


def test_actors_find_a_broker_that_was_started_again(
    start: Callable[[], Running], actor: Callable[..., Mailbox]
) -> None:
    first = start()
    fusion = actor("fusion", Hello(role="fusion"))
    capture = actor("capture a", Hello(role="capture"))
    assert isinstance(capture.receive(PATIENCE_S), Welcome)
    assert isinstance(fusion.receive(PATIENCE_S), Welcome)
    old_epoch = capture.epoch
    first.stop()
    start()
    assert isinstance(capture.receive(PATIENCE_S), Welcome)
    assert isinstance(fusion.receive(PATIENCE_S), Welcome)
    assert capture.epoch > old_epoch
    capture.send(opened("a", "latest"))
    found = fusion.receive(PATIENCE_S)
    assert isinstance(found, Delivery)
    assert isinstance(found.message, StreamOpened)


def test_what_is_no_message_is_counted_and_takes_nothing_down(
    start: Callable[[], Running], directory: Path, actor: Callable[..., Mailbox]
) -> None:
    start()
    bus = Subscriber(events_endpoint(directory), ["status"])
    context = zmq.Context[zmq.Socket[bytes]]()
    stranger = connect(context, zmq.DEALER, mailbox_endpoint(directory))
    rubbish = [b"", b"\xc1", b"x" * 1000, encode(sealed(Ready(), v=9)), b"\x91" * 5000]
    for data in rubbish:
        stranger.send(data)
    stranger.send_multipart([b"two at", b"a time"])
    rubbish += [b"two at", b"a time"]
    # Well-formed, but from nobody the broker knows: not rubbish, and not listened to.
    stranger.send(encode(sealed(Ready())))
    seen = 0
    while seen < len(rubbish):
        found = bus.receive(PATIENCE_S)
        assert found is not None
        assert isinstance(found[1], Status)
        seen = found[1].undecodable
    assert seen == len(rubbish)
    assert isinstance(actor("capture a", Hello(role="capture")).receive(PATIENCE_S), Welcome)
    bus.close()
    stranger.close()
    context.term()


def test_the_bus_moves_to_other_addresses_or_stays_where_it_is(
    start: Callable[[], Running], directory: Path, actor: Callable[..., Mailbox]
) -> None:
    start()
    supervisor = actor("supervisor", Hello(role="supervisor"))
    assert isinstance(supervisor.receive(PATIENCE_S), Welcome)
    one, other = (f"ipc://{directory / name}" for name in ("one", "other"))

    def told(revision: int, *events: str) -> Reconfigured:
        supervisor.send(Reconfigure(to="broker", revision=revision, settings={"events": list(events)}))
        while not isinstance(found := supervisor.receive(PATIENCE_S), Reconfigured):
            assert isinstance(found, Status)
        assert found.revision == revision
        return found

    def heard(endpoint: str) -> bool:
        bus = Subscriber(endpoint, ["status"])
        found = bus.receive(PATIENCE_S)
        bus.close()
        return found is not None

    assert told(1, one).because is None
    assert heard(one)
    assert "other machines" in (told(2, other, "tcp://0.0.0.0:5655").because or "")
    assert heard(one), "all of it, or nothing"
    assert told(3, other).because is None
    assert heard(other)


def test_an_address_in_use_is_named(directory: Path) -> None:
    context = zmq.Context[zmq.Socket[bytes]]()
    first = bind(context, zmq.PUB, "tcp://127.0.0.1:*")
    taken = first.getsockopt_string(zmq.LAST_ENDPOINT)
    with pytest.raises(EndpointError, match="can't be bound"):
        BrokerProcess(directory, "broker", 1, events=[taken])
    first.close()
    context.term()


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:5655", "tcp://*:5655", "tcp://192.168.1.4:1", "tcp://[::]:5655"])
def test_tcp_that_others_can_reach_is_refused(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="other machines"):
        bind(zmq.Context.instance(), zmq.PUB, endpoint)


@pytest.mark.parametrize("place", ["", ":x", ":"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "lab"])
def test_an_address_without_a_port_is_none(host: str, place: str) -> None:
    with pytest.raises(EndpointError, match="no address that can be used"):
        needs_keys(f"tcp://{host}{place}")


@pytest.mark.parametrize("endpoint", ["ws://127.0.0.1:5655", "udp://127.0.0.1:1", "ipc://@name", "ipc://", "5655", ""])
def test_what_is_no_address_of_tcp_or_a_socket_file_is_refused(endpoint: str) -> None:
    with pytest.raises(EndpointError, match="no address that can be used") as refused:
        bind(zmq.Context.instance(), zmq.PUB, endpoint)
    assert "take tcp://ADDRESS:5655 or ipc:///PATH" in safe(str(refused.value)), "nothing in it looks like a password"


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:5655", "tcp://localhost:1", "tcp://[::1]:9", "ipc:///x"])
def test_loopback_is_allowed(endpoint: str) -> None:
    assert not needs_keys(endpoint)


def test_a_session_is_private_and_its_path_short_enough(tmp_path: Path) -> None:
    place = tmp_path / "p"
    place.mkdir(mode=0o755)
    make_private(place)
    assert place.stat().st_mode & 0o777 == 0o700
    with pytest.raises(EndpointError, match="too long"):
        make_private(tmp_path / ("x" * 120))


@given(st.floats(0, 1e6), st.booleans())
def test_a_wait_is_not_over_before_a_tick_may_be_made(ticked_at: float, busy: bool) -> None:
    """Else the broker turns without a pause until it may: a tenth of a second where the last tick was before a beat."""
    broker = SimpleNamespace(_router=SimpleNamespace(busy=busy), _ticked_at=ticked_at, _busy_at=0.0)
    assert BrokerProcess._tick_due(cast("BrokerProcess", broker)) >= ticked_at + TICK_S


def test_the_bus_knows_what_anybody_reads(directory: Path, tmp_path: Path) -> None:
    context = zmq.Context[zmq.Socket[bytes]]()
    listeners = RemoteListeners(context, tmp_path / "keys")
    bus = EventBus(context, directory, listeners)
    assert not bus.has_readers(b"emotion.a")
    reader = Subscriber(events_endpoint(directory), ["emotion.", "frame.a"])
    # Both may come at once, or one after the other.
    while not (bus.has_readers(b"emotion.a") and bus.has_readers(b"frame.a")):
        assert bus.socket.poll(PATIENCE_S * 1000)
        bus.read_subscriptions()
    assert not bus.has_readers(b"frame.b")
    reader.close()
    while bus.has_readers(b"emotion.a") or bus.has_readers(b"frame.a"):
        assert bus.socket.poll(PATIENCE_S * 1000)
        bus.read_subscriptions()
    bus.close()
    listeners.close()
    context.term()
