"""A system among people who stop its processes, never read what they subscribed to, and send it rubbish."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import msgspec
import psutil
import pytest
import zmq

from bimodal.broker.events import Emotion
from bimodal.broker.messages import (
    MAX_MESSAGE_BYTES,
    Ack,
    Body,
    Envelope,
    Heartbeat,
    Job,
    JobFailed,
    Ready,
    Status,
    StreamClosed,
    decode,
    encode,
    seal,
)
from bimodal.broker.sockets import events_endpoint, mailbox_endpoint, session_directory, supervisor_endpoint
from tests.end_to_end.driving import PATIENCE_S, Driven
from tests.media import face_clip

SESSION = f"test-abuse-{os.getpid()}"
STOPPED_S = 10.0
SUBSCRIBERS = 200


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    """A system that plays a talking face for ever; the tests abuse it one after the other."""
    folder = tmp_path_factory.mktemp("abuse")
    clip = face_clip(folder / "clip.mp4", 3.0)
    config = folder / "config.yaml"
    config.write_text(
        f"streams: {{clip: {{file: '{clip}', loop: true}}}}\nworkers: {{face: {{count: 1}}}}\n"
        f"outputs: {{view: false}}\nlog: {{file: '{folder / 'log'}'}}\n"
    )
    with Driven("up", "--config", config, "--session", SESSION, session=SESSION) as driven:
        driven.wait_for(lambda body: isinstance(body, Emotion))
        yield driven
        driven.interrupt()
        code, _, err = driven.finish()
        assert code == 0, err
        assert driven.left_behind() == []


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    made.set(zmq.MAX_SOCKETS, 4096)
    yield made
    made.destroy(linger=0)


def pids(driven: Driven) -> dict[str, int]:
    return {name: child.pid for name, child in driven.children().items()}


def goes_on(driven: Driven, events: int = 25) -> None:
    """So many events come, each later than the one before, of one run."""
    last = driven.wait_for(lambda body: isinstance(body, Emotion))
    for _ in range(events):
        found = driven.wait_for(lambda body: isinstance(body, Emotion))
        assert isinstance(found, Emotion)
        assert isinstance(last, Emotion)
        assert found.run != last.run or found.seq > last.seq
        last = found


def is_counted(undecodable: int, ignored: int) -> Callable[[Body], bool]:
    def check(body: Body) -> bool:
        return isinstance(body, Status) and body.undecodable >= undecodable and body.ignored >= ignored

    return check


def test_200_subscribers_that_never_read_cost_nobody_anything(
    live: Driven, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    before = pids(live)
    deaf = [context.socket(zmq.SUB) for _ in range(SUBSCRIBERS)]
    for socket in deaf:
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(events_endpoint(session_directory(SESSION)))
    goes_on(live, 50)
    assert all(socket.poll(0) for socket in deaf), "they would have had something to read"
    assert pids(live) == before


def sealed_of(driven: Driven, wanted: Callable[[Body], bool], topic: bytes) -> Envelope:
    """A message of the bus in its envelope."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bus = context.socket(zmq.SUB)
    bus.setsockopt(zmq.SUBSCRIBE, topic)
    bus.connect(events_endpoint(session_directory(driven.session)))
    try:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if bus.poll(200):
                envelope = decode(bus.recv_multipart()[1])
                if wanted(envelope.body):
                    return envelope
        raise AssertionError(f"no such message of {topic!r}")
    finally:
        context.destroy(linger=0)


def test_rubbish_forgeries_and_replays_change_nothing_and_are_counted(
    live: Driven, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    before = pids(live)
    seen = sealed_of(live, lambda body: isinstance(body, Job), b"frame.")
    job, epoch = seen.body, seen.epoch
    assert isinstance(job, Job)
    life = {
        name: body.incarnation
        for name in ("capture clip", "face 1", "fusion")
        for body in [live.wait_for(lambda body, name=name: isinstance(body, Heartbeat) and body.name == name)]  # type: ignore[misc]
        if isinstance(body, Heartbeat)
    }
    status = live.wait_for(lambda body: isinstance(body, Status))
    assert isinstance(status, Status)
    good = seal(job, epoch=epoch, sender="stranger", incarnation=1)
    raw = msgspec.msgpack.decode(good)
    rubbish = [
        b"",
        b"\xc1" * 100,
        good[: len(good) // 2],
        msgspec.msgpack.encode(raw | {"v": 99}),
        msgspec.msgpack.encode(raw | {"body": {"type": "no such type"}}),
        msgspec.msgpack.encode(raw | {"body": raw["body"] | {"seq": "three"}}),
        msgspec.msgpack.encode(raw | {"incarnation": -(2**63), "sender": 7}),
        b"\x91" * 100_000,
        b"x" * (MAX_MESSAGE_BYTES - 10),
    ]
    strange = [
        good,
        seal(job, epoch=epoch - 1, sender="capture clip", incarnation=life["capture clip"]),
        seal(job, epoch=epoch, sender="capture clip", incarnation=life["capture clip"] + 7),
    ]
    closed = StreamClosed(stream="no such stream", run=1)
    failed = JobFailed(
        number=10**6, stream="clip", run=job.run, modality="face", seq=job.seq, pts_ns=0, grab_ns=0, because="forged"
    )
    # Of known actors, but a second time, too late, or what they have no business to say.
    replayed = [
        encode(seen),
        *[seal(job, epoch=epoch, sender="capture clip", incarnation=life["capture clip"])] * 50,
        seal(closed, epoch=epoch, sender="fusion", incarnation=life["fusion"]),
        seal(failed, epoch=epoch, sender="face 1", incarnation=life["face 1"]),
        seal(Ready(last=0), epoch=epoch, sender="fusion", incarnation=life["fusion"]),
        seal(Ack(number=0), epoch=epoch, sender="face 1", incarnation=life["face 1"]),
    ]
    enemy = context.socket(zmq.DEALER)
    enemy.connect(mailbox_endpoint(session_directory(SESSION)))
    for data in [*rubbish, *strange, *replayed]:
        enemy.send(data)
    enemy.send_multipart([b"a", b"message", b"of", b"many", b"frames"])
    oversize = context.socket(zmq.DEALER)
    oversize.connect(mailbox_endpoint(session_directory(SESSION)))
    oversize.send(b"x" * (MAX_MESSAGE_BYTES + 1))
    flood = context.socket(zmq.PUSH)
    flood.setsockopt(zmq.SNDHWM, 0)
    flood.connect(supervisor_endpoint(session_directory(SESSION)))
    for number in range(5000):
        flood.send(rubbish[number % 5])
    beat = Heartbeat(name="capture clip", incarnation=10**6, state="failed", pid=0, because="forged")
    flood.send(seal(beat, epoch=epoch, sender="stranger", incarnation=1))
    counted = is_counted(status.undecodable + len(rubbish) + 1, status.ignored + len(strange))
    assert live.wait_for(counted)
    goes_on(live)
    assert pids(live) == before


def stop(children: dict[str, psutil.Process], *names: str) -> dict[str, int]:
    for name in names:
        children[name].send_signal(signal.SIGSTOP)
    return {name: children[name].pid for name in names}


def test_a_supervisor_that_is_stopped_for_10_s_holds_up_nobody_and_blames_nobody(live: Driven) -> None:
    before = pids(live)
    live.process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + STOPPED_S
    try:
        while time.monotonic() < end:
            live.wait_for(lambda body: isinstance(body, Emotion))
    finally:
        live.process.send_signal(signal.SIGCONT)
    goes_on(live)
    live.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "face 1" and body.state == "ready")
    assert pids(live) == before


def test_processes_that_are_stopped_are_found_out_replaced_and_the_stream_goes_on(live: Driven) -> None:
    names = ("face 1", "audio 1", "capture clip", "fusion", "broker")
    stopped = stop(live.children(), *names)
    waiting = set(names)
    while waiting:
        beat = live.wait_for(
            lambda body: isinstance(body, Heartbeat) and body.state == "ready" and body.name in waiting
        )
        assert isinstance(beat, Heartbeat)
        if beat.pid != stopped[beat.name]:
            waiting.discard(beat.name)
    goes_on(live)
