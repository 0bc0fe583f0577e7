"""An event as numbers, and when it was."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import (
    Emotion,
    FaceMeasures,
    Latency,
    Probabilities,
    Speech,
    TrackedFace,
    Verdict,
    VoiceMeasures,
)
from bimodal.broker.messages import Job, Modality
from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.workers.lsl import CHANNELS, GrabTimes, channels_of, sample

LABELS = [channel.label for channel in CHANNELS]


def sure(label: str, share: float = 0.88) -> Probabilities:
    return {emotion: share if emotion == label else (1 - share) / 6 for emotion in EMOTIONS}


def face(track: int, label: str, confidence: float) -> TrackedFace:
    return TrackedFace(
        track=track,
        box=(0, 0, 50, 50),
        score=0.9,
        static=sure(label),
        dynamic=None,
        video=sure(label, 0.7),
        fused=sure(label, confidence),
        label=label,
        confidence=confidence,
        weights={"video": 1.0, "speech": 0.0},
    )


def event(
    *faces: TrackedFace, verdict: Verdict | None = None, speech: Speech | None = None, seq: int = 0, total: float = 20.0
) -> Emotion:
    return Emotion(
        stream="desk",
        run=1,
        seq=seq,
        t=seq / 25,
        faces=faces,
        speech=speech,
        emotion=verdict or Verdict(label=None, confidence=None, because="no face, no sound"),
        latency_ms=Latency(queue=1.0, inference=2.0, total=total),
        models={},
    )


def channels(of: Emotion) -> dict[str, float]:
    values = sample(of)
    assert len(values) == len(CHANNELS)
    return dict(zip(LABELS, values, strict=True))


def test_the_face_that_the_event_is_about_gives_the_numbers() -> None:
    voice = Speech(label="sad", probabilities=sure("sad"), voice=0.9, age_ms=100)
    happy = Verdict(label="happy", confidence=0.8, agreement=0.25)
    found = channels(event(face(1, "anger", 0.6), face(2, "happy", 0.8), verdict=happy, speech=voice))
    assert found["fused_happy"] == 0.8
    assert found["video_happy"] == 0.7
    assert found["speech_sad"] == 0.88
    assert (found["confidence"], found["agreement"], found["faces"]) == (0.8, 0.25, 2.0)


def test_a_voice_alone_gives_the_fused_numbers_and_what_is_unknown_is_no_number() -> None:
    voice = Speech(label="sad", probabilities={"sad": 0.9, "happy": 0.1}, voice=0.9, age_ms=100)
    found = channels(event(verdict=Verdict(label="sad", confidence=0.9), speech=voice))
    assert found["fused_sad"] == found["speech_sad"] == 0.9
    assert math.isnan(found["fused_fear"]), "the model does not know it: no zero is invented"
    assert math.isnan(found["video_sad"])
    assert found["faces"] == 0.0
    nothing = channels(event())
    assert all(math.isnan(value) for label, value in nothing.items() if label != "faces")


def test_what_face_and_voice_do_has_channels_of_its_own() -> None:
    turned = msgspec.structs.replace(face(1, "happy", 0.8), face=FaceMeasures(yaw_deg=12.0, mouth_open=0.1))
    voice = Speech(label=None, probabilities=None, voice=0.9, age_ms=1, measures=VoiceMeasures(f0_hz=180.0))
    found = channels(event(turned, verdict=Verdict(label="happy", confidence=0.8, valence=0.5), speech=voice))
    assert (found["yaw_deg"], found["mouth_open"], found["valence"], found["voice_f0_hz"]) == (12.0, 0.1, 0.5, 180.0)
    assert math.isnan(found["gaze_yaw_deg"])
    assert len(CHANNELS) == 36, "as docs/events.md says"


def test_less_sure_than_a_label_needs_still_gives_the_numbers() -> None:
    found = channels(event(face(1, "happy", 0.2), verdict=Verdict(label=None, confidence=0.2, because="unsure")))
    assert found["fused_happy"] == 0.2


def announced(seq: int, modality: Modality = "face") -> Job:
    return Job(
        stream="desk", run=1, modality=modality, seq=seq, pts_ns=0, grab_ns=1000 + seq, ring="r", slot=0, generation=1,
        shape=(4, 4, 3),
    )  # fmt: skip


def test_times_are_those_of_the_grab_and_are_forgotten_in_time() -> None:
    grabs = GrabTimes(most=8)
    for seq in range(20):
        grabs.announced(announced(seq))
    now_ns = 10**9
    assert grabs.of(event(seq=19), now_ns) == 1019
    assert grabs.of(event(seq=19, total=30.0), now_ns) == now_ns - 30_000_000, "each is given once"
    assert grabs.of(event(seq=3, total=5.0), now_ns) == now_ns - 5_000_000, "too old to be known"


def test_times_of_sound_alone_are_those_of_its_windows() -> None:
    grabs = GrabTimes(most=8)
    now_ns = 10**9
    grabs.announced(announced(4, "speech"))
    assert grabs.of(event(seq=4), now_ns) == 1004
    grabs.announced(announced(5, "speech"))
    grabs.announced(announced(0))
    assert grabs.of(event(seq=5, total=5.0), now_ns) == now_ns - 5_000_000, "with a picture, an event is of a frame"


@given(st.lists(st.integers(0, 50), max_size=60))
def test_grab_times_never_grow_beyond_their_bound(seqs: list[int]) -> None:
    grabs = GrabTimes(most=8)
    for seq in seqs:
        grabs.announced(announced(seq))
    assert len(grabs._times) <= 8


def test_channels_follow_the_set_and_dominance_is_the_voices() -> None:
    about = EmotionSet(("neutral", "bored"), ("contempt",), dominance=True)
    channels = channels_of(about)
    labels = [channel.label for channel in channels]
    assert labels[:6] == [
        "fused_neutral",
        "fused_bored",
        "video_neutral",
        "video_bored",
        "speech_neutral",
        "speech_bored",
    ]
    assert labels[-2:] == ["other_contempt", "dominance"]
    voice = Speech(label="bored", probabilities={"bored": 1.0}, voice=1.0, age_ms=1.0, dominance=0.25)
    verdict = Verdict(label="bored", confidence=1.0, probabilities={"bored": 1.0}, other={"contempt": 0.5})
    values = dict(zip(labels, sample(event(verdict=verdict, speech=voice), channels), strict=True))
    assert (values["fused_bored"], values["other_contempt"], values["dominance"]) == (1.0, 0.5, 0.25)
    assert math.isnan(values["fused_neutral"])
    silent = dict(zip(labels, sample(event(), channels), strict=True))
    assert math.isnan(silent["dominance"])
