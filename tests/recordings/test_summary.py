"""The summary of a recording."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Speech, Verdict
from bimodal.models.emotions import EMOTIONS
from bimodal.recordings.summary import Labels, Summarizer, Summary
from tests.recordings.events import event, event_lists, face, opened, speech


def summarize(events: list[Emotion], offered: int | None = None, wall_s: float = 2.0, **changes: Any) -> Summary:
    summarizer = Summarizer(opened(**changes), "clip.mp4")
    for one in events:
        summarizer.add(one)
    return summarizer.summary(wall_s, offered)


def test_a_stream_without_events_has_no_dominant_emotion() -> None:
    summary = summarize([])
    assert summary.dominant == {"video": None, "speech": None, "emotion": None}
    assert summary.share == {"video": {}, "speech": {}, "emotion": {}}
    assert (summary.frames, summary.faces, summary.duration_s, summary.fps) == (0, 0, 0.0, 0.0)
    assert summary.latency_ms.mean is None


def test_dominant_is_confidence_summed_over_time() -> None:
    unsure = [event(seq, verdict=Verdict(label="neutral", confidence=0.3)) for seq in range(3)]
    sure = [event(seq, verdict=Verdict(label="happy", confidence=0.9)) for seq in range(3, 5)]
    summary = summarize(unsure + sure)
    assert summary.dominant["emotion"] == "happy"
    assert summary.share["emotion"] == {"neutral": 0.6, "happy": 0.4}


def test_each_modality_has_its_own_dominant() -> None:
    happy = face("happy", video="surprise")
    summary = summarize([event(0, faces=[happy], heard=speech("sad"), verdict=Verdict(label="happy", confidence=0.7))])
    assert summary.dominant == {"video": "surprise", "speech": "sad", "emotion": "happy"}


def test_lost_frames_are_gaps_failures_and_a_missing_end() -> None:
    summary = summarize([event(1), event(2, failed="the worker died three times"), event(5)], offered=8)
    assert summary.frames == 3
    assert summary.frames_lost == 1 + 1 + 2 + 2
    assert summary.because["failed"] == {"the worker died three times": 1}


def test_a_stream_joined_late_has_lost_nothing_before() -> None:
    assert summarize([event(40), event(41)], policy="latest", next_face_seq=40).frames_lost == 0


def test_faces_are_tracks() -> None:
    events = [
        event(0, faces=[face("happy", track=1)]),
        event(1, faces=[face("happy", track=1), face("sad", track=7)]),
        event(2),
        event(3, faces=[face("anger", track=9)]),
    ]
    summary = summarize(events)
    assert (summary.faces, summary.max_faces_at_once, summary.frames_with_face) == (3, 2, 3)
    assert [track.track for track in summary.tracks] == [1, 7, 9]
    first = summary.tracks[0]
    assert (first.frames, first.first_t, first.last_t, first.dominant) == (2, 0.0, 1 / 25, "happy")
    assert first.share == {"happy": 1.0}


def test_reasons_are_counted() -> None:
    gated = Speech(label=None, probabilities=None, voice=0.0, age_ms=0.0, because="too quiet")
    summary = summarize([event(0, heard=gated), event(1, heard=gated), event(2, heard=speech())])
    assert summary.because["speech"] == {"too quiet": 2}
    assert summary.because["emotion"] == {"no face, no voice": 3}


def test_reasons_that_differ_in_a_number_are_one_reason() -> None:
    verdicts = [
        Verdict(label=None, confidence=c, because=f"confidence {c:g} is below 0.3") for c in (0.21, 0.199, 2e-7)
    ]
    summary = summarize([event(seq, verdict=verdict) for seq, verdict in enumerate(verdicts)])
    assert summary.because["emotion"] == {"confidence … is below …": 3}


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({"duration_ns": 3_000_000_000}, 3.0),
        ({}, 2 / 25),
        ({"fps": 0.0}, 1 / 25),
        ({"has_picture": False, "hop_ns": 250_000_000}, 0.29),
    ],
)
def test_duration_is_what_the_source_says_else_what_was_seen(changes: dict[str, Any], seconds: float) -> None:
    assert summarize([event(0), event(1)], **changes).duration_s == pytest.approx(seconds)


def test_a_model_swapped_on_the_way_is_named_beside_the_first() -> None:
    events = [
        event(0, models={"speech": "a@1"}),
        event(1, models={"speech": "b@2"}),
        event(2, models={"speech": "a@1"}),
    ]
    assert summarize(events).models == {"speech": "a@1, b@2"}


def test_speed_is_frames_by_wall_clock() -> None:
    summary = summarize([event(0), event(1), event(2)], wall_s=0.5)
    assert (summary.wall_s, summary.fps) == (0.5, 6.0)


@given(st.lists(st.tuples(st.sampled_from(EMOTIONS), st.floats(0.01, 1))))
def test_shares_sum_to_one(pairs: list[tuple[str, float]]) -> None:
    labels = Labels()
    for label, confidence in pairs:
        labels.add(label, confidence)
    assert sum(labels.share.values()) == pytest.approx(1.0 if pairs else 0.0, abs=1e-3)
    assert labels.dominant in labels.share if pairs else labels.dominant is None


@given(event_lists())
def test_any_events_give_consistent_counts(events: list[Emotion]) -> None:
    summary = summarize(events)
    assert summary.frames + summary.frames_lost >= len(events)
    assert summary.frames_with_face <= summary.frames
    assert summary.max_faces_at_once <= max((len(one.faces) for one in events), default=0)
    assert sum(track.frames for track in summary.tracks) == sum(len(one.faces) for one in events)


def test_doubts_are_counted_by_face_and_by_hop() -> None:
    dark = msgspec.structs.replace(face(), doubts=("face is dark",))
    noisy = msgspec.structs.replace(speech(), doubts=("voice is noisy",))
    found = summarize([event(0, faces=[dark, face(track=2)], heard=noisy), event(1, faces=[dark], heard=speech())])
    assert found.doubts == {"face": {"face is dark": 2}, "speech": {"voice is noisy": 1}}
