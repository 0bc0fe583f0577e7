"""Events → stretches of one label."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Hop, Latency, Speech, TrackedFace, Verdict
from bimodal.recordings.segments import frame_seconds, segments
from tests.recordings.events import event as plain

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


def test_a_label_a_gap_or_another_track_ends_a_segment() -> None:
    events = [event(n / 10, {1: "happy"}) for n in range(4)]
    events += [event(n / 10, {1: "sad", 2: "sad"}, "neutral") for n in range(4, 6)]
    events += [event(n / 10, {}) for n in range(6, 10)]
    events += [event(n / 10, {1: "sad"}) for n in range(10, 12)]
    found = [(round(s.start, 2), round(s.end, 2), s.track, s.label, s.frames) for s in segments(events)]
    assert found == [
        (0.0, 0.4, 1, "happy", 4),
        (0.4, 0.6, None, "neutral", 2),
        (0.4, 0.6, 1, "sad", 2),
        (0.4, 0.6, 2, "sad", 2),
        (1.0, 1.2, 1, "sad", 2),
    ]


def test_nothing_gives_nothing() -> None:
    assert segments([]) == []
    assert frame_seconds([event(0.0, {})]) == 0.0


@given(st.lists(st.dictionaries(st.integers(1, 3), st.sampled_from(LABELS), max_size=3), max_size=40))
def test_every_face_of_every_frame_is_in_one_segment(frames: list[dict[int, str]]) -> None:
    found = segments([event(n / 25, faces) for n, faces in enumerate(frames)])
    counted: Counter[tuple[int | None, str]] = Counter()
    for segment in found:
        counted[segment.track, segment.label] += segment.frames
    assert counted == Counter((track, label) for faces in frames for track, label in faces.items())
    assert [s.start for s in found] == sorted(s.start for s in found)


def test_the_voice_has_segments_where_no_picture_is() -> None:
    """One picture and a talk, in two channels."""

    def hop(seq: int, label: str | None, channel: str | None = None) -> Hop:
        return Hop(
            stream="clip",
            seq=seq,
            t=0.5 * (seq + 1),
            channel=channel,
            label=label,
            confidence=None if label is None else 0.6,
            probabilities=None,
            voice=1.0,
            because=None,
            latency_ms=Latency(queue=0.0, inference=0.0, total=0.0),
            models={},
        )

    said = [hop(n, label) for n, label in enumerate(["sad", "sad", None, None, "happy"])]
    found = segments([plain(0)], said)
    assert [(one.start, one.end, one.track, one.label, one.frames) for one in found] == [
        (0.0, 1.0, None, "sad", 2),
        (2.0, 2.5, None, "happy", 1),
    ]
    both = [hop(n, "sad" if side == "left" else None, side) for n in range(4) for side in ("left", "right")]
    assert [(one.start, one.end) for one in segments([plain(0)], both)] == [(0.0, 2.0)]
