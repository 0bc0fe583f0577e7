"""The post office: credits, restarts, live streams that go on, and the end of a stream."""

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
from bimodal.broker.router import Out, Post, PostOffice, Publish
from tests.broker.making import job, opened

T = TypeVar("T")


class House:
    """A post office with its actors; keeps what each was sent."""

    def __init__(self, *roles: Role) -> None:
        self.office = PostOffice()
        self.posts: list[Post] = []
        self.published: list[Publish] = []
        self.lives: dict[str, int] = {}
        for role in roles or ("capture", "fusion", "recorder"):
            self.join(role, role)

    def join(self, name: str, role: Role, modality: str | None = None) -> None:
        self.lives[name] = self.lives.get(name, 0) + 1
        hello = Hello(role=role, modality=modality)  # type: ignore[arg-type]
        fresh, out = self.office.hello(name, self.lives[name], hello, 0)
        assert fresh
        self.keep(out)

    def hire(self, name: str, modality: str = "face") -> None:
        self.join(name, "worker", modality)
        self.say(name, Ready())

    def say(self, sender: str, body: Body) -> None:
        self.keep(self.office.handle(sender, body, 0))

    def keep(self, out: list[Out]) -> None:
        for item in out:
            (self.posts if isinstance(item, Post) else self.published).append(item)  # type: ignore[arg-type]

    def sent(self, name: str, kind: type[T]) -> list[T]:
        return [post.body for post in self.posts if post.to == name and isinstance(post.body, kind)]

    def delivered(self, name: str, kind: type[T]) -> list[T]:
        return [found.message for found in self.sent(name, Delivery) if isinstance(found.message, kind)]


def face_result(number: int, seq: int, stream: str = "film", run: int = 1) -> FaceResult:
    return FaceResult(
        number=number, stream=stream, run=run, seq=seq, pts_ns=0, grab_ns=0, faces=(), queue_ns=0, inference_ns=0
    )


def speech_result(number: int, seq: int) -> SpeechResult:
    return SpeechResult(
        number=number, stream="film", run=1, seq=seq, pts_ns=0, grab_ns=0, voice=0.0, probabilities=None
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
    house = House()
    house.hire("face 1")
    house.say("capture", opened("film", "every"))
    house.say("capture", job("film", 0))
    assert [found.job.seq for found in house.sent("face 1", Assignment)] == [0]
    house.say("face 1", face_result(1, 0))
    house.say("fusion", Ack(number=2))
    assert house.sent("capture", Release) == []
    house.say("fusion", emotion(0))
    assert [(found.modality, found.seqs) for found in house.sent("capture", Release)] == [("face", (0,))]
    assert [found.seq for found in house.delivered("recorder", Emotion)] == [0]
    assert [item.body.seq for item in house.published if isinstance(item.body, Emotion)] == [0]
    house.say("fusion", emotion(0))
    assert len(house.sent("capture", Release)) == 1


def test_a_speech_window_gets_its_credit_back_when_fusion_has_it() -> None:
    house = House()
    house.hire("audio 1", "speech")
    house.say("capture", opened("film", "every"))
    house.say("capture", job("film", 0, "speech"))
    house.say("audio 1", speech_result(1, 0))
    assert house.sent("capture", Release) == []
    house.say("fusion", Ack(number=2))
    assert [(found.modality, found.seqs) for found in house.sent("capture", Release)] == [("speech", (0,))]


def test_a_lost_worker_costs_no_frame_of_a_file() -> None:
    house = House()
    house.hire("face 1")
    house.say("capture", opened("film", "every"))
    house.say("capture", job("film", 0))
    house.say("supervisor", Gone(name="face 1", incarnation=1))
    house.hire("face 2")
    assert [found.job.seq for found in house.sent("face 2", Assignment)] == [0]
    house.say("face 1", face_result(1, 0))
    assert house.delivered("fusion", FaceResult) == []


def test_an_older_life_of_a_name_is_not_listened_to() -> None:
    house = House()
    house.hire("face 1")
    house.hire("face 1")
    assert house.office.knows("face 1", 2)
    assert not house.office.knows("face 1", 1)
    fresh, out = house.office.hello("face 1", 1, Hello(role="worker", modality="face"), 0)
    assert (fresh, out) == (False, [])
    house.say("supervisor", Gone(name="face 1", incarnation=1))
    assert house.office.knows("face 1", 2)


def test_a_file_starts_again_when_fusion_or_a_recorder_is_new() -> None:
    for lost in ("fusion", "recorder"):
        house = House()
        house.say("capture", opened("film", "every", run=1))
        house.say("capture", opened("live", "latest", run=1))
        house.join(lost, lost)  # type: ignore[arg-type]
        assert [found.stream for found in house.sent("capture", StartAgain)] == ["film"]
        # Whatever the old run still says is not for the newcomer: it would take a part for the whole.
        house.say("fusion", StreamClosed(stream="film", run=1))
        house.say("fusion", emotion(0, run=1))
        assert not [found for found in house.delivered("recorder", StreamClosed) if found.stream == "film"]
        house.say("capture", opened("film", "every", run=2))
        assert house.delivered(lost, StreamOpened)[-1].run == 2


def test_a_live_stream_goes_on_from_the_first_open_frame_when_fusion_is_new() -> None:
    house = House()
    house.say("capture", opened("desk", "latest"))
    house.hire("face 1")
    for seq in range(3):
        house.say("capture", job("desk", seq))
    house.say("face 1", face_result(1, 0, "desk"))
    house.join("fusion", "fusion")
    again = house.delivered("fusion", StreamOpened)[-1]
    assert (again.run, again.next_face_seq) == (1, 2)


def test_a_fusion_that_is_new_does_not_wait_for_frames_that_were_settled_out_of_order() -> None:
    house = House()
    house.say("capture", opened("desk", "latest"))
    house.hire("face 1")
    for seq in range(4):  # the worker has 0; 1 and 2 are replaced; 3 waits
        house.say("capture", job("desk", seq))
    house.join("fusion", "fusion")
    *_, again, first, second = [found.message for found in house.sent("fusion", Delivery)]
    assert isinstance(again, StreamOpened)
    assert again.next_face_seq == 0
    assert [found.seq for found in (first, second) if isinstance(found, Dropped)] == [1, 2]
    house.join("recorder", "recorder")
    assert not house.delivered("recorder", Dropped)


def test_frames_that_no_broker_saw_are_reported_missing() -> None:
    house = House()
    house.say("capture", opened("desk", "latest"))
    house.say("capture", job("desk", 0))
    house.say("capture", job("desk", 3))
    missing = [found.seq for found in house.delivered("fusion", Dropped) if found.because == "no broker was there"]
    assert missing == [1, 2]


def test_replaced_frames_are_told_to_fusion_and_counted() -> None:
    house = House()
    house.say("capture", opened("desk", "latest"))
    for seq in range(5):
        house.say("capture", job("desk", seq))
    assert [found.seq for found in house.delivered("fusion", Dropped)] == [0, 1, 2, 3]
    assert house.office.status().streams[0].dropped["face"] == 4


def test_an_overwritten_frame_counts_as_dropped_live_and_as_failed_in_a_file() -> None:
    for policy, stale, counted in (("latest", True, "dropped"), ("every", False, "failed")):
        house = House()
        house.hire("face 1")
        house.say("capture", opened("s", policy))  # type: ignore[arg-type]
        house.say("capture", job("s", 0))
        answer = JobFailed(
            number=1, stream="s", run=1, modality="face", seq=0, pts_ns=0, grab_ns=0, because="overwritten", stale=True
        )
        house.say("face 1", answer)
        assert [found.stale for found in house.delivered("fusion", JobFailed)] == [stale]
        assert getattr(house.office.status().streams[0], counted)["face"] == 1


def test_a_recorder_that_is_behind_holds_fusion_up() -> None:
    house = House()
    house.say("capture", opened("film", "every"))
    for seq in range(CREDIT):
        house.say("fusion", emotion(seq))
    before = len(house.sent("fusion", Delivery))
    house.say("capture", StreamEnded(stream="film", run=1, modality="speech", count=0))
    assert len(house.sent("fusion", Delivery)) == before
    house.say("recorder", Ack(number=10))
    assert len(house.sent("fusion", Delivery)) == before + 1


def test_a_receiver_that_is_far_behind_loses_live_frames_but_no_file() -> None:
    house = House("capture", "fusion")
    house.say("capture", opened("desk", "latest"))
    house.say("capture", opened("film", "every"))
    house.say("capture", StreamEnded(stream="film", run=1, modality="speech", count=0))
    for seq in range(MOST_BACKLOG + 10):
        house.say("capture", job("desk", seq))
    house.say("fusion", Ack(number=MOST_BACKLOG))
    house.say("fusion", Ack(number=2 * MOST_BACKLOG))
    announced = [found for found in house.delivered("fusion", StreamOpened) if found.stream == "desk"]
    assert announced[-1].next_face_seq > CREDIT
    assert len(house.delivered("fusion", StreamEnded)) == 1
    assert len(house.delivered("fusion", Dropped)) < MOST_BACKLOG


def test_the_end_of_a_live_stream_reaches_a_receiver_that_is_far_behind() -> None:
    house = House("capture", "fusion")
    house.say("capture", opened("desk", "latest"))
    for seq in range(MOST_BACKLOG - 10):
        house.say("capture", job("desk", seq))
    house.say("capture", StreamEnded(stream="desk", run=1, modality="speech", count=0))
    for seq in range(MOST_BACKLOG - 10, MOST_BACKLOG + 10):
        house.say("capture", job("desk", seq))
    assert house.delivered("fusion", StreamEnded) == []
    for number in range(CREDIT, 2 * MOST_BACKLOG, CREDIT):
        house.say("fusion", Ack(number=number))
    assert len(house.delivered("fusion", Dropped)) < MOST_BACKLOG, "what waited was dropped"
    assert [found.modality for found in house.delivered("fusion", StreamEnded)] == ["speech"]


def test_a_stream_is_closed_for_capture_when_every_recorder_has_kept_it() -> None:
    house = House("capture", "fusion", "recorder")
    house.join("recorder 2", "recorder")
    house.say("capture", opened("film", "every"))
    house.say("fusion", StreamClosed(stream="film", run=1, frames=3))
    assert [found.frames for found in house.delivered("recorder", StreamClosed)] == [3]
    house.say("recorder", StreamClosed(stream="film", run=1))
    assert house.sent("capture", StreamClosed) == []
    house.say("recorder 2", StreamClosed(stream="film", run=1))
    assert len(house.sent("capture", StreamClosed)) == 1
    assert house.office.status().streams == ()


def test_a_recorder_that_fails_closes_the_stream_with_its_reason() -> None:
    house = House()
    house.say("capture", opened("film", "every"))
    house.say("recorder", StreamClosed(stream="film", run=1, because="the disk is full"))
    assert [found.because for found in house.sent("capture", StreamClosed)] == ["the disk is full"]


def test_without_a_recorder_fusion_closes_the_stream() -> None:
    house = House("capture", "fusion")
    house.say("capture", opened("film", "every"))
    house.say("fusion", StreamClosed(stream="film", run=1))
    assert len(house.sent("capture", StreamClosed)) == 1


def test_messages_out_of_place_change_nothing() -> None:
    house = House()
    house.say("capture", opened("film", "every", run=2))
    before = len(house.posts)
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
        house.say("capture", body)
    assert len(house.posts) == before
    assert house.office.status().streams[0].offered == {"face": 0, "speech": 0}


def test_an_observer_has_nothing_to_say() -> None:
    house = House()
    house.hire("face 1")
    house.join("view", "observer")
    house.say("capture", opened("film", "every"))
    before = len(house.posts), len(house.published)
    for body in (
        job("film", 0),
        opened("film", "every", run=9),
        StreamClosed(stream="film", run=1),
        emotion(0),
        Ready(),
    ):
        assert house.office.refuses("view", body)
        house.say("view", body)
    assert (len(house.posts), len(house.published)) == before
    assert house.office.status().streams[0].offered == {"face": 0, "speech": 0}
    house.say("capture", job("film", 0))
    assert house.sent("face 1", Assignment), "whose job it is, is heard"


def test_the_supervisor_alone_gives_orders() -> None:
    house = House("capture", "fusion")
    house.join("supervisor", "supervisor")
    house.say("capture", opened("a", "latest", has_sound=False))
    for name in ("face 1", "face 2"):
        house.hire(name)
    house.say("face 1", OffDuty(workers=("face 2",)))
    house.say("capture", job("a", 0))
    assert house.sent("face 1", Assignment)
    house.say("capture", job("a", 1))
    assert house.sent("face 2", Assignment), "a worker can't send another off duty"
    house.say("supervisor", OffDuty(workers=("face 1", "face 2")))
    house.say("face 1", Reconfigure(to="fusion", revision=1, settings={}))
    assert house.sent("fusion", Reconfigure) == []
    order = Reconfigure(to="fusion", revision=2, settings={"x": 1})
    house.say("supervisor", order)
    assert house.sent("fusion", Reconfigure) == [order]
    house.say("fusion", Reconfigured(name="fusion", revision=2))
    assert house.sent("supervisor", Reconfigured) == [Reconfigured(name="fusion", revision=2)]


def test_a_stream_that_is_withdrawn_ends_with_what_it_has() -> None:
    house = House()
    house.join("supervisor", "supervisor")
    house.say("capture", opened("a", "latest"))
    for seq in range(3):
        house.say("capture", job("a", seq))
    house.say("capture", StreamWithdrawn(stream="a"))
    assert house.delivered("fusion", StreamEnded) == []
    house.say("supervisor", StreamWithdrawn(stream="a"))
    house.say("supervisor", StreamWithdrawn(stream="never was"))
    ends = {(end.modality, end.count) for end in house.delivered("fusion", StreamEnded)}
    assert ends == {("face", 3), ("speech", 0)}
    house.say("fusion", StreamClosed(stream="a", run=1))
    assert house.delivered("recorder", StreamClosed)
    house.say("recorder", StreamClosed(stream="a", run=1))
    assert house.office.status().streams == ()


def test_what_nobody_waits_for_goes_in_bundles() -> None:
    house = House()
    house.hire("face 1")
    house.say("capture", opened("film", "every"))
    for seq in range(BUNDLE * 3):
        house.say("capture", job("film", seq))
    for seq in range(BUNDLE):
        assert house.delivered("fusion", FaceResult) == []
        house.say("face 1", face_result(seq + 1, seq))
    assert [found.seq for found in house.delivered("fusion", FaceResult)] == list(range(BUNDLE))
    for seq in range(BUNDLE - 1):
        house.say("fusion", emotion(seq))
    assert house.sent("capture", Release) == house.delivered("recorder", Emotion) == []
    house.keep(house.office.tick(0))
    assert [found.seqs for found in house.sent("capture", Release)] == [tuple(range(BUNDLE - 1))]
    assert len(house.delivered("recorder", Emotion)) == BUNDLE - 1


def test_nothing_waits_for_a_bundle_where_frames_run_short_or_a_stream_is_live() -> None:
    policies: tuple[Policy, ...] = ("every", "latest")
    for policy in policies:
        house = House()
        house.hire("face 1")
        house.say("capture", opened("film", policy))
        for seq in range(3):
            house.say("capture", job("film", seq))
        house.say("face 1", face_result(1, 0))
        assert [found.seq for found in house.delivered("fusion", FaceResult)] == [0]
        house.say("fusion", emotion(0))
        assert [found.seq for found in house.delivered("recorder", Emotion)] == [0]
        assert [found.seqs for found in house.sent("capture", Release)] == [(0,)] * (policy == "every")


@pytest.mark.parametrize("ended_before", [True, False], ids=["told before", "told while it was away"])
def test_a_fusion_that_is_new_hears_that_a_live_stream_is_over(ended_before: bool) -> None:
    house = House("capture", "fusion")
    house.say("capture", opened("desk", "latest", has_sound=False))
    house.say("capture", StreamEnded(stream="desk", run=1, modality="speech", count=0))
    last = StreamEnded(stream="desk", run=1, modality="face", count=0)
    if ended_before:
        house.say("capture", last)
    house.keep(house.office.handle("fusion", Gone(name="fusion", incarnation=1), 0))
    if not ended_before:
        house.say("capture", last)
    house.posts.clear()
    house.join("fusion", "fusion")
    assert {end.modality for end in house.delivered("fusion", StreamEnded)} == {"face", "speech"}
    house.say("fusion", StreamClosed(stream="desk", run=1))
    assert house.sent("capture", StreamClosed)
    assert house.office.status().streams == ()


def test_a_stream_that_is_withdrawn_while_fusion_is_away_closes_when_it_is_back() -> None:
    house = House("capture", "fusion", "supervisor")
    house.say("capture", opened("desk", "latest"))
    house.keep(house.office.handle("fusion", Gone(name="fusion", incarnation=1), 0))
    house.say("supervisor", StreamWithdrawn(stream="desk"))
    house.join("fusion", "fusion")
    assert {end.modality for end in house.delivered("fusion", StreamEnded)} == {"face", "speech"}


def test_an_end_that_is_told_again_counts_once() -> None:
    house = House("capture", "fusion")
    house.say("capture", opened("desk", "latest"))
    for count in (3, 5):
        house.say("capture", StreamEnded(stream="desk", run=1, modality="face", count=count))
    assert [end.count for end in house.delivered("fusion", StreamEnded)] == [3]


def test_a_recorder_that_is_lost_holds_no_live_stream_open() -> None:
    house = House()
    house.say("capture", opened("desk", "latest"))
    house.say("fusion", StreamClosed(stream="desk", run=1))
    assert house.sent("capture", StreamClosed) == [], "the recorder still writes"
    house.keep(house.office.handle("recorder", Gone(name="recorder", incarnation=1), 0))
    assert len(house.sent("capture", StreamClosed)) == 1
    house.posts.clear()
    house.join("recorder", "recorder")
    assert house.delivered("recorder", StreamOpened) == []


def test_a_fusion_that_is_new_is_not_told_of_a_live_stream_that_is_closed_already() -> None:
    house = House()
    house.say("capture", opened("desk", "latest"))
    house.say("fusion", StreamClosed(stream="desk", run=1))
    house.posts.clear()
    house.keep(house.office.handle("fusion", Gone(name="fusion", incarnation=1), 0))
    house.join("fusion", "fusion")
    assert house.delivered("fusion", StreamOpened) == []
    house.say("recorder", StreamClosed(stream="desk", run=1))
    assert len(house.sent("capture", StreamClosed)) == 1
