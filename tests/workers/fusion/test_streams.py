"""One stream from opening to close: an event a frame, in order, with a reason wherever something is missing."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from bimodal.broker.events import Emotion, Latency
from bimodal.broker.messages import Face, LaneMessage, StreamClosed, StreamOpened
from bimodal.models.doubt import face_doubts
from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import open_artifact
from bimodal.workers.fusion.combine import softened
from bimodal.workers.fusion.dynamic import dynamic_model
from bimodal.workers.fusion.scene import FusionModels
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import StreamFusion
from tests.artifacts import make_face_dynamic
from tests.workers.fusion.making import FRAME_NS, HOP_NS, MS, dropped, ended, face, failed, frame, hop, opened, sure

NOW = 10**12
plain = FusionSettings(smoothing_s=0.0)


def run(
    messages: list[LaneMessage], opening: StreamOpened | None = None, settings: FusionSettings = plain
) -> list[Emotion | StreamClosed]:
    stream = StreamFusion(opening or opened(), settings)
    return [event for message in messages for event in stream.receive(message, NOW)]


def emotions(events: list[Emotion | StreamClosed]) -> list[Emotion]:
    return [event for event in events if isinstance(event, Emotion)]


def only(events: list[Emotion | StreamClosed]) -> Emotion:
    (event,) = emotions(events)
    return event


silent = opened(has_sound=False, hop_ns=0)
live = opened(policy="latest")


def test_a_face_alone_is_its_emotion() -> None:
    event = only(run([frame(0, face(probabilities=sure("sad", 0.88)))], silent))
    assert (event.emotion.label, event.emotion.confidence, event.emotion.because) == ("sad", 0.88, None)
    assert event.emotion.agreement is None
    assert event.speech is None
    (seen,) = event.faces
    assert (seen.track, seen.box, seen.label) == (1, (100, 100, 80, 80), "sad")
    assert seen.weights == {"video": 1.0, "speech": 0.0}
    assert seen.fused == seen.video == seen.static
    assert seen.dynamic is None
    assert event.models == {"face-static": "static@1"}


def test_face_and_voice_that_contradict_each_other_are_averaged() -> None:
    picture = frame(0, face(probabilities=sure("happy")), pts_ns=HOP_NS + 120 * MS)
    event = only(run([hop(0, "sad"), picture], live))
    (seen,) = event.faces
    assert seen.weights == {"video": 0.65, "speech": 0.35}
    assert seen.fused["happy"] == pytest.approx(0.65 * 0.88 + 0.35 * 0.02, abs=0.02)
    assert event.emotion.label == "happy"
    assert event.emotion.agreement is not None
    assert event.emotion.agreement < 0.4
    assert event.speech is not None
    assert (event.speech.label, event.speech.voice, event.speech.age_ms) == ("sad", 1.0, 120.0)
    assert event.models == {"face-static": "static@1", "speech": "speech@1"}


def test_a_blurred_face_counts_less() -> None:
    picture = frame(0, face(sharpness=0.5, score=0.6), pts_ns=HOP_NS + 120 * MS)
    (seen,) = only(run([hop(0, voice=0.5), picture], live)).faces
    doubt = face_doubts(picture.faces[0].box, 0.5, None, None, None).reliability
    video, speech = 0.65 * softened(0.5 * 0.6 * doubt), 0.35 * softened(0.5)
    assert seen.doubts == ("face is blurred",)
    assert seen.weights == {"video": round(video / (video + speech), 4), "speech": round(speech / (video + speech), 4)}


def test_the_product_strategy_is_used_where_it_is_asked_for() -> None:
    picture = frame(0, face(probabilities=sure("happy")), pts_ns=HOP_NS + 120 * MS)
    settings = FusionSettings(smoothing_s=0.0, strategy="product")
    (seen,) = only(run([hop(0, "sad"), picture], live, settings)).faces
    assert seen.fused["happy"] / seen.fused["sad"] == pytest.approx((0.88 / 0.02) ** 0.3, rel=0.01)


def test_without_a_face_the_voice_speaks_alone() -> None:
    event = only(run([hop(0, "fear"), frame(0, pts_ns=HOP_NS + 120 * MS)], live))
    assert event.faces == ()
    assert event.emotion.label == "fear"


@pytest.mark.parametrize(
    ("opening", "before", "because"),
    [
        (live, hop(0, None), "no face, no voice"),
        (live, hop(0, None, because="too quiet"), "no face, too quiet"),
        (live, dropped("speech", 0), "no face, no speech yet"),
        (live, failed("speech", 0, "the model broke"), "no face, speech failed: the model broke"),
        (live, hop(0, pts_ns=-3000 * MS), "no face, speech too old"),
        (silent, dropped("speech", 0), "no face, no sound"),
    ],
)
def test_nothing_usable_has_no_label_but_a_reason(opening: StreamOpened, before: LaneMessage, because: str) -> None:
    event = only(run([before, frame(0, pts_ns=HOP_NS + 120 * MS)], opening))
    assert (event.emotion.label, event.emotion.confidence, event.emotion.because) == (None, None, because)


@pytest.mark.parametrize(
    "broken",
    [
        face(probabilities=dict.fromkeys(EMOTIONS, math.nan)),
        face(probabilities={"contempt": 1.0}),
        face(side=0.0),
        face(x=math.nan),
    ],
)
def test_a_face_whose_numbers_are_none_is_left_out(broken: Face) -> None:
    event = only(run([frame(0, broken)], silent))
    assert event.faces == ()
    assert event.emotion.because == "face not readable, no sound"
    beside = only(run([frame(0, broken, face())], silent))
    assert [seen.label for seen in beside.faces] == ["happy"]


def test_an_unsure_verdict_has_no_label() -> None:
    uniform = face(probabilities=dict.fromkeys(EMOTIONS, 1 / 7))
    event = only(run([frame(0, uniform)], silent))
    assert event.emotion.label is None
    assert event.emotion.confidence == 0.1429
    assert event.emotion.because == "confidence 0.1429 is below 0.3"
    sure_enough = FusionSettings(min_confidence=0.0)
    assert only(run([frame(0, uniform)], silent, sure_enough)).emotion.label == "neutral"


@pytest.mark.parametrize("policy", ["every", "latest"])
def test_a_failed_frame_keeps_its_place_and_a_dropped_one_does_not(policy: str) -> None:
    messages = [frame(2, face()), failed("face", 1), dropped("face", 3), failed("face", 4, stale=True), frame(5)]
    events = emotions(run([*messages, frame(0, face())], opened(policy=policy, has_sound=False)))
    assert [event.seq for event in events] == [0, 1, 2, 5]
    broken = events[1]
    assert broken.failed == "the picture is broken"
    assert broken.faces == ()
    assert broken.emotion.label is None
    assert broken.emotion.because == "frame failed: the picture is broken"
    assert events[2].failed is None
    assert events[2].faces[0].track == events[0].faces[0].track


def test_a_frame_waits_for_its_speech_under_every() -> None:
    stream = StreamFusion(opened(), plain)
    pts_ns = 2 * HOP_NS + 120 * MS
    assert stream.receive(frame(0, face(), pts_ns=pts_ns), NOW) == []
    assert stream.receive(hop(1, "fear"), NOW) == []
    assert stream.held == 2
    event = only(stream.receive(hop(0, "sad"), NOW))
    assert event.speech is not None
    assert event.speech.label == "fear"
    assert stream.held == 0


def test_a_live_frame_waits_for_no_speech() -> None:
    stream = StreamFusion(live, plain)
    assert stream.receive(hop(1, "fear"), NOW) == []
    event = only(stream.receive(frame(0, face(), pts_ns=2 * HOP_NS + 120 * MS), NOW))
    assert event.speech is not None
    assert event.speech.label == "fear"


def test_all_picture_may_come_before_any_sound() -> None:
    pictures: list[LaneMessage] = [frame(seq, face()) for seq in range(50)]
    stream = StreamFusion(opened(), plain)
    early = [event for message in [*pictures, ended("face", 50)] for event in stream.receive(message, NOW)]
    assert 0 < len(early) < 10
    rest = [event for seq in range(9) for event in stream.receive(hop(seq), NOW)]
    last = stream.receive(ended("speech", 9), NOW)
    assert [event.seq for event in emotions(early + rest + last)] == list(range(50))
    assert last[-1] == StreamClosed(stream="film", run=1, frames=50)


def test_all_sound_may_come_before_any_picture() -> None:
    messages: list[LaneMessage] = [*(hop(seq) for seq in range(9)), ended("speech", 9)]
    messages += [*(frame(seq, face()) for seq in range(50)), ended("face", 50)]
    events = run(messages)
    assert len(emotions(events)) == 50
    assert events[-1] == StreamClosed(stream="film", run=1, frames=50)


def test_sound_that_starts_late_and_ends_early_holds_nothing_up() -> None:
    late = opened(sound_start_ns=1000 * MS)
    stream = StreamFusion(late, plain)
    before = [stream.receive(frame(seq, face()), NOW) for seq in range(25)]
    assert all(len(events) == 1 for events in before)
    assert {event.emotion.because for events in before for event in emotions(events)} == {None}
    stream.receive(hop(0, pts_ns=1200 * MS), NOW)
    stream.receive(ended("speech", 1), NOW)
    after = [event for seq in range(25, 50) for event in stream.receive(frame(seq, face()), NOW)]
    assert len(after) == 25


def test_sound_without_a_single_hop_holds_nothing_up() -> None:
    stream = StreamFusion(opened(), plain)
    held = [event for seq in range(20) for event in stream.receive(frame(seq, face()), NOW)]
    assert len(held) < 20
    assert len(held) + len(stream.receive(ended("speech", 0), NOW)) == 20


@pytest.mark.parametrize("policy", ["every", "latest"])
def test_the_stream_is_closed_once_when_both_modalities_are_dealt_with(policy: str) -> None:
    stream = StreamFusion(opened(policy=policy), plain)
    assert stream.receive(ended("face", 1), NOW) == []
    assert stream.receive(ended("speech", 1), NOW) == []
    assert stream.receive(dropped("speech", 0), NOW) == []
    assert [type(event) for event in stream.receive(frame(0), NOW)] == [Emotion, StreamClosed]
    assert stream.receive(ended("face", 1), NOW) == []
    assert stream.receive(frame(0), NOW) == []


def test_an_empty_stream_closes_with_no_frames() -> None:
    assert run([ended("face", 0), ended("speech", 0)]) == [StreamClosed(stream="film", run=1, frames=0)]


def test_a_stream_without_picture_has_an_event_a_hop() -> None:
    messages: list[LaneMessage] = [
        hop(1, None),
        hop(0, "anger", voice=0.9),
        failed("speech", 2, "the model broke"),
        dropped("speech", 3),
        hop(4, "sad", voice=0.0),
        ended("face", 0),
        ended("speech", 5),
    ]
    events = run(messages, opened(has_picture=False))
    said = emotions(events)
    assert [event.seq for event in said] == [0, 1, 2, 4]
    assert [event.t for event in said] == [0.2, 0.4, 0.6, 1.0]
    assert [event.emotion.label for event in said] == ["anger", None, None, None]
    assert [event.emotion.because for event in said[1:]] == [
        "no picture, no voice",
        "speech failed: the model broke",
        "no picture, no voice",
    ]
    assert said[2].failed == "the model broke"
    assert said[0].speech is not None
    assert said[0].speech.age_ms == 0.0
    assert all(event.faces == () for event in said)
    assert events[-1] == StreamClosed(stream="film", run=1, frames=4)


def test_the_same_run_announced_again_goes_on_behind_what_is_lost() -> None:
    stream = StreamFusion(live, plain)
    assert len(stream.receive(frame(0, face()), NOW)) == 1
    assert stream.receive(frame(3, face()), NOW) == []
    events = emotions(stream.receive(opened(policy="latest", next_face_seq=6, next_speech_seq=2), NOW))
    assert [event.seq for event in events] == [3]
    assert stream.receive(frame(4, face()), NOW) == []
    event = only(stream.receive(frame(6, face()), NOW))
    assert event.faces[0].track == 1


def test_a_stream_may_be_taken_over_in_its_middle() -> None:
    stream = StreamFusion(opened(policy="latest", next_face_seq=100, next_speech_seq=20), plain)
    assert stream.receive(frame(99, face()), NOW) == []
    assert len(stream.receive(frame(100, face()), NOW)) == 1


def test_other_streams_and_runs_change_nothing() -> None:
    assert run([frame(0, face(), stream="desk"), frame(0, face(), run=2), ended("face", 0, run=2)]) == []


def test_only_the_speaker_has_the_voice_and_the_verdict_is_the_speakers() -> None:
    stream = StreamFusion(opened(), plain)
    hops = iter(range(20))
    for seq in range(75):
        mouth = 0.2 + 0.1 * math.sin(2 * math.pi * 4 * seq * 0.04)
        small = face(400, side=60, mouth=mouth, probabilities=sure("anger"))
        large = face(100, side=160, probabilities=sure("neutral"))
        if seq % 5 == 0:
            stream.receive(hop(next(hops), "anger"), NOW)
        events = emotions(stream.receive(frame(seq, large, small), NOW))
    last = events[-1]
    large_face, small_face = last.faces
    assert large_face.weights == {"video": 1.0, "speech": 0.0}
    assert small_face.weights == {"video": 0.65, "speech": 0.35}
    assert last.emotion.label == "anger"


def test_smoothing_is_per_track_and_in_seconds() -> None:
    stream = StreamFusion(silent, FusionSettings(smoothing_s=0.3))
    events = []
    for seq in range(26):
        first, second = ("sad", "fear") if seq < 25 else ("happy", "fear")
        faces = face(100, probabilities=sure(first)), face(400, probabilities=sure(second))
        events += emotions(stream.receive(frame(seq, *faces), NOW))
    changed, same = events[-1].faces
    assert changed.video["happy"] == 0.88
    assert 0.02 < changed.fused["happy"] < 0.2
    assert changed.label == "sad"
    assert same.fused == sure("fear")


def test_a_real_dynamic_model_joins_when_its_window_is_full(tmp_path: Path) -> None:
    path = make_face_dynamic(tmp_path / "model.onnx", steps=5, embedding=8)
    model = dynamic_model(open_artifact(path, provider="cpu"))
    stream = StreamFusion(silent, plain, FusionModels(model))
    embedding = [9.0 if emotion == "fear" else 0.0 for emotion in EMOTIONS] + [0.0]
    events = []
    for seq in range(25):
        events += emotions(stream.receive(frame(seq, face(probabilities=sure("sad"), embedding=embedding)), NOW))
    assert [event.faces[0].dynamic is not None for event in events] == [False] * 20 + [True] * 5
    assert "face-dynamic" not in events[19].models
    assert events[20].models["face-dynamic"] == "tiny-face-dynamic@1"
    last = events[-1].faces[0]
    assert last.dynamic is not None
    assert last.video["fear"] == pytest.approx((last.static["fear"] + last.dynamic["fear"]) / 2, abs=2e-4)
    swapped = msgspec.structs.replace(frame(25, face(embedding=embedding)), models={"face-static": "other@2"})
    assert only(stream.receive(swapped, NOW)).faces[0].dynamic is None


def test_latency_is_counted_from_grab() -> None:
    stream = StreamFusion(silent, plain)
    looked = msgspec.structs.replace(frame(0, pts_ns=FRAME_NS), waited_ns=MS // 2)
    event = only(stream.receive(looked, FRAME_NS + 20 * MS))
    assert event.latency_ms == Latency(queue=1.0, inference=2.0, total=20.0, waited=0.5)


def test_what_is_rounded_still_sums_to_one() -> None:
    odd = {emotion: (index + 1) / 28 for index, emotion in enumerate(EMOTIONS)}
    event = only(run([frame(0, face(probabilities=odd))], silent))
    (seen,) = event.faces
    for probabilities in (seen.static, seen.video, seen.fused):
        assert sum(probabilities.values()) == pytest.approx(1.0, abs=1e-3)
        assert all(value == round(value, 4) for value in probabilities.values())


def talking(seconds: float, settings: FusionSettings, hops: str | None = "neutral") -> list[Emotion]:
    """A neutral face for a second, then talking: every third frame of its mouth looks like surprise."""
    stream = StreamFusion(opened(), settings)
    events = []
    for seq in range(round(seconds * 25)):
        moving = seq >= 25
        mouth = 0.2 + 0.1 * math.sin(2 * math.pi * 4 * seq * 0.04) if moving else 0.02
        shows = sure("surprise") if moving and seq % 3 == 0 else sure("neutral", 0.6)
        if seq % 5 == 0:
            stream.receive(hop(seq // 5, hops, voice=1.0 if hops else 0.0), NOW)
        events += emotions(stream.receive(frame(seq, face(mouth=mouth, probabilities=shows)), NOW))
    return events


def test_a_talking_face_is_judged_by_what_it_shows_over_seconds() -> None:
    each = talking(5, FusionSettings(smoothing_s=0.0, speech_weight=0.0, talking_s=0.0))
    gathered = talking(5, FusionSettings(smoothing_s=0.0, speech_weight=0.0, talking_s=1.5))

    def flips(events: list[Emotion]) -> int:
        labels = [event.faces[0].label for event in events]
        return sum(one != other for one, other in pairwise(labels))

    assert flips(each) > 40
    assert flips(gathered) < flips(each) / 4
    last = gathered[-1].faces[0]
    assert last.label == "neutral"
    assert last.video["neutral"] > last.video["surprise"] > 0.1


def test_a_mouth_that_moves_without_voice_does_not_talk() -> None:
    silent_mouth = talking(4, FusionSettings(smoothing_s=0.0), hops=None)
    for event in silent_mouth:
        assert event.faces[0].video == event.faces[0].static


def test_a_face_unlike_what_the_model_learnt_has_no_label_unless_a_voice_says_more() -> None:
    wide = FusionSettings(smoothing_s=0.0, max_novelty=2.0)
    strange = msgspec.structs.replace(face(probabilities=sure("fear")), novelty=3.0)
    (event,) = emotions(StreamFusion(silent, wide).receive(frame(0, strange), NOW))
    assert event.emotion.label is None
    assert event.emotion.because == "unlike what the model learnt"
    assert event.faces[0].label == "fear"
    rare = msgspec.structs.replace(strange, novelty=1.2)
    (event,) = emotions(StreamFusion(silent, wide).receive(frame(0, rare), NOW))
    assert event.emotion.label == "fear"
    stream = StreamFusion(opened(), wide)
    for number in range(2):
        stream.receive(hop(number, "sad"), NOW)
    heard = emotions(stream.receive(frame(0, strange, pts_ns=13 * FRAME_NS), NOW))[-1]
    assert heard.faces[0].weights == {"video": 0.0, "speech": 1.0}
    assert heard.emotion.label == "sad"
