"""The heart of an actor beats apart from its work; at its end it takes what is under way."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bimodal.broker.errors import MessageError
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Ack, Body, Heartbeat, Hello, Welcome, decode
from bimodal.broker.sockets import make_private, supervisor_endpoint
from bimodal.workers.actor import ActorSettings, Stop, live

PATIENCE_S = 60.0


class LongTurns:
    """An actor whose every turn takes longer than five heartbeats."""

    deadline_s = 40.0
    turn_s = 0.0

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        self.turns = 0

    def on_connected(self) -> None: ...

    def on_message(self, body: Body) -> None: ...

    def on_idle(self) -> None:
        time.sleep(3.0)
        self.turns += 1

    def figures(self) -> dict[str, float]:
        return {"turns": float(self.turns)}

    def degraded_reason(self) -> str | None:
        return None

    def finished(self) -> int | None:
        return 0 if self.turns else None

    def close(self) -> None: ...


def test_an_actor_beats_while_it_works_and_says_for_how_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zmq

    monkeypatch.setattr("bimodal.workers.actor.signal.signal", lambda *_: None)
    directory = tmp_path / "s"
    make_private(directory)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    heard = context.socket(zmq.PULL)
    heard.bind(supervisor_endpoint(directory))
    settings = ActorSettings(name="slow", incarnation=1, role="observer", directory=str(directory), slots="")
    mailbox = Mailbox(directory, "slow", 1, Hello(role="observer"))
    assert live(LongTurns, settings, mailbox, Stop()) == 0
    beats: list[Heartbeat] = []
    while heard.poll(200):
        body = decode(heard.recv()).body
        if not isinstance(body, Heartbeat):
            raise MessageError("something else")
        beats.append(body)
    heard.close()
    context.term()
    working = [beat for beat in beats if beat.busy_s > 0]
    assert len(working) >= 4, "one turn of 3 s, a heartbeat each half second"
    assert max(beat.busy_s for beat in working) > 2.0
    assert {beat.deadline_s for beat in working} == {40.0}
    assert (beats[0].state, beats[-1].state) == ("starting", "stopped")


class Takes(LongTurns):
    """An actor that is asked to stop while messages are under way to it."""

    turn_s = 0.0
    drain_s = 20.0

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(settings, mailbox)
        self.taken: list[Body] = []
        ASKED.asked = True
        TAKING.append(self)

    def on_message(self, body: Body) -> None:
        self.taken.append(body)

    def on_idle(self) -> None: ...


ASKED = SimpleNamespace(asked=False)
TAKING: list[Takes] = []


def test_an_actor_that_stops_takes_what_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "s"
    make_private(directory)
    settings = ActorSettings(name="late", incarnation=1, role="recorder", directory=str(directory), slots="")
    mailbox = Mailbox(directory, "late", 1, Hello(role="recorder"))
    waiting: list[Body | None] = [Ack(number=1), Welcome(fresh=True), Ack(number=2), None, Ack(number=3)]
    monkeypatch.setattr(mailbox, "receive", lambda _timeout_s: waiting.pop(0) if waiting else time.sleep(0.01))
    assert live(Takes, settings, mailbox, cast("Stop", ASKED)) == 0
    assert TAKING[0].taken == [Ack(number=1), Ack(number=2), Ack(number=3)]
