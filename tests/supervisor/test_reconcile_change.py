"""A change on its way: everything new is ready before anything old is touched."""

from __future__ import annotations

from bimodal.broker.messages import Shadowed
from bimodal.supervisor.child import START_LIMIT_S, Life
from bimodal.supervisor.processes import ProcessSpec, Role
from bimodal.supervisor.reconcile import (
    ANSWER_WITHIN_S,
    ENOUGH_FRAMES,
    NO_FRAMES_S,
    RESEND_EVERY_S,
    TRIED_WITHIN_S,
    Change,
    Plan,
)
from bimodal.workers.settings import BrokerSettings


def row(name: str, role: Role) -> ProcessSpec:
    return ProcessSpec(name=name, role=role, settings=BrokerSettings())


def ready(incarnation: int = 0) -> Life:
    life = Life(incarnation)
    life.on_heartbeat(life.started(0.0), "ready", None, 0.0)
    return life


BOTH = Plan(start_alongside=(row("face 2", "face"),), retire=("face 1",), reconfigure=(row("fusion", "fusion"),))


def test_it_waits_for_workers_then_tells_then_is_carried_out() -> None:
    change, worker, fusion = Change(BOTH, 7), Life(), ready()
    lives = {"face 2": worker, "fusion": fusion}
    assert change.due(lives, 0.0) == "wait"
    worker.on_heartbeat(worker.started(1.0), "ready", None, 1.0)
    assert change.due(lives, 2.0) == "send"
    assert change.due(lives, 2.0 + RESEND_EVERY_S / 2) == "wait"
    assert change.due(lives, 2.0 + RESEND_EVERY_S) == "send", "what was told may be lost"
    change.on_answer("fusion", 6, "an answer to something else", 1)
    change.on_answer("fusion", 7, None, fusion.incarnation)
    assert change.due(lives, 4.0) == "carry out"


def test_one_that_was_started_again_since_is_told_again() -> None:
    change, fusion = Change(Plan(reconfigure=(row("fusion", "fusion"),)), 1), ready()
    assert change.due({"fusion": fusion}, 0.0) == "send"
    change.on_answer("fusion", 1, None, fusion.incarnation)
    fusion.exited(1.0, restart=True)
    fusion.on_heartbeat(fusion.started(2.0), "ready", None, 2.0)
    assert change.due({"fusion": fusion}, 3.0) == "send"


def test_a_worker_that_fails_and_one_who_refuses_end_it_with_their_sentence() -> None:
    worker = Life()
    worker.started(0.0)
    worker.fail("the file is broken", 1.0)
    change = Change(BOTH, 1)
    assert change.due({"face 2": worker, "fusion": ready()}, 1.0) == "give up"
    assert change.reason == "the file is broken"
    change = Change(BOTH, 1)
    change.on_answer("fusion", 1, "no such space", 1)
    assert change.due({"face 2": ready(), "fusion": ready()}, 1.0) == "give up"
    assert change.reason == "no such space"


def test_one_who_never_answers_ends_it() -> None:
    change, lives = Change(Plan(reconfigure=(row("fusion", "fusion"),)), 1), {"fusion": ready()}
    assert change.due(lives, 0.0) == "send"
    assert change.due(lives, ANSWER_WITHIN_S + 1) == "give up"
    assert change.reason is not None
    assert "fusion" in change.reason


# New workers are tried on real frames.

ALONE = Plan(start_alongside=(row("face 2", "face"),), retire=("face 1",))


def tried(done: int = 0, failed: int = 0, asked: int | None = None, reason: str | None = None) -> Shadowed:
    count = done + failed if asked is None else asked
    return Shadowed(
        name="face 2", incarnation=1, asked=count, done=done, failed=failed, compared=done, agreed=done // 2,
        mean_ms=12.0, duty_ms=15.0, because=reason,
    )  # fmt: skip


def test_workers_that_answer_real_frames_take_over_and_it_is_told_how_they_did() -> None:
    change, lives = Change(ALONE, 1, ["face 2"]), {"face 2": ready()}
    assert change.due(lives, 0.0) == "wait"
    assert change.trying == ("face 2",)
    change.on_shadowed(tried(ENOUGH_FRAMES - 1))
    assert change.due(lives, 1.0) == "wait"
    change.on_shadowed(tried(ENOUGH_FRAMES))
    assert change.due(lives, 1.1) == "carry out"
    assert change.trying == ()
    assert change.tried() == (
        "the new workers were tried on 8 real frames: 4 of 8 labels are those of the old ones, 12 ms a frame, the old "
        "ones 15 ms"
    )


def test_workers_that_fail_on_real_frames_do_not_take_over() -> None:
    change, lives = Change(ALONE, 1, ["face 2"]), {"face 2": ready()}
    change.due(lives, 0.0)
    change.on_shadowed(tried(1, 5, reason="ValueError in the face worker"))
    assert change.due(lives, 1.0) == "give up"
    assert change.reason == "face 2 failed on 5 of 6 real frames that it was tried on: ValueError in the face worker"


def test_workers_that_hang_on_real_frames_do_not_take_over() -> None:
    change, lives = Change(ALONE, 1, ["face 2"]), {"face 2": ready()}
    change.due(lives, 0.0)
    change.on_shadowed(tried(asked=1))
    assert change.due(lives, TRIED_WITHIN_S) == "wait"
    assert change.due(lives, TRIED_WITHIN_S + 1) == "give up"
    assert "answered 0 of the real frames" in str(change.reason)


def test_where_no_frame_comes_nothing_can_be_tried() -> None:
    change, lives = Change(ALONE, 1, ["face 2"]), {"face 2": ready()}
    assert change.due(lives, 0.0) == "wait"
    assert change.due(lives, NO_FRAMES_S + 0.1) == "carry out"
    assert change.tried() == "no frame came on which the new workers could be tried"


def test_a_warm_up_that_never_ends_is_given_up() -> None:
    worker = Life()
    worker.started(0.0)
    change = Change(ALONE, 1, ["face 2"])
    assert change.due({"face 2": worker}, START_LIMIT_S) == "wait"
    worker.due(START_LIMIT_S + 1)
    assert change.due({"face 2": worker}, START_LIMIT_S + 1) == "give up"
    assert change.reason == "face 2 was not ready within 60 s"
