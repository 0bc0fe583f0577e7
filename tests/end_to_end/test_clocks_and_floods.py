"""Nothing depends on the wall clock, and subscribers that never read cost the broker no memory."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import zmq

from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Mailbox, Subscriber
from bimodal.broker.messages import Body, Hello, StreamOpened, Welcome
from bimodal.broker.sockets import events_endpoint, make_private
from bimodal.supervisor.session import Session, lock_path, sweep_abandoned
from bimodal.workers.actor import ENVIRONMENT_KEY, ActorSettings
from tests.end_to_end.driving import REPOSITORY
from tests.recordings.events import event

PATIENCE_S = 60.0
EVENTS = 5000
SUBSCRIBERS = 200
# 1000 messages (ZeroMQ's high-water mark) of 200 subscribers, two frames of 64 bytes each, and the events themselves.
# Without the mark it would be five times as much.
MOST_GROWTH = 70 * 2**20

# Who may look at the wall clock, and what for. None of it decides when something live is done.
MAY_LOOK = {
    "models/": "how old a download is",
    "recordings/": "names, dates and ages of recordings",
    "workers/record.py": "when a recording began and ended",
    "workers/webhook.py": "the time stamp in the signature of a delivery",
    "workers/view/visitor.py": "a number that no earlier visit had",
    "bimodal/api/analyze.py": "when a report was made",
    "bimodal/bench/": "when something was measured",
    "bimodal/corpus/": "when a clip was done",
    "bimodal/scratch.py": "the age of a folder, against the folder's own wall time",
    "bimodal/commands/": "when a result was made; from when until when a certificate is valid",
    "bimodal/supervisor/analysis.py": "when a result was made",
    "bimodal/supervisor/live.py": "when a recording began and ended",
    "bimodal/supervisor/session.py": "the age of a lock file, against the file's own wall time",
}
WALL_CLOCK = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}


def looks_at_the_wall_clock(file: Path) -> bool:
    """Whether a module calls one of WALL_CLOCK, or hands it on."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if (name, node.attr) in WALL_CLOCK:
                return True
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "time"
            and {n.name for n in node.names} & {"time", "time_ns"}
        ):
            return True
    return False


def test_only_names_dates_and_ages_come_from_the_wall_clock() -> None:
    found = {
        str(file.relative_to(REPOSITORY))
        for room in ("broker", "models", "recordings", "drawing", "workers", "bimodal")
        for file in (REPOSITORY / room).rglob("*.py")
        if looks_at_the_wall_clock(file)
    }
    live_path = {name for name in found if not name.startswith(tuple(MAY_LOOK))}
    assert live_path == set(), "say in MAY_LOOK what the wall clock is needed for, or take the monotonic one"


@pytest.mark.parametrize("step_s", [-400 * 86_400.0, 400 * 86_400.0])
def test_a_wall_clock_that_jumps_takes_nothing_of_a_running_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    session = Session("a")
    try:
        sweep_abandoned(time.time() + step_s)
        assert lock_path(session.slots).exists()
        assert session.slots.exists()
    finally:
        session.close()


class Alone:
    """A broker's process without a supervisor."""

    def __init__(self, directory: Path) -> None:
        make_private(directory)
        self.directory = directory
        settings = ActorSettings(
            name="broker",
            incarnation=1,
            role="supervisor",
            directory=str(directory),
            slots=str(directory),
            log=str(directory / "log"),
        )
        environment = {**os.environ, ENVIRONMENT_KEY: msgspec.json.encode(settings).decode()}
        command = [sys.executable, "-m", "bimodal.workers", "broker:main"]
        self.process = subprocess.Popen(command, env=environment, cwd=REPOSITORY)

    @property
    def memory(self) -> int:
        """Bytes of its own that are in memory."""
        return int(psutil.Process(self.process.pid).memory_full_info().uss)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    broker = Alone(tmp_path / "s")
    yield broker
    broker.close()


def await_welcome(box: Mailbox) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if isinstance(box.receive(1.0), Welcome):
            return
    raise AssertionError("the broker did not answer")


def test_subscribers_that_never_read_lose_and_the_broker_does_not(alone: Alone) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    deaf = [context.socket(zmq.SUB) for _ in range(SUBSCRIBERS)]
    for socket in deaf:
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.SUBSCRIBE, b"emotion.")
        socket.connect(events_endpoint(alone.directory))
    reader = Subscriber(events_endpoint(alone.directory), ["emotion."])
    capture = Mailbox(alone.directory, "capture clip", 1, Hello(role="capture"))
    fusion = Mailbox(alone.directory, "fusion", 1, Hello(role="fusion"))
    try:
        await_welcome(capture)
        await_welcome(fusion)
        opened = StreamOpened(
            stream="clip", run=event(0).run, policy="latest", source="clip", has_picture=True, has_sound=False
        )
        capture.send(opened)
        for _ in range(1000):  # a subscription takes a moment to arrive
            fusion.send(event(0))
            if reader.receive(0.05) is not None:
                break
        before = alone.memory
        for seq in range(1, EVENTS):
            fusion.send(event(seq))
            if seq % 100 == 0:  # as fast as the broker is, so that it is the subscribers' queues that are looked at
                await_event(reader, seq)
        assert alone.memory - before < MOST_GROWTH
        assert all(socket.poll(0) for socket in deaf), "they would have had something to read"
        assert alone.process.poll() is None
    finally:
        reader.close()
        capture.close()
        fusion.close()
        context.destroy(linger=0)


def await_event(reader: Subscriber, seq: int) -> Emotion:
    """The event of this number, which a subscriber that reads does not lose."""
    found: tuple[str, Body] | None = ("", event(0))
    while found is not None:
        found = reader.receive(PATIENCE_S)
        if found is not None and isinstance(found[1], Emotion) and found[1].seq == seq:
            return found[1]
    raise AssertionError(f"event {seq} did not come")
