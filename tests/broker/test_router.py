"""The router: credits, restarts, live streams that go on, and the end of a stream."""

from __future__ import annotations

from typing import TypeVar

import pytest

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.lanes import BUNDLE, CREDIT, MOST_BACKLOG
from bimodal.broker.messages import (
    Ack,
    Assignment,
    Body,
    Delivery,
    Dropped,
    FaceResult,
    Gone,
    Hello,
    JobFailed,
    OffDuty,
    Policy,
    Ready,
    Reconfigure,
    Reconfigured,
    Release,
    Role,
    SpeechResult,
    StartAgain,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamWithdrawn,
)
from bimodal.broker.router import Out, Publish, Router, Send
from tests.broker.making import job, opened

T = TypeVar("T")


class System:
    """A router with its actors; keeps what each was sent."""

    def __init__(self, *roles: Role) -> None:
        self.router = Router()
        self.outbox: list[Send] = []
        self.published: list[Publish] = []
        self.lives: dict[str, int] = {}
        for role in roles or ("capture", "fusion", "recorder"):
            self.join(role, role)

    def join(self, name: str, role: Role, modality: str | None = None) -> None:
        self.lives[name] = self.lives.get(name, 0) + 1
        hello = Hello(role=role, modality=modality)  # type: ignore[arg-type]
        fresh, out = self.router.hello(name, self.lives[name], hello, 0)
        assert fresh
        self.keep(out)

    def add_worker(self, name: str, modality: str = "face") -> None:
        self.join(name, "worker", modality)
        self.receive(name, Ready())

    def receive(self, sender: str, body: Body) -> None:
        self.keep(self.router.handle(sender, body, 0))

    def keep(self, out: list[Out]) -> None:
        for item in out:
            (self.outbox if isinstance(item, Send) else self.published).append(item)  # type: ignore[arg-type]

    def sent(self, name: str, kind: type[T]) -> list[T]:
        return [send.body for send in self.outbox if send.to == name and isinstance(send.body, kind)]

    def delivered(self, name: str, kind: type[T]) -> list[T]:
        return [found.message for found in self.sent(name, Delivery) if isinstance(found.message, kind)]


def face_result(number: int, seq: int, stream: str = "film", run: int = 1) -> FaceResult:
    return FaceResult(
        number=number,
        stream=stream,
        run=run,
        seq=seq,
        pts_ns=seq * 40_000_000,
        grab_ns=0,
        faces=(),
        queue_ns=0,
        inference_ns=0,
    )


def speech_result(number: int, seq: int) -> SpeechResult:
    return SpeechResult(
        number=number, stream="film", run=1, seq=seq, pts_ns=seq * 40_000_000, grab_ns=0, voice=0.0, probabilities=None
    )


def emotion(seq: int, stream: str = "film", run: int = 1) -> Emotion:
    return Emotion(
        stream=stream,
        run=run,
        seq=seq,
        t=0.0,
        faces=(),
        speech=None,
        emotion=Verdict(label=None, confidence=None, because="no face, no voice"),
        latency_ms=Latency(queue=0.0, inference=0.0, total=0.0),
        models={},
    )


def test_a_frame_gets_its_credit_back_when_its_event_is_out_and_not_before() -> None:
    system = System()
    system.add_worker("face 1")
    system.receive("capture", opened("film", "every"))
    system.receive("capture", job("film", 0))
    assert [found.job.seq for found in system.sent("face 1", Assignment)] == [0]
    system.receive("face 1", face_result(1, 0))
    system.receive("fusion", Ack(number=2))
    assert system.sent("capture", Release) == []
    system.receive("fusion", emotion(0))
    assert [(found.modality, found.seqs) for found in system.sent("capture", Release)] == [("face", (0,))]
    assert [found.seq for found in system.delivered("recorder", Emotion)] == [0]
    assert [item.body.seq for item in system.published if isinstance(item.body, Emotion)] == [0]
    system.receive("fusion", emotion(0))
    assert len(system.sent("capture", Release)) == 1


def test_a_speech_window_gets_its_credit_back_when_fusion_has_it() -> None:
    system = System()
    system.add_worker("audio 1", "speech")
    system.receive("capture", opened("film", "every"))
    system.receive("capture", job("film", 0, "speech"))
    system.receive("audio 1", speech_result(1, 0))
    assert system.sent("capture", Release) == []
    system.receive("fusion", Ack(number=2))
    assert [(found.modality, found.seqs) for found in system.sent("capture", Release)] == [("speech", (0,))]


def test_a_lost_worker_costs_no_frame_of_a_file() -> None:
    system = System()
    system.add_worker("face 1")
    system.receive("capture", opened("film", "every"))
    system.receive("capture", job("film", 0))
    system.receive("supervisor", Gone(name="face 1", incarnation=1))
    system.add_worker("face 2")
    assert [found.job.seq for found in system.sent("face 2", Assignment)] == [0]
    system.receive("face 1", face_result(1, 0))
    assert system.delivered("fusion", FaceResult) == []


def test_an_older_life_of_a_name_is_not_listened_to() -> None:
    system = System()
    system.add_worker("face 1")
    system.add_worker("face 1")
    assert system.router.knows("face 1", 2)
    assert not system.router.knows("face 1", 1)
    fresh, out = system.router.hello("face 1", 1, Hello(role="worker", modality="face"), 0)
    assert (fresh, out) == (False, [])
    system.receive("supervisor", Gone(name="face 1", incarnation=1))
    assert system.router.knows("face 1", 2)


def test_a_file_starts_again_when_fusion_or_a_recorder_is_new() -> None:
    for lost in ("fusion", "recorder"):
        system = System()
        system.receive("capture", opened("film", "every", run=1))
        system.receive("capture", opened("live", "latest", run=1))
        system.join(lost, lost)  # type: ignore[arg-type]
        assert [found.stream for found in system.sent("capture", StartAgain)] == ["film"]
        # Whatever the old run still says is not for the newcomer: it would take a part for the whole.
        system.receive("fusion", StreamClosed(stream="film", run=1))
        system.receive("fusion", emotion(0, run=1))
        assert not [found for found in system.delivered("recorder", StreamClosed) if found.stream == "film"]
        system.receive("capture", opened("film", "every", run=2))
        assert system.delivered(lost, StreamOpened)[-1].run == 2


def test_a_live_stream_goes_on_from_the_first_open_frame_when_fusion_is_new() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest"))
    system.add_worker("face 1")
    for seq in range(3):
        system.receive("capture", job("desk", seq))
    system.receive("face 1", face_result(1, 0, "desk"))
    system.join("fusion", "fusion")
    again = system.delivered("fusion", StreamOpened)[-1]
    assert (again.run, again.next_face_seq) == (1, 2)


def test_a_fusion_that_is_new_does_not_wait_for_frames_that_were_settled_out_of_order() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest"))
    system.add_worker("face 1")
    for seq in range(4):  # the worker has 0; 1 and 2 are replaced; 3 waits
        system.receive("capture", job("desk", seq))
    system.join("fusion", "fusion")
    *_, again, first, second = [found.message for found in system.sent("fusion", Delivery)]
    assert isinstance(again, StreamOpened)
    assert again.next_face_seq == 0
    assert [found.seq for found in (first, second) if isinstance(found, Dropped)] == [1, 2]
    system.join("recorder", "recorder")
    assert not system.delivered("recorder", Dropped)


def test_frames_that_no_broker_saw_are_reported_missing() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest"))
    system.receive("capture", job("desk", 0))
    system.receive("capture", job("desk", 3))
    missing = [found.seq for found in system.delivered("fusion", Dropped) if found.because == "no broker was there"]
    assert missing == [1, 2]


def test_replaced_frames_are_told_to_fusion_and_counted() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest"))
    for seq in range(5):
        system.receive("capture", job("desk", seq))
    assert [found.seq for found in system.delivered("fusion", Dropped)] == [0, 1, 2, 3]
    assert system.router.status().streams[0].dropped["face"] == 4


def test_an_overwritten_frame_counts_as_dropped_live_and_as_failed_in_a_file() -> None:
    for policy, stale, counted in (("latest", True, "dropped"), ("every", False, "failed")):
        system = System()
        system.add_worker("face 1")
        system.receive("capture", opened("s", policy))  # type: ignore[arg-type]
        system.receive("capture", job("s", 0))
        answer = JobFailed(
            number=1, stream="s", run=1, modality="face", seq=0, pts_ns=0, grab_ns=0, because="overwritten", stale=True
        )
        system.receive("face 1", answer)
        assert [found.stale for found in system.delivered("fusion", JobFailed)] == [stale]
        assert getattr(system.router.status().streams[0], counted)["face"] == 1


def test_a_recorder_that_is_behind_holds_fusion_up() -> None:
    system = System()
    system.receive("capture", opened("film", "every"))
    for seq in range(CREDIT):
        system.receive("fusion", emotion(seq))
    before = len(system.sent("fusion", Delivery))
    system.receive("capture", StreamEnded(stream="film", run=1, modality="speech", count=0))
    assert len(system.sent("fusion", Delivery)) == before
    system.receive("recorder", Ack(number=10))
    assert len(system.sent("fusion", Delivery)) == before + 1


def test_a_receiver_that_is_far_behind_loses_live_frames_but_no_file() -> None:
    system = System("capture", "fusion")
    system.receive("capture", opened("desk", "latest"))
    system.receive("capture", opened("film", "every"))
    system.receive("capture", StreamEnded(stream="film", run=1, modality="speech", count=0))
    for seq in range(MOST_BACKLOG + 10):
        system.receive("capture", job("desk", seq))
    system.receive("fusion", Ack(number=MOST_BACKLOG))
    system.receive("fusion", Ack(number=2 * MOST_BACKLOG))
    announced = [found for found in system.delivered("fusion", StreamOpened) if found.stream == "desk"]
    assert announced[-1].next_face_seq > CREDIT
    assert len(system.delivered("fusion", StreamEnded)) == 1
    assert len(system.delivered("fusion", Dropped)) < MOST_BACKLOG


def test_the_end_of_a_live_stream_reaches_a_receiver_that_is_far_behind() -> None:
    system = System("capture", "fusion")
    system.receive("capture", opened("desk", "latest"))
    for seq in range(MOST_BACKLOG - 10):
        system.receive("capture", job("desk", seq))
    system.receive("capture", StreamEnded(stream="desk", run=1, modality="speech", count=0))
    for seq in range(MOST_BACKLOG - 10, MOST_BACKLOG + 10):
        system.receive("capture", job("desk", seq))
    assert system.delivered("fusion", StreamEnded) == []
    for number in range(CREDIT, 2 * MOST_BACKLOG, CREDIT):
        system.receive("fusion", Ack(number=number))
    assert len(system.delivered("fusion", Dropped)) < MOST_BACKLOG, "what waited was dropped"
    assert [found.modality for found in system.delivered("fusion", StreamEnded)] == ["speech"]


def test_a_stream_is_closed_for_capture_when_every_recorder_has_kept_it() -> None:
    system = System("capture", "fusion", "recorder")
    system.join("recorder 2", "recorder")
    system.receive("capture", opened("film", "every"))
    system.receive("fusion", StreamClosed(stream="film", run=1, frames=3))
    assert [found.frames for found in system.delivered("recorder", StreamClosed)] == [3]
    system.receive("recorder", StreamClosed(stream="film", run=1))
    assert system.sent("capture", StreamClosed) == []
    system.receive("recorder 2", StreamClosed(stream="film", run=1))
    assert len(system.sent("capture", StreamClosed)) == 1
    assert system.router.status().streams == ()


def test_a_recorder_that_fails_closes_the_stream_with_its_reason() -> None:
    system = System()
    system.receive("capture", opened("film", "every"))
    system.receive("recorder", StreamClosed(stream="film", run=1, because="the disk is full"))
    assert [found.because for found in system.sent("capture", StreamClosed)] == ["the disk is full"]


def test_without_a_recorder_fusion_closes_the_stream() -> None:
    system = System("capture", "fusion")
    system.receive("capture", opened("film", "every"))
    system.receive("fusion", StreamClosed(stream="film", run=1))
    assert len(system.sent("capture", StreamClosed)) == 1


def test_messages_out_of_place_change_nothing() -> None:
    system = System()
    system.receive("capture", opened("film", "every", run=2))
    before = len(system.outbox)
    for body in (
        job("nowhere", 0),
        job("film", 0, run=1),
        opened("film", "every", run=1),
        face_result(9, 0),
        Ready(),
        Ack(number=99),
        emotion(0, run=1),
        StreamClosed(stream="film", run=1),
        Hello(role="capture"),
    ):
        system.receive("capture", body)
    assert len(system.outbox) == before
    assert system.router.status().streams[0].offered == {"face": 0, "speech": 0}


def test_an_observer_has_nothing_to_say() -> None:
    system = System()
    system.add_worker("face 1")
    system.join("view", "observer")
    system.receive("capture", opened("film", "every"))
    before = len(system.outbox), len(system.published)
    for body in (
        job("film", 0),
        opened("film", "every", run=9),
        StreamClosed(stream="film", run=1),
        emotion(0),
        Ready(),
    ):
        assert system.router.refuses("view", body)
        system.receive("view", body)
    assert (len(system.outbox), len(system.published)) == before
    assert system.router.status().streams[0].offered == {"face": 0, "speech": 0}
    system.receive("capture", job("film", 0))
    assert system.sent("face 1", Assignment), "whose job it is, is heard"


def test_the_supervisor_alone_gives_orders() -> None:
    system = System("capture", "fusion")
    system.join("supervisor", "supervisor")
    system.receive("capture", opened("a", "latest", has_sound=False))
    for name in ("face 1", "face 2"):
        system.add_worker(name)
    system.receive("face 1", OffDuty(workers=("face 2",)))
    system.receive("capture", job("a", 0))
    assert system.sent("face 1", Assignment)
    system.receive("capture", job("a", 1))
    assert system.sent("face 2", Assignment), "a worker can't send another off duty"
    system.receive("supervisor", OffDuty(workers=("face 1", "face 2")))
    system.receive("face 1", Reconfigure(to="fusion", revision=1, settings={}))
    assert system.sent("fusion", Reconfigure) == []
    order = Reconfigure(to="fusion", revision=2, settings={"x": 1})
    system.receive("supervisor", order)
    assert system.sent("fusion", Reconfigure) == [order]
    system.receive("fusion", Reconfigured(name="fusion", revision=2))
    assert system.sent("supervisor", Reconfigured) == [Reconfigured(name="fusion", revision=2)]


def test_a_stream_that_is_withdrawn_ends_with_what_it_has() -> None:
    system = System()
    system.join("supervisor", "supervisor")
    system.receive("capture", opened("a", "latest"))
    for seq in range(3):
        system.receive("capture", job("a", seq))
    system.receive("capture", StreamWithdrawn(stream="a"))
    assert system.delivered("fusion", StreamEnded) == []
    system.receive("supervisor", StreamWithdrawn(stream="a"))
    system.receive("supervisor", StreamWithdrawn(stream="never was"))
    ends = {(end.modality, end.count) for end in system.delivered("fusion", StreamEnded)}
    assert ends == {("face", 3), ("speech", 0)}
    system.receive("fusion", StreamClosed(stream="a", run=1))
    assert system.delivered("recorder", StreamClosed)
    system.receive("recorder", StreamClosed(stream="a", run=1))
    assert system.router.status().streams == ()


def test_what_nobody_waits_for_goes_in_bundles() -> None:
    system = System()
    system.add_worker("face 1")
    system.receive("capture", opened("film", "every"))
    for seq in range(BUNDLE * 3):
        system.receive("capture", job("film", seq))
    for seq in range(BUNDLE):
        assert system.delivered("fusion", FaceResult) == []
        system.receive("face 1", face_result(seq + 1, seq))
    assert [found.seq for found in system.delivered("fusion", FaceResult)] == list(range(BUNDLE))
    for seq in range(BUNDLE - 1):
        system.receive("fusion", emotion(seq))
    assert system.sent("capture", Release) == system.delivered("recorder", Emotion) == []
    system.keep(system.router.tick(0))
    assert [found.seqs for found in system.sent("capture", Release)] == [tuple(range(BUNDLE - 1))]
    assert len(system.delivered("recorder", Emotion)) == BUNDLE - 1


def test_nothing_waits_for_a_bundle_where_frames_run_short_or_a_stream_is_live() -> None:
    policies: tuple[Policy, ...] = ("every", "latest")
    for policy in policies:
        system = System()
        system.add_worker("face 1")
        system.receive("capture", opened("film", policy))
        for seq in range(3):
            system.receive("capture", job("film", seq))
        system.receive("face 1", face_result(1, 0))
        assert [found.seq for found in system.delivered("fusion", FaceResult)] == [0]
        system.receive("fusion", emotion(0))
        assert [found.seq for found in system.delivered("recorder", Emotion)] == [0]
        assert [found.seqs for found in system.sent("capture", Release)] == [(0,)] * (policy == "every")


@pytest.mark.parametrize("ended_before", [True, False], ids=["told before", "told while it was away"])
def test_a_fusion_that_is_new_hears_that_a_live_stream_is_over(ended_before: bool) -> None:
    system = System("capture", "fusion")
    system.receive("capture", opened("desk", "latest", has_sound=False))
    system.receive("capture", StreamEnded(stream="desk", run=1, modality="speech", count=0))
    last = StreamEnded(stream="desk", run=1, modality="face", count=0)
    if ended_before:
        system.receive("capture", last)
    system.keep(system.router.handle("fusion", Gone(name="fusion", incarnation=1), 0))
    if not ended_before:
        system.receive("capture", last)
    system.outbox.clear()
    system.join("fusion", "fusion")
    assert {end.modality for end in system.delivered("fusion", StreamEnded)} == {"face", "speech"}
    system.receive("fusion", StreamClosed(stream="desk", run=1))
    assert system.sent("capture", StreamClosed)
    assert system.router.status().streams == ()


def test_a_stream_that_is_withdrawn_while_fusion_is_away_closes_when_it_is_back() -> None:
    system = System("capture", "fusion", "supervisor")
    system.receive("capture", opened("desk", "latest"))
    system.keep(system.router.handle("fusion", Gone(name="fusion", incarnation=1), 0))
    system.receive("supervisor", StreamWithdrawn(stream="desk"))
    system.join("fusion", "fusion")
    assert {end.modality for end in system.delivered("fusion", StreamEnded)} == {"face", "speech"}


def test_an_end_that_is_told_again_counts_once() -> None:
    system = System("capture", "fusion")
    system.receive("capture", opened("desk", "latest"))
    for count in (3, 5):
        system.receive("capture", StreamEnded(stream="desk", run=1, modality="face", count=count))
    assert [end.count for end in system.delivered("fusion", StreamEnded)] == [3]


def test_a_recorder_that_is_lost_holds_no_live_stream_open() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest"))
    system.receive("fusion", StreamClosed(stream="desk", run=1))
    assert system.sent("capture", StreamClosed) == [], "the recorder still writes"
    system.keep(system.router.handle("recorder", Gone(name="recorder", incarnation=1), 0))
    assert len(system.sent("capture", StreamClosed)) == 1
    system.outbox.clear()
    system.join("recorder", "recorder")
    assert system.delivered("recorder", StreamOpened) == []


def test_a_fusion_that_is_new_is_not_told_of_a_live_stream_that_is_closed_already() -> None:
    system = System()
    system.receive("capture", opened("desk", "latest"))
    system.receive("fusion", StreamClosed(stream="desk", run=1))
    system.outbox.clear()
    system.keep(system.router.handle("fusion", Gone(name="fusion", incarnation=1), 0))
    system.join("fusion", "fusion")
    assert system.delivered("fusion", StreamOpened) == []
    system.receive("recorder", StreamClosed(stream="desk", run=1))
    assert len(system.sent("capture", StreamClosed)) == 1
