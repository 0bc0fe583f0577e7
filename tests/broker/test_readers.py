"""Nobody stops the broker: bounds on connections and subscriptions."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from bimodal.broker import readers
from bimodal.broker.control import MOST_REQUEST_BYTES, ControlServer, StatusRequest, ask, control_endpoint
from bimodal.broker.errors import ControlError
from bimodal.broker.readers import MOST_PREFIX_BYTES, MOST_SUBSCRIPTIONS, Connections, Readers, raise_descriptor_limit
from bimodal.broker.sockets import bind, events_endpoint, make_private

PATIENCE_S = 60.0
Sockets = zmq.Context[zmq.Socket[bytes]]

# Connects so many readers to an address, and keeps them until its stdin is closed.
STRANGERS = """
import sys, zmq
context = zmq.Context()
context.set(zmq.MAX_SOCKETS, 4096)
kept = [context.socket(zmq.SUB) for _ in range(int(sys.argv[2]))]
for socket in kept:
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.read()
context.destroy(linger=0)
"""


@pytest.fixture
def context() -> Iterator[Sockets]:
    made: Sockets = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def bus(tmp_path: Path, context: Sockets) -> Iterator[Readers]:
    make_private(tmp_path / "s")
    socket = bind(context, zmq.XPUB, events_endpoint(tmp_path / "s"))
    found = Readers(socket, "the bus")
    yield found
    found.close()
    socket.close()


def subscriber(context: Sockets, tmp_path: Path, *prefixes: bytes) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.connect(events_endpoint(tmp_path / "s"))
    for prefix in prefixes:
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
    return socket


def until(bus: Readers, wanted: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not wanted():
        assert time.monotonic() < end, "it never came to that"
        bus.read()
        time.sleep(0.005)


def test_topics_are_wanted_while_somebody_has_subscribed(bus: Readers, context: Sockets, tmp_path: Path) -> None:
    assert not bus.want(b"emotion.desk")
    first, second = (
        subscriber(context, tmp_path, b"emotion.", b"status"),
        subscriber(context, tmp_path, b"emotion.desk"),
    )
    until(bus, lambda: bus.want(b"emotion.desk") and bus.want(b"emotion.hall") and bus.want(b"status"))
    assert not bus.want(b"frame.desk")
    assert not bus.want(b"emo")
    first.close()
    until(bus, lambda: not bus.want(b"emotion.hall"))
    assert bus.want(b"emotion.desk"), "the other one stays"
    second.setsockopt(zmq.UNSUBSCRIBE, b"emotion.desk")
    until(bus, lambda: not bus.want(b"emotion.desk"))


def test_what_is_wanted_is_sent_and_only_that(bus: Readers, context: Sockets, tmp_path: Path) -> None:
    reader = subscriber(context, tmp_path, b"emotion.")
    until(bus, lambda: bus.want(b"emotion.desk"))
    bus.socket.send_multipart([b"frame.desk", b"1"])
    bus.socket.send_multipart([b"emotion.desk", b"2"])
    assert reader.poll(int(PATIENCE_S * 1000))
    assert reader.recv_multipart() == [b"emotion.desk", b"2"]


def test_a_flood_of_subscriptions_is_taken_a_few_a_turn_and_bounded(
    bus: Readers, context: Sockets, tmp_path: Path
) -> None:
    flood = subscriber(context, tmp_path, *(b"x%d" % number for number in range(20_000)))
    reader = subscriber(context, tmp_path, b"emotion.")
    until(bus, lambda: bus.want(b"emotion.desk"))
    until(bus, lambda: not bus.socket.poll(200))
    assert len(bus._wanted) == MOST_SUBSCRIPTIONS + 1, "the flood has its share, and no more"
    bus.socket.send_multipart([b"emotion.desk", b"2"])
    assert reader.poll(int(PATIENCE_S * 1000))
    flood.close()
    until(bus, lambda: len(bus._wanted) == 1)


def test_a_turn_reads_no_more_than_its_share(
    bus: Readers, context: Sockets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST_PER_TURN", 10)
    one = subscriber(context, tmp_path, *(b"y%d" % number for number in range(50)))
    until(bus, lambda: len(bus._wanted) > 0)
    before = len(bus._wanted)
    bus.read()
    assert len(bus._wanted) <= before + 10
    until(bus, lambda: len(bus._wanted) == 50)
    one.close()


def test_a_reader_that_comes_while_others_are_read_is_not_forgotten(
    bus: Readers, context: Sockets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its descriptor is new, or that of one who has just left, when its subscription is read."""
    flood = subscriber(context, tmp_path, *(b"x%d" % number for number in range(50)))
    until(bus, lambda: len(bus._wanted) > 0)
    reader: list[zmq.Socket[bytes]] = []
    known = readers.readable

    def reads_on(socket: zmq.Socket[bytes]) -> bool:
        """Once the turn has begun, somebody comes, and its subscription is waited for."""
        if socket is bus.socket and not reader:
            reader.append(subscriber(context, tmp_path, b"emotion."))
            assert socket.poll(int(PATIENCE_S * 1000))
        return known(socket)

    until(bus, lambda: len(bus._wanted) == 50)
    monkeypatch.setattr(readers, "readable", reads_on)
    bus.read()
    monkeypatch.setattr(readers, "readable", known)
    until(bus, lambda: bus.want(b"emotion.desk"))
    for _ in range(5):
        bus.read()
    assert bus.want(b"emotion.desk"), "its own arrival was taken for the end of another one"
    flood.close()


def test_one_with_the_descriptor_of_another_gets_what_it_asks_for(
    bus: Readers, context: Sockets, tmp_path: Path
) -> None:
    """Subscriptions that one has left behind may be read after it has ended and another has come."""
    first = subscriber(context, tmp_path, b"emotion.")
    until(bus, lambda: bus.want(b"emotion.desk"))
    first.close()
    until(bus, lambda: not bus.want(b"emotion.desk"))
    second = subscriber(context, tmp_path)
    until(bus, lambda: bool(bus._connections._open))
    (descriptor,) = bus._connections._open
    bus._prefixes[descriptor] = {b"emotion."}
    bus._wanted[b"emotion."] += 1
    bus._lengths[len(b"emotion.")] += 1
    second.setsockopt(zmq.SUBSCRIBE, b"emotion.")
    assert bus.socket.poll(int(PATIENCE_S * 1000))
    bus.read()
    bus.socket.send_multipart([b"emotion.desk", b"2"])
    assert second.poll(int(PATIENCE_S * 1000))


def test_a_prefix_that_is_too_long_is_ignored(bus: Readers, context: Sockets, tmp_path: Path) -> None:
    long = b"z" * (MOST_PREFIX_BYTES + 1)
    one = subscriber(context, tmp_path, long, b"emotion.")
    until(bus, lambda: bus.want(b"emotion.desk"))
    assert not bus.want(long)
    one.close()


def test_connections_beyond_the_limit_are_closed_and_those_of_the_session_are_not(
    bus: Readers, context: Sockets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MOST_CONNECTIONS", 20)
    place = events_endpoint(tmp_path / "s")
    # Its parent is not ours: a stranger in a process of its own.
    command = ["setsid", "--fork", sys.executable, "-c", STRANGERS, place, "100"]
    strangers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert strangers.stdout is not None
    assert strangers.stdin is not None
    assert strangers.stdout.readline() == "connected\n"
    until(bus, lambda: bus._connections._refused >= 50)
    assert bus._connections.full
    mine = subscriber(context, tmp_path, b"emotion.")
    until(bus, lambda: bus.want(b"emotion.desk"))
    until(bus, lambda: len(bus._connections._open) == 21)
    strangers.stdin.close()
    until(bus, lambda: not bus._connections.full)
    assert mine is not None
    strangers.wait()


def test_descriptors_are_allowed_as_far_as_the_system_does() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        raise_descriptor_limit()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft >= before[0]
        assert hard == before[1]
        assert readers.most_connections() >= 8
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_request_of_more_than_64_kib_never_reaches_the_supervisor(tmp_path: Path, context: Sockets) -> None:
    make_private(tmp_path / "s")
    server = ControlServer(tmp_path / "s")
    asked: list[object] = []
    client = context.socket(zmq.DEALER)
    client.connect(control_endpoint(tmp_path / "s"))
    client.send(bytes(MOST_REQUEST_BYTES + 1))
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        server.serve(lambda request: asked.append(request))  # type: ignore[arg-type, return-value, func-returns-value]
    assert not client.poll(0), "not even a refusal: the connection was closed"
    assert asked == []
    server.close()
    with pytest.raises(ControlError, match="did not answer"):
        ask(tmp_path / "s", StatusRequest(), StatusRequest, within_s=0.1)
    assert Connections is not None
