"""A wrong answer is no answer: bounds on what a worker may say, and what becomes of its jobs and of itself."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.answers import MOST_FACES, fault
from bimodal.broker.dispatch import EVERY_DEADLINE_NS, EVERY_TIMES, FIRST_DEADLINE_NS, MOST_STRIKES, Dispatch
from bimodal.broker.events import FaceMeasures, VoiceMeasures
from bimodal.broker.messages import (
    MOST_AT_A_TIME,
    Assignment,
    Dismissed,
    Face,
    FaceResult,
    Hello,
    Hints,
    JobFailed,
    OffDuty,
    Ready,
    Shadow,
    SpeechResult,
    failed,
)
from bimodal.broker.queues import Action, Assign, Fail
from bimodal.broker.router import Router, Send
from tests.broker.making import job, opened

JOB = job("s", 3)
GOOD = Face(box=(0.0, 0.0, 1.5, 2.0), score=0.9, sharpness=0.5, mouth=0.1, probabilities={"happy": 0.7, "sad": 0.3})


def answer(**changes: Any) -> FaceResult:
    found = FaceResult(
        number=1, stream="s", run=1, seq=3, pts_ns=JOB.pts_ns, grab_ns=JOB.grab_ns, faces=(GOOD,), queue_ns=1,
        inference_ns=1, frame=(2, 2),
    )  # fmt: skip
    return msgspec.structs.replace(found, **changes)


def with_face(**changes: Any) -> FaceResult:
    return answer(faces=(msgspec.structs.replace(GOOD, **changes),))


def speech(**changes: Any) -> SpeechResult:
    heard = SpeechResult(
        number=1, stream="s", run=1, seq=3, pts_ns=JOB.pts_ns, grab_ns=0, voice=0.5, probabilities=None
    )
    return msgspec.structs.replace(heard, **changes)


def test_a_right_answer_has_no_fault() -> None:
    assert fault(answer(), JOB) is None
    assert fault(failed(JOB, "it is black"), JOB) is None
    assert fault(speech(), job("s", 3, "speech")) is None
    assert fault(speech(probabilities={"happy": 1.0}), job("s", 3, "speech")) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (answer(seq=4), "for s/face/4 and not for s/face/3"),
        (answer(stream="t"), "for t/face/3"),
        (answer(run=2), "it is for"),
        (speech(), "for s/speech/3"),
        (answer(pts_ns=1), "its time"),
        (answer(grab_ns=1), "its time"),
        (answer(faces=(GOOD,) * (MOST_FACES + 1)), "257 faces"),
        (answer(inference_ns=10**16), "durations"),
        (answer(models={"face-static": "x" * 1000}), "models"),
        (answer(frame=(640, 480)), "another size"),
        (with_face(box=(1e5, 0.0, 1.0, 1.0)), "a face lies at"),
        (with_face(box=(0.0, 0.0, -1.0, 1.0)), "a face lies at"),
        (with_face(box=(0.0, math.nan, 1.0, 1.0)), "numbers"),
        (with_face(score=math.inf), "numbers"),
        (with_face(score=2.0), "score 2.0"),
        (with_face(probabilities={"happy": 7.0}), "probabilities"),
        (with_face(sharpness=1e30), "beyond 1e+06"),
        (with_face(measures=FaceMeasures(yaw_deg=1e30)), "beyond"),
        (with_face(measures=FaceMeasures(blend={"jawOpen": math.nan})), "numbers"),
        (with_face(measures=FaceMeasures(valence=7.0)), "affect"),
        (answer(hints=Hints(regions=(), until=2**60)), "too far ahead"),
        (answer(hints=Hints(regions=(), until=4, until_ns=2**60)), "too far ahead"),
        (with_face(probabilities={str(number): 0.0 for number in range(100)}), "too many emotions"),
        (with_face(embedding=bytes(1 << 17)), "131072 bytes"),
        (JobFailed(**{**msgspec.structs.asdict(failed(JOB, "x")), "because": "x" * 10_000}), "10000 characters"),
    ],
)
def test_each_fault_is_named(wrong: FaceResult | SpeechResult | JobFailed, words: str) -> None:
    assert words in str(fault(wrong, JOB))


def test_numbers_of_a_voice_are_bounded() -> None:
    heard = job("s", 3, "speech")
    assert fault(speech(snr_db=20.0, measures=VoiceMeasures(f0_hz=120.0), valence=-1.0), heard) is None
    assert "beyond" in str(fault(speech(snr_db=1e30), heard))
    assert "numbers" in str(fault(speech(measures=VoiceMeasures(f0_hz=math.nan)), heard))
    assert "affect" in str(fault(speech(arousal=1.5), heard))


@given(voice=st.floats())
def test_a_voice_is_a_share(voice: float) -> None:
    assert (fault(speech(voice=voice), job("s", 3, "speech")) is None) == (0 <= voice <= 1)


# What becomes of the job, and of the worker.


def assigned(actions: list[Action]) -> list[tuple[str, int]]:
    return [(action.worker, action.job.seq) for action in actions if isinstance(action, Assign)]


def of_a_file(*workers: str) -> Dispatch:
    dispatch = Dispatch()
    dispatch.open_stream("s", 1, "every", {"face": 0, "speech": 0})
    for worker in workers:
        dispatch.ready(worker, "face", 0, 0)
    return dispatch


def test_a_job_of_a_file_that_is_never_answered_is_given_to_another_and_the_worker_is_let_go_after_three() -> None:
    dispatch = of_a_file("face 9", "face 1")
    assert assigned(dispatch.offer(job("s", 0), 0)) == [("face 9", 0)]
    assert dispatch.expire(FIRST_DEADLINE_NS) == []
    now = FIRST_DEADLINE_NS + 1
    assert assigned(dispatch.expire(now)) == [("face 1", 0)]
    found, _ = dispatch.answered("face 1", 1, now + 10_000_000)
    assert found is not None
    for seq in range(1, MOST_STRIKES):
        dispatch.ready("face 9", "face", seq - 1, now)
        dispatch.off_duty(["face 1"], now)
        assert assigned(dispatch.offer(job("s", seq), now)) == [("face 9", seq)]
        dispatch.off_duty([], now)
        now += EVERY_DEADLINE_NS + 1
        given = assigned(dispatch.expire(now))
        assert given == [("face 1", seq)]
        assert dispatch.answered("face 1", seq + 1, now + 10_000_000)[0] is not None
    assert "did not answer in time" in str(dispatch.dismissed("face 9"))
    assert dispatch.ready("face 9", "face", 3, now) == []
    assert dispatch.workers()["face"] == 1
    assert assigned(dispatch.offer(job("s", 9), now)) == [("face 1", 9)]
    assert dispatch.counts("s", "face").failed == 0


def test_a_job_that_one_answers_wrongly_goes_to_another_and_does_not_fail() -> None:
    dispatch = of_a_file("face 1", "face 9")
    assert assigned(dispatch.offer(job("s", 0), 0)) == [("face 1", 0)]
    assert assigned(dispatch.offer(job("s", 1), 0)) == [("face 9", 1)]
    # The other one is busy and takes it in advance; who answered wrongly gets jobs that it has not tried.
    assert assigned(dispatch.reject("face 9", 1, "its time is not that of the job", 1)) == [("face 1", 1)]
    assert assigned(dispatch.offer(job("s", 2), 1)) == [("face 9", 2)]
    assert assigned(dispatch.reject("face 9", 2, "its time is not that of the job", 2)) == []
    assert assigned(dispatch.offer(job("s", 3), 2)) == [], "the job before it waits for the other"
    found, given = dispatch.answered("face 1", 1, 3)
    assert found is not None
    assert assigned(given) == [("face 1", 2), ("face 9", 3)]
    assert assigned(dispatch.reject("face 9", 3, "its time is not that of the job", 4)) == []
    assert dispatch.dismissed("face 9") is not None
    for number in (2, 3, 4):
        assert dispatch.answered("face 1", number, 5)[0] is not None
    assert (dispatch.counts("s", "face").done, dispatch.counts("s", "face").failed) == (4, 0)


def test_a_job_does_not_fail_because_the_first_worker_that_is_there_answers_wrongly() -> None:
    dispatch = of_a_file("face 9")
    assert assigned(dispatch.offer(job("s", 0), 0)) == [("face 9", 0)]
    for number in range(1, MOST_STRIKES):
        assert assigned(dispatch.reject("face 9", number, "x", number)) == [("face 9", 0)]
    assert dispatch.reject("face 9", MOST_STRIKES, "x", MOST_STRIKES) == []
    assert dispatch.dismissed("face 9") is not None
    assert assigned(dispatch.ready("face 1", "face", 0, 10)) == [("face 1", 0)], "it was still loading"
    assert dispatch.answered("face 1", 1, 11)[0] is not None
    assert dispatch.counts("s", "face").failed == 0


def test_a_job_that_no_life_of_the_only_worker_can_do_fails_in_the_end() -> None:
    dispatch = of_a_file("face 1")
    dispatch.offer(job("s", 0), 0)
    for now in range(1, 100):
        number = next((n for n in range(1, 20) if dispatch.held("face 1", n) is not None), None)
        if number is None:
            assert dispatch.gone("face 1", now) == []
            dispatch.ready("face 1", "face", 0, now)
        elif any(isinstance(action, Fail) for action in dispatch.reject("face 1", number, "x", now)):
            return
    raise AssertionError("it was given again for ever")


def test_a_job_that_all_have_tried_is_given_to_any_of_them() -> None:
    dispatch = of_a_file("face 1", "face 2")
    dispatch.offer(job("s", 0), 0)
    assert assigned(dispatch.reject("face 1", 1, "x", 1)) == [("face 2", 0)]
    assert len(assigned(dispatch.reject("face 2", 1, "x", 2))) == 1
    holder = "face 1" if dispatch.held("face 1", 2) is not None else "face 2"
    (failure,) = dispatch.reject(holder, 2, "x", 3)
    assert isinstance(failure, Fail)


def test_a_worker_that_claims_to_do_many_jobs_at_a_time_gets_no_longer_deadline_for_the_first() -> None:
    dispatch = of_a_file("face 1")
    dispatch.ready("face 9", "face", 0, 0, capacity=MOST_AT_A_TIME)
    dispatch.off_duty(["face 1"], 0)
    for seq in range(4):
        assert assigned(dispatch.offer(job("s", seq), 0)) == [("face 9", seq)]
    dispatch.off_duty([], 0)
    assert dispatch.expire(FIRST_DEADLINE_NS) == []
    given = assigned(dispatch.expire(FIRST_DEADLINE_NS + 1))
    assert given[0] == ("face 1", 0), "what it held goes to another, in order"


def test_the_deadline_of_a_file_follows_the_measured_time() -> None:
    dispatch = of_a_file("face 1")
    dispatch.offer(job("s", 0), 0)
    slow = 3_000_000_000
    dispatch.answered("face 1", 1, slow)
    dispatch.offer(job("s", 1), slow)
    assert dispatch.expire(slow + EVERY_DEADLINE_NS + 1) == [], "jobs take 3 s here"
    dispatch.expire(slow + EVERY_TIMES * slow + 1)
    assert dispatch.waiting() == 1


def test_a_job_that_nobody_answers_fails_after_three_workers() -> None:
    dispatch = of_a_file("a", "b", "c")
    now, actions = 0, dispatch.offer(job("s", 0), 0)
    for _ in range(3):
        assert assigned(actions)
        now += FIRST_DEADLINE_NS + 1
        actions = dispatch.expire(now)
    assert [action for action in actions if isinstance(action, Fail)]
    assert dispatch.counts("s", "face").failed == 1


class Line:
    """A router with a rogue and an honest worker."""

    def __init__(self) -> None:
        self.router = Router()
        self.router.hello("supervisor", 1, Hello(role="supervisor"), 0)
        self.router.hello("capture", 1, Hello(role="capture"), 0)
        self.router.hello("gpu: face 1", 1, Hello(role="worker", modality="face"), 0)
        self.router.handle("capture", opened("s", "every"), 0)
        self.router.handle("gpu: face 1", Ready(), 0)


def test_a_worker_that_answers_wrongly_three_times_is_let_go_and_the_supervisor_is_told() -> None:
    line = Line()
    told = []
    for number in range(1, MOST_STRIKES + 1):
        line.router.handle("capture", job("s", number - 1), 0)
        wrong = answer(number=number, seq=77)
        out = line.router.handle("gpu: face 1", wrong, 0)
        told += [item.body for item in out if isinstance(item, Send) and isinstance(item.body, Dismissed)]
    (dismissed,) = told
    assert (dismissed.name, dismissed.incarnation) == ("gpu: face 1", 1)
    assert "3 jobs in a row" in dismissed.because
    assert line.router.dispatch.counts("s", "face").done == 0
    line.router.hello("face 1", 1, Hello(role="worker", modality="face"), 0)
    line.router.handle("face 1", Ready(), 0)
    settled = line.router.dispatch.counts("s", "face").failed + line.router.dispatch.waiting()
    held = [line.router.dispatch.held("face 1", number) for number in (1, 2)]
    assert settled + sum(found is not None for found in held) == MOST_STRIKES, "no job is lost"


# Workers that are tried on copies of live jobs.


def test_a_worker_that_is_tried_gets_copies_and_its_answers_reach_nobody() -> None:
    router = Router()
    for name, hello in (
        ("supervisor", Hello(role="supervisor")),
        ("capture", Hello(role="capture")),
        ("fusion", Hello(role="fusion")),
        ("face 1", Hello(role="worker", modality="face")),
        ("face 2", Hello(role="worker", modality="face")),
    ):
        router.hello(name, 1, hello, 0)
    router.handle("supervisor", OffDuty(workers=("face 2",)), 0)
    router.handle("supervisor", Shadow(workers=("face 2",)), 0)
    router.handle("capture", opened("s", "latest"), 0)
    for name in ("face 1", "face 2"):
        router.handle(name, Ready(), 0)
    sad = msgspec.structs.replace(GOOD, probabilities={"sad": 1.0})
    for seq in range(4):
        out = router.handle("capture", job("s", seq), seq)
        given = {item.to: item.body for item in out if isinstance(item, Send) and isinstance(item.body, Assignment)}
        assert set(given) == {"face 1", "face 2"}, "each frame is given to both"
        for name, assignment in given.items():
            face = sad if name == "face 2" and seq % 2 else GOOD
            told = answer(number=assignment.number, seq=seq, pts_ns=job("s", seq).pts_ns, faces=(face,))
            back = router.handle(name, told, seq + 5_000_000)
            to_fusion = [item for item in back if isinstance(item, Send) and item.to == "fusion"]
            assert bool(to_fusion) == (name == "face 1")
    (found,) = router.shadowed()
    assert (found.name, found.asked, found.done, found.failed) == ("face 2", 4, 4, 0)
    assert (found.compared, found.agreed) == (4, 2)
    assert router.dispatch.counts("s", "face").done == 4
    router.handle("capture", job("s", 4), 0)
    failing = failed(job("s", 4), "it broke", number=5)
    router.handle("face 2", failing, 10)
    assert (router.shadowed()[0].failed, router.shadowed()[0].because) == (1, "it broke")
    router.handle("supervisor", Shadow(workers=()), 0)
    assert router.shadowed() == []
