"""Events → stretches of one label."""

from __future__ import annotations

import itertools
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, FaceMeasures, Latency, Speech, TrackedFace, Verdict
from bimodal.recordings.segments import Segment, SegmentFinder, frame_seconds, in_order, segments
from tests.recordings.events import event as plain
from tests.recordings.events import hop

LABELS = ("happy", "sad", "neutral")


def event(t: float, faces: dict[int, str], voice: str | None = None) -> Emotion:
    return Emotion(
        stream="clip",
        seq=round(t * 25),
        t=t,
        faces=tuple(
            TrackedFace(
                track=track,
                box=(0, 0, 9, 9),
                score=1.0,
                static={label: 0.8},
                dynamic=None,
                video={label: 0.8},
                fused={label: 0.8},
                label=label,
                confidence=0.8,
                weights={"video": 1.0, "speech": 0.0},
            )
            for track, label in faces.items()
        ),
        speech=None if voice is None else Speech(label=voice, probabilities={voice: 0.6}, voice=1.0, age_ms=0.0),
        emotion=Verdict(label=None, confidence=None),
        latency_ms=Latency(queue=0.0, inference=0.0, total=0.0),
        models={},
    )


def times(found: list[Segment], kind: str) -> list[tuple[float, float, int | None, str, int]]:
    return [(round(s.start, 2), round(s.end, 2), s.track, s.label, s.frames) for s in found if s.kind == kind]


def test_a_label_a_gap_or_another_track_ends_a_segment() -> None:
    events = [event(n / 10, {1: "happy"}) for n in range(4)]
    events += [event(n / 10, {1: "sad", 2: "sad"}, "neutral") for n in range(4, 8)]
    events += [event(n / 10, {}) for n in range(8, 14)]
    events += [event(n / 10, {1: "sad"}) for n in range(14, 16)]
    found = segments(events)
    assert times(found, "face") == [
        (0.0, 0.4, 1, "happy", 4),
        (0.4, 0.8, 1, "sad", 4),
        (0.4, 0.8, 2, "sad", 4),
        (1.4, 1.6, 1, "sad", 2),
    ]
    assert times(found, "voice") == [(0.4, 0.8, None, "neutral", 4)]


def test_a_label_that_does_not_last_ends_nothing() -> None:
    labels = ["happy"] * 10 + ["sad"] * 5 + ["neutral"] * 2 + ["happy"] * 10
    found = segments([event(n / 25, {1: label}) for n, label in enumerate(labels)])
    assert times(found, "face") == [(0.0, 1.08, 1, "happy", 27)]
    # 20 of 27 frames are happy with 0.8; the others say nothing of it.
    assert found[0].confidence == pytest.approx(20 * 0.8 / 27)
    assert found[0].peak == 0.8


def test_the_frame_rate_does_not_matter() -> None:
    for rate in (10, 25, 100):
        labels = ["happy"] * rate + ["sad"] * (rate // 5) + ["happy"] * rate + ["sad"] * rate
        found = segments([event(n / rate, {1: label}) for n, label in enumerate(labels)])
        assert [(s.label, s.start, s.end) for s in found if s.kind == "face"] == [
            ("happy", 0.0, pytest.approx(2.2)),
            ("sad", pytest.approx(2.2), pytest.approx(3.2)),
        ]


def test_a_cut_ends_a_segment_and_is_one() -> None:
    frames = [event(n / 25, {1: "happy"}) for n in range(50)]
    film = [msgspec.structs.replace(one, shot=n // 25) for n, one in enumerate(frames)]
    found = segments(film)
    assert times(found, "face") == [(0.0, 1.0, 1, "happy", 25), (1.0, 2.0, 1, "happy", 25)]
    assert times(found, "shot") == [(0.0, 1.0, None, "shot 0", 25), (1.0, 2.0, None, "shot 1", 25)]


def test_turns_bridge_pauses_and_blinks_have_their_length() -> None:
    spoken = [*range(25), *range(37, 50), *range(90, 100)]
    film = []
    for n in range(100):
        (face,) = event(n / 25, {1: "happy"}).faces
        weights = {"video": 0.5, "speech": 0.5} if n in spoken else {"video": 1.0, "speech": 0.0}
        measures = FaceMeasures(blink_ms=160.0) if n == 30 else None
        face = msgspec.structs.replace(face, weights=weights, face=measures)
        film.append(msgspec.structs.replace(event(n / 25, {}), faces=(face,)))
    found = segments(film)
    assert times(found, "turn") == [(0.0, 2.0, 1, "speaks", 38), (3.6, 4.0, 1, "speaks", 10)]
    assert times(found, "blink") == [(1.04, 1.2, 1, "blink", 1)]


def test_nothing_gives_nothing() -> None:
    assert segments([]) == []
    assert frame_seconds([event(0.0, {})]) == 0.0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.dictionaries(st.integers(1, 3), st.sampled_from(LABELS), max_size=3), max_size=40))
def test_every_face_of_every_frame_is_in_one_segment(frames: list[dict[int, str]]) -> None:
    events = [event(n / 25, faces) for n, faces in enumerate(frames)]
    found = segments(events)
    counted: Counter[int | None] = Counter()
    for segment in found:
        counted[segment.track] += segment.frames
    assert counted == Counter(track for faces in frames for track in faces)
    assert [s.start for s in found] == sorted(s.start for s in found)
    for track in counted:
        own = [segment for segment in found if segment.track == track]
        assert all(after.start >= before.end - 1e-9 for before, after in itertools.pairwise(own))
    finder = SegmentFinder(hops=False)
    live = [segment for one in events for segment in finder.on_event(one)] + finder.finish()
    assert in_order(live) == found


def test_the_voice_has_segments_where_no_picture_is() -> None:
    """One picture and a talk, in two channels."""
    said = [hop(n, label) for n, label in enumerate(["sad", "sad", None, None, "happy"])]
    found = [one for one in segments([plain(0)], said) if one.kind == "voice"]
    assert [(one.start, one.end, one.track, one.label, one.frames) for one in found] == [
        (0.0, 1.0, None, "sad", 2),
        (2.0, 2.5, None, "happy", 1),
    ]
    both = [hop(n, "sad" if side == "left" else None, side) for n in range(4) for side in ("left", "right")]
    found = segments([plain(0)], both)
    assert [(one.start, one.end, one.channel) for one in found if one.kind == "voice"] == [(0.0, 2.0, "left")]
    assert {(one.start, one.end, one.channel) for one in found if one.kind == "turn"} == {
        (0.0, 2.0, "left"),
        (0.0, 2.0, "right"),
    }


def test_a_further_category_has_a_segment_where_it_has_half_of_the_whole() -> None:
    events = []
    for number in range(20):
        share = 0.7 if 5 <= number < 15 else 0.3
        seen = msgspec.structs.replace(event(number / 10, {1: "happy"}).faces[0], other={"contempt": share})
        events.append(msgspec.structs.replace(event(number / 10, {1: "happy"}), faces=(seen,)))
    found = segments(events)
    assert times(found, "other") == [(0.5, 1.5, 1, "contempt", 10)]
    (one,) = [each for each in found if each.kind == "other"]
    assert (one.confidence, one.peak) == (pytest.approx(0.7), 0.7)
    assert times(found, "face") == [(0.0, 2.0, 1, "happy", 20)], "what the emotions are is not changed"
