"""The life of a child process as the supervisor sees it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.config import Config
from bimodal.supervisor.child import (
    DEATH_WINDOW_S,
    DRAIN_WITHIN_S,
    FAILED_RETRY_S,
    KILL_AFTER_S,
    MOST_DEATHS,
    SILENT_S,
    STABLE_AFTER_S,
    START_LIMIT_S,
    STARVED_PATIENCE,
    Child,
    Life,
)
from bimodal.supervisor.processes import TABLE, Wanted, processes, source
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import NEEDED_FIRST, stands_back
from bimodal.workers.actor import REFUSED
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.errors import ConfigError

PATIENCE_S = 180.0


def test_it_is_started_becomes_ready_and_ends() -> None:
    life = Life()
    assert life.due(0.0) == "start"
    assert life.started(0.0) == 1
    assert life.state == "starting"
    assert life.on_heartbeat(1, "ready", None, 1.0)
    assert not life.on_heartbeat(1, "ready", None, 1.5)
    assert life.state == "ready"
    life.exited(2.0, restart=False)
    assert life.state == "stopped"


def test_a_heartbeat_of_an_older_life_is_none() -> None:
    life = Life()
    life.started(0.0)
    life.exited(1.0, restart=True)
    life.started(2.0)
    assert not life.on_heartbeat(1, "ready", None, 3.0)
    assert life.state == "starting"


def test_the_watchdog_is_armed_at_ready_and_kills_after_a_dump() -> None:
    life = Life()
    life.started(0.0)
    assert life.due(SILENT_S * 3) == "nothing", "loading may take its time"
    life.on_heartbeat(1, "ready", None, 20.0)
    assert life.due(20.0 + SILENT_S) == "nothing"
    assert life.due(20.1 + SILENT_S) == "dump"
    assert life.due(20.2 + SILENT_S) == "nothing"
    assert life.due(20.3 + SILENT_S + KILL_AFTER_S) == "kill"


def test_one_that_answers_again_is_left_alone() -> None:
    life = Life()
    life.started(0.0)
    life.on_heartbeat(1, "ready", None, 0.0)
    assert life.due(6.0) == "dump"
    life.on_heartbeat(1, "ready", None, 6.5)
    assert life.due(10.0) == "nothing"


def test_nobody_is_blamed_for_the_time_that_the_watcher_was_away() -> None:
    life = Life()
    life.started(0.0)
    life.on_heartbeat(1, "ready", None, 1.0)
    life.extend_deadlines(60.0, 62.0)
    assert life.due(62.0) == "nothing"
    assert life.due(62.1 + SILENT_S) == "dump", "it is watched again from then on"
    late = Life()
    late.started(0.0)
    late.extend_deadlines(100.0, 100.0)
    assert late.due(101.0) == "nothing"


def test_one_that_never_gets_ready_is_killed_too() -> None:
    life = Life()
    life.started(0.0)
    assert life.due(START_LIMIT_S + 1) == "dump"
    assert life.due(START_LIMIT_S + KILL_AFTER_S + 2) == "kill"


def test_restarts_back_off() -> None:
    life, now, waits = Life(), 0.0, []
    for _ in range(4):
        life.started(now)
        life.exited(now, restart=True)
        begin = now
        while life.due(now) != "start":
            now += 0.25
        waits.append(now - begin)
    assert waits == [0.5, 1.0, 2.0, 4.0]


def test_five_quick_deaths_in_a_minute_are_a_failure() -> None:
    life = Life()
    for death in range(MOST_DEATHS):
        assert life.state != "failed"
        life.started(death * 10.0)
        life.exited(death * 10.0 + 1, restart=True)
    assert life.state == "failed"
    assert life.reason
    failed_at = (MOST_DEATHS - 1) * 10.0 + 1
    assert life.due(failed_at + FAILED_RETRY_S - 0.1) == "nothing"
    assert life.due(failed_at + FAILED_RETRY_S) == "start", "its cause may have gone"


def test_what_failed_is_failing_until_it_is_ready_again() -> None:
    life = Life()
    life.started(0.0)
    life.fail("the file is broken", 1.0)
    for attempt in range(3):
        now = 100.0 * (attempt + 1)
        assert life.due(now) == "start"
        life.started(now)
        assert life.failing
        life.exited(now + 1, restart=True)
        assert life.state == "failed", "one more death is enough"
        assert life.due(now + 2) == "nothing"
    life.started(1000.0)
    life.on_heartbeat(life.incarnation, "ready", None, 1001.0)
    assert not life.failing
    assert life.reason is None


def test_what_failed_need_not_wait_when_something_has_changed() -> None:
    life = Life()
    life.started(0.0)
    life.fail("the file is broken", 1.0)
    assert life.due(2.0) == "nothing"
    life.retry(2.0)
    assert life.due(2.0) == "start"


def test_one_that_leaves_in_order_is_told_once_and_killed_in_the_end() -> None:
    life = Life()
    life.started(0.0)
    life.on_heartbeat(1, "ready", None, 1.0)
    life.drain(10.0, 0.3)
    assert life.state == "draining"
    assert life.due(10.2) == "nothing"
    assert life.due(10.3) == "terminate"
    assert life.due(10.4) == "nothing"
    assert not life.on_heartbeat(1, "ready", None, 10.5), "it is leaving, whatever it says"
    assert life.state == "draining"
    assert life.due(10.4 + DRAIN_WITHIN_S) == "kill"
    life.exited(21.0, restart=False)
    assert life.state == "stopped"
    assert not life.draining


@given(st.lists(st.floats(STABLE_AFTER_S + 0.1, 1000.0), min_size=1, max_size=30))
def test_deaths_long_after_ready_never_fail_it(lives: list[float]) -> None:
    life, now = Life(), 0.0
    for length in lives:
        incarnation = life.started(now)
        life.on_heartbeat(incarnation, "ready", None, now)
        now += length
        life.exited(now, restart=True)
        assert life.state == "stopped"


def test_one_that_has_worked_is_started_again_without_delay_however_often_it_is_killed() -> None:
    life, now = Life(), 0.0
    for _ in range(20):
        incarnation = life.started(now)
        life.on_heartbeat(incarnation, "ready", None, now + 1.0)
        life.on_heartbeat(incarnation, "ready", None, now + 1.0 + STABLE_AFTER_S + 0.5)
        now += 15.0
        life.exited(now, restart=True)
        assert life.due(now) == "nothing"
        assert life.due(now + 0.5) == "start"


@given(st.lists(st.floats(0.0, DEATH_WINDOW_S * 2), min_size=1, max_size=40))
def test_it_fails_exactly_when_five_deaths_lie_within_a_minute(gaps: list[float]) -> None:
    life, now, deaths = Life(), 0.0, []
    for gap in gaps:
        now += gap
        life.started(now)
        life.exited(now, restart=True)
        deaths.append(now)
        recent = [death for death in deaths if now - death <= DEATH_WINDOW_S]
        assert (life.state == "failed") == (len(recent) >= MOST_DEATHS)
        if life.state == "failed":
            return


def test_trouble_is_told_and_forgotten() -> None:
    life = Life()
    life.started(0.0)
    life.on_heartbeat(1, "ready", "the camera was unplugged", 1.0)
    assert life.reason == "the camera was unplugged"
    life.on_heartbeat(1, "ready", None, 2.0)
    assert life.reason is None


def test_work_is_judged_by_its_own_deadline_and_not_by_silence() -> None:
    life = Life()
    life.started(0.0)
    life.on_heartbeat(1, "ready", None, 0.0)
    for second in range(1, 30):
        life.on_heartbeat(1, "ready", None, float(second), busy_s=float(second), deadline_s=60.0)
        assert life.due(second + 0.1) == "nothing", "a model that runs for 30 s beats meanwhile"
    for second in range(30, 61):
        life.on_heartbeat(1, "ready", None, float(second), busy_s=float(second), deadline_s=60.0)
    assert life.due(60.0) == "nothing"
    life.on_heartbeat(1, "ready", None, 60.5, busy_s=60.5, deadline_s=60.0)
    assert life.due(60.5) == "dump"
    assert life.reason == "one piece of work took longer than 60 s"
    life.on_heartbeat(1, "ready", None, 60.6)
    assert life.due(60.7) == "nothing", "it has ended after all"


def test_who_is_starved_is_not_punished() -> None:
    life = Life()
    life.started(0.0)
    life.on_heartbeat(1, "ready", None, 0.0)
    assert life.late_since(SILENT_S) is None
    assert life.late_since(SILENT_S + 1) == 0.0
    assert life.due(SILENT_S + 1, starved=True) == "nothing"
    assert life.due(SILENT_S * STARVED_PATIENCE + 1, starved=True) == "dump", "for ever would be wrong, too"
    life.on_heartbeat(1, "ready", None, 40.0)
    assert life.due(40.1) == "nothing"
    assert life.due(41.0 + SILENT_S) == "dump"
    assert life.reason == "it gave no sign of life for 6 s"


def test_a_start_that_never_ends_is_known_as_such() -> None:
    life = Life()
    life.started(0.0)
    assert life.due(START_LIMIT_S + 1) == "dump"
    assert life.overdue
    life.exited(70.0, restart=True)
    life.started(71.0)
    assert not life.overdue


def test_a_process_that_waits_for_others_loads_meanwhile_and_gets_its_settings_later(tmp_path: Path) -> None:
    session = Session("test-prepared")
    child = Child(source(Config(), "clip", StreamSettings(file="none.mp4"), policy="latest", realtime=True))
    try:
        child.prepare(None)
        child.prepare(None)
        prepared = child._prepared
        assert prepared is not None
        assert not child.running
        child.start(session, None, 1.0)
        assert child.process is prepared, "the interpreter that was there already"
        assert child.process.wait(PATIENCE_S) == REFUSED, "it was told of a file that is not there"
        child.forget_exit()
        child.process = None
        child.prepare(None)
        other = child._prepared
        assert other is not None
        other.kill()
        other.wait()
        child.start(session, None, 2.0)
        assert child.process is not other, "one that has ended is replaced"
        child.process.kill()
        child.process.wait()
        child.forget_exit()
        child.prepare(None)
        last = child._prepared
        child.discard()
        assert last is not None
        assert last.returncode is not None
        child.discard()
    finally:
        session.close()


def test_a_path_that_is_no_utf8_is_a_sentence() -> None:
    session = Session("test-no-utf8")
    settings = StreamSettings(file=os.fsdecode(b"/films/caf\xe9.mp4"))
    try:
        with pytest.raises(ConfigError, match=r"/films/caf%E9\.mp4 can't be used, since its name is no UTF-8"):
            Child(source(Config(), "clip", settings, policy="latest", realtime=True)).start(session, None, 1.0)
    finally:
        session.close()


def test_what_the_first_event_does_not_need_stands_back_where_cores_are_few() -> None:
    rows = processes(Wanted(Config(), {"face": 2}), TABLE)
    children = {row.name: Child(row) for row in rows}

    def waiting(cores: int) -> set[str]:
        return {name for name, child in children.items() if stands_back(child, list(children.values()), cores)}

    others = {"face 2", "audio 1"}
    assert waiting(2) >= others
    assert not waiting(2) & {"broker", "fusion", "face 1"}
    assert waiting(len(NEEDED_FIRST) + 1) == set(), "there is a core for one more"
    children["broker"].life.started(0.0)
    children["broker"].life.on_heartbeat(1, "ready", None, 0.1)
    children["face 1"].life.started(0.0)
    children["fusion"].life.started(0.0)
    assert waiting(2) >= others
    children["fusion"].life.on_heartbeat(1, "ready", None, 0.1)
    assert waiting(2) == set(), "one core is free again"
    children["audio 1"].life.started(0.2)
    assert "face 2" in waiting(2)
    children["face 1"].life.fail("its model is broken", 0.3)
    assert waiting(2) == set(), "nobody waits for what fails"
