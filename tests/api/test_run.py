"""`bimodal.run` and `bimodal.listen`: a real system from Python."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

import bimodal
from bimodal.broker.sockets import session_directory, slots_directory
from bimodal.workers.demo import DEMO
from tests.end_to_end.driving import PATIENCE_S

CONFIG = {"streams": {"desk": {"file": str(DEMO), "loop": True}}, "outputs": {"view": False}}
SESSION = f"api-{os.getpid()}"


@pytest.fixture(scope="module")
def system() -> Iterator[bimodal.System]:
    with bimodal.run(CONFIG, session=SESSION) as running:
        yield running


def test_events_come_in_a_loop(system: bimodal.System) -> None:
    events = list(itertools.islice(system.events(), 3))
    assert all(isinstance(event, bimodal.Emotion) for event in events)
    assert {event.stream for event in events} == {"desk"}
    assert system.status().session == SESSION
    assert {process.state for process in system.status().processes} == {"ready"}


def test_anyone_can_listen(system: bimodal.System) -> None:
    with bimodal.listen(session=SESSION) as named, bimodal.listen(system.address, topic="status") as status:
        assert isinstance(next(named), bimodal.Emotion)
        assert type(next(status)).__name__ == "Status"
    assert list(named) == [], "closed"


def test_async_for_listens_too(system: bimodal.System) -> None:
    async def first(count: int) -> list[bimodal.Emotion]:
        found = []
        with bimodal.listen(system.address) as events:
            async for event in events:
                found.append(event)
                if len(found) == count:
                    break
        return found

    assert len(asyncio.run(first(3))) == 3


def test_listeners_survive_a_new_broker(system: bimodal.System) -> None:
    with bimodal.listen(system.address) as events:
        next(events)
        (broker,) = [process for process in system.status().processes if process.name == "broker"]
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        end = time.monotonic() + PATIENCE_S
        while system.status().processes[1].pid == broker.pid:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert isinstance(next(events), bimodal.Emotion)


def test_it_stops_with_its_context_and_leaves_nothing() -> None:
    session = f"{SESSION}-short"
    with bimodal.run(CONFIG, session=session) as system:
        events = system.events()
        next(events)
        pids = [process.pid for process in system.status().processes]
    assert not system.running
    assert list(events) == []
    assert not [pid for pid in pids if pid and psutil.pid_exists(pid)]
    assert not session_directory(session).exists()
    assert not slots_directory(session).exists()


def test_it_stops_when_the_program_that_started_it_is_killed() -> None:
    session = f"{SESSION}-orphan"
    start = f"import bimodal, time; system = bimodal.run({CONFIG!r}, session={session!r})"
    program = f"{start}; print('on', flush=True); time.sleep(600)"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"on\n"
    parent.kill()
    parent.wait()
    end = time.monotonic() + PATIENCE_S
    while session_directory(session).exists():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("config", "kind", "sentence"),
    [
        ({"streams": {"a": {"file": "none.mp4"}}, "outputs": {"view": False}}, "SystemFailedError", "there is no file"),
        ({"straems": {}}, "ConfigError", "did you mean 'streams'"),
        ("none.yaml", "SystemFailedError", "none.yaml"),
    ],
)
def test_a_system_that_can_not_begin_says_why(config: object, kind: str, sentence: str) -> None:
    with pytest.raises(getattr(bimodal.errors, kind), match=sentence):
        bimodal.run(config, session=f"{SESSION}-bad")  # type: ignore[arg-type]


def test_several_systems_must_be_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bimodal.api.listen.running_sessions", lambda: ["a", "b"])
    with pytest.raises(bimodal.errors.ControlError, match="name one as session=: a, b"):
        bimodal.listen()
