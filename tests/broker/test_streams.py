"""Face positions are passed on with the next frames of a live stream, and with no others."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.messages import (
    MOST_FOLLOWED,
    SETTINGS,
    Assignment,
    Face,
    Hello,
    Hints,
    Policy,
    Ready,
    Region,
    decode,
    seal,
)
from bimodal.broker.streams import LastSeen
from bimodal.workers.introduction import introduce
from tests.broker.making import job, opened
from tests.broker.test_router import System, face_result

REGION = Region(x=10.0, y=20.0, side=30.0, angle=0.1, score=0.9, box=(0.0, 0.1, 0.6, 0.6))


def answer(number: int, seq: int, until: int, stream: str = "desk", run: int = 1) -> object:
    hints = Hints(regions=(REGION,), until=until)
    return msgspec.structs.replace(face_result(number, seq, stream, run), hints=hints)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_they_serve_later_frames_up_to_the_one_that_looks_for_itself(seen: int, until: int, seq: int) -> None:
    last = LastSeen()
    last.remember(answer(1, seen, until))  # type: ignore[arg-type]
    given_along = last.for_job(job("desk", seq)) is not None
    assert given_along == (seen < seq < min(until, seen + MOST_FOLLOWED))
    assert last.for_job(job("desk", seq, "speech")) is None


@given(st.permutations(range(6)))
def test_the_newest_frame_counts_in_whatever_order_answers_come(order: list[int]) -> None:
    last = LastSeen()
    for seq in order:
        last.remember(answer(1, seq, 50 + seq))  # type: ignore[arg-type]
    assert last.for_job(job("desk", 6)) == Hints(regions=(REGION,), until=55)


def given_with(policy: Policy, *, run: int = 1, quick: bool = False) -> list[Assignment]:
    """Frames 0 to 3 as they are given to a worker, after a detection in frame 0 that is valid up to frame 2."""
    system = System()
    system.add_worker("face 1")
    system.receive("capture", msgspec.structs.replace(opened("desk", policy, run), quick=quick))
    for seq in range(4):
        system.receive("capture", job("desk", seq, run=run))
        system.receive("face 1", answer(seq + 1, seq, 3, run=run))  # type: ignore[arg-type]
    return system.sent("face 1", Assignment)


def test_live_frames_and_those_of_quick_files_get_them_and_other_files_do_not() -> None:
    hints = Hints(regions=(REGION,), until=3)
    for assignments in (given_with("latest"), given_with("every", quick=True)):
        assert [assignment.hints for assignment in assignments] == [None, hints, hints, None]
        assert all(assignment.ordered for assignment in assignments)
    assignments = given_with("every")
    assert [assignment.hints for assignment in assignments] == [None] * 4
    assert not any(assignment.ordered for assignment in assignments)


def test_the_faces_of_the_frame_that_they_are_of_go_with_them() -> None:
    face = Face(box=(1, 2, 3, 4), score=0.9, sharpness=0.5, probabilities={"happy": 1.0})
    last = LastSeen()
    last.remember(msgspec.structs.replace(answer(1, 0, 9), faces=(face,)))  # type: ignore[call-overload]
    assert last.faces == (face,)
    last.remember(face_result(2, 1, "desk"))
    assert (last.hints, last.faces) == (None, ())


def test_faces_go_to_workers_with_the_models_that_read_them_however_an_answer_names_these() -> None:
    face = Face(box=(1, 2, 3, 4), score=0.9, sharpness=0.5, probabilities={"happy": 1.0})
    same = introduce([("face-static", __file__)], {"face": 1}).models
    for models, seen in ((same, (face,)), ({**same, SETTINGS: "others"}, ())):
        system = System()
        for name, its in (("face 1", same), ("face 2", models)):
            system.keep(system.router.hello(name, 1, Hello(role="worker", modality="face", models=its), 0)[1])
        system.receive("face 1", Ready())
        system.receive("capture", opened("desk", "latest"))
        system.receive("capture", job("desk", 0))
        found = msgspec.structs.replace(answer(1, 0, 9), faces=(face,), models={"face-static": "x@1"})  # type: ignore[call-overload]
        system.receive("face 1", found)
        system.receive("face 2", Ready())
        system.receive("capture", job("desk", 1))
        system.receive("capture", job("desk", 2))
        assert [one.seen for one in system.sent("face 1", Assignment)] == [(), (face,)]
        assert [one.seen for one in system.sent("face 2", Assignment)] == [seen]


def test_a_worker_that_says_none_is_asked_to_look_each_time() -> None:
    system = System()
    system.add_worker("face 1")
    system.receive("capture", opened("desk", "latest"))
    for seq in range(3):
        system.receive("capture", job("desk", seq))
        system.receive("face 1", face_result(seq + 1, seq, "desk"))
    assert [assignment.hints for assignment in system.sent("face 1", Assignment)] == [None] * 3


def test_a_new_run_and_another_stream_know_nothing_of_them() -> None:
    system = System()
    system.add_worker("face 1")
    system.receive("capture", opened("desk", "latest"))
    system.receive("capture", job("desk", 0))
    system.receive("face 1", answer(1, 0, 90))  # type: ignore[arg-type]
    system.receive("capture", opened("door", "latest"))
    system.receive("capture", job("door", 1))
    system.receive("face 1", face_result(2, 1, "door"))
    system.receive("capture", opened("desk", "latest", 2))
    system.receive("capture", job("desk", 1, run=2))
    assert [assignment.hints for assignment in system.sent("face 1", Assignment)] == [None] * 3


def test_they_wait_with_a_frame_that_no_worker_was_free_for() -> None:
    system = System()
    system.add_worker("face 1")
    system.receive("capture", opened("desk", "latest"))
    system.receive("capture", job("desk", 0))
    system.receive("capture", job("desk", 1))
    system.receive("face 1", answer(1, 0, 5))  # type: ignore[arg-type]
    system.receive("face 1", Ready(last=1))
    assert system.sent("face 1", Assignment)[-1].hints == Hints(regions=(REGION,), until=5)


def test_they_cross_a_process_border_and_may_be_left_out() -> None:
    assignment = Assignment(number=1, job=job("desk", 1), hints=Hints(regions=(REGION,), until=5))
    assert decode(seal(assignment, epoch=1, sender="broker", incarnation=1)).body == assignment
    older = msgspec.msgpack.decode(seal(assignment, epoch=1, sender="broker", incarnation=1))
    del older["body"]["hints"]
    assert decode(msgspec.msgpack.encode(older)).body == Assignment(number=1, job=job("desk", 1))
