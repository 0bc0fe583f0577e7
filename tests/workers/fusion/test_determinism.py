"""Under policy `every` the events depend on what the results say, not on when they come."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, Hop, Latency
from bimodal.broker.messages import LaneMessage, StreamClosed, StreamOpened
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import StreamFusion
from tests.workers.fusion.making import FRAME_NS, HOP_NS, MS, distributions, ended, face, failed, frame, hop, opened

NO_LATENCY = Latency(queue=0, inference=0, total=0)


@dataclass
class Film:
    """A stream and everything that workers and capture say about it, in its natural order."""

    opening: StreamOpened
    pictures: list[LaneMessage]
    sounds: list[LaneMessage]


@st.composite
def films(draw: st.DrawFn) -> Film:
    """Faces that come and go, hops that fail or are gated, sound that starts anywhere and ends off the grid."""
    frames, hops = draw(st.integers(0, 25)), draw(st.integers(0, 8))
    start_ns = draw(st.sampled_from([0, 70 * MS, 500 * MS, 5000 * MS]))
    last_ns = draw(st.integers(1, HOP_NS))
    pictures: list[LaneMessage] = [draw(picture(seq)) for seq in range(frames)]
    sounds = [
        draw(sound(seq, start_ns + (HOP_NS * seq + (last_ns if seq == hops - 1 else HOP_NS)))) for seq in range(hops)
    ]
    return Film(
        opened(sound_start_ns=start_ns, has_picture=draw(st.sampled_from([True, True, True, False])) or frames > 0),
        [*pictures, ended("face", frames)],
        [*sounds, ended("speech", hops)],
    )


@st.composite
def picture(draw: st.DrawFn, seq: int) -> LaneMessage:
    if draw(st.integers(0, 9)) == 0:
        return failed("face", seq)
    pts_ns = seq * 2 * FRAME_NS + draw(st.integers(0, FRAME_NS))
    faces = [
        face(
            200 * place + draw(st.integers(-9, 9)),
            mouth=0.2 + 0.1 * math.sin(seq * (place + 1)),
            probabilities=draw(distributions()),
            embedding=draw(st.one_of(st.none(), st.just([1.0, float(place)]))),
        )
        for place in draw(st.lists(st.integers(0, 2), unique=True))
    ]
    return frame(seq, *faces, pts_ns=pts_ns)


@st.composite
def sound(draw: st.DrawFn, seq: int, end_ns: int) -> LaneMessage:
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return msgspec.structs.replace(failed("speech", seq, "the model broke"), pts_ns=end_ns)
    if kind == 1:
        return hop(seq, None, voice=0.2, pts_ns=end_ns)
    result = hop(seq, voice=draw(st.floats(0, 1)), pts_ns=end_ns)
    return msgspec.structs.replace(result, probabilities=draw(distributions()))


def events(film: Film, order: list[LaneMessage]) -> list[Emotion | StreamClosed]:
    stream = StreamFusion(film.opening, FusionSettings())
    found = [event for now_ns, message in enumerate(order) for event in stream.receive(message, now_ns * MS)]
    assert stream.held == 0
    return [
        msgspec.structs.replace(event, latency_ms=NO_LATENCY) if isinstance(event, Emotion) else event
        for event in found
        if not isinstance(event, Hop)
    ]


def hops(film: Film, order: list[LaneMessage]) -> list[Hop]:
    stream = StreamFusion(film.opening, FusionSettings())
    found = [event for message in order for event in stream.receive(message, 0)]
    return [msgspec.structs.replace(event, latency_ms=NO_LATENCY) for event in found if isinstance(event, Hop)]


@given(films(), st.data())
@settings(max_examples=30, deadline=None)
def test_every_hop_is_an_event_whatever_comes_first(film: Film, data: st.DataObject) -> None:
    expected = hops(film, [*film.sounds, *film.pictures])
    assert [hop.seq for hop in expected] == list(range(len(film.sounds) - 1))
    assert hops(film, data.draw(st.permutations([*film.pictures, *film.sounds]))) == expected


@given(films(), st.data())
@settings(max_examples=80, deadline=None)
def test_any_interleaving_gives_the_same_events(film: Film, data: st.DataObject) -> None:
    expected = events(film, [*film.sounds, *film.pictures])
    assert events(film, [*film.pictures, *film.sounds]) == expected
    shuffled = data.draw(st.permutations([*film.pictures, *film.sounds]))
    assert events(film, shuffled) == expected
    assert isinstance(expected[-1], StreamClosed)
    assert expected[-1].frames == len(expected) - 1
    shown = film.pictures if film.opening.has_picture else film.sounds
    assert len(expected) == len(shown)


@given(films(), st.data())
@settings(max_examples=30, deadline=None)
def test_results_told_twice_change_nothing(film: Film, data: st.DataObject) -> None:
    messages = [*film.pictures, *film.sounds]
    again = data.draw(st.lists(st.sampled_from(messages), max_size=10))
    twice = data.draw(st.permutations([*messages, *again]))
    stream = StreamFusion(film.opening, FusionSettings())
    found = [event for message in twice for event in stream.receive(message, 0)]
    once = StreamFusion(film.opening, FusionSettings())
    first = [event for message in messages for event in once.receive(message, 0)]
    for kind in (Emotion, Hop, StreamClosed):
        assert [event for event in found if isinstance(event, kind)] == [e for e in first if isinstance(e, kind)]


@given(films(), st.data())
@settings(max_examples=30, deadline=None)
def test_live_every_frame_is_told_and_the_stream_closes_in_any_order(film: Film, data: st.DataObject) -> None:
    live = Film(msgspec.structs.replace(film.opening, policy="latest"), film.pictures, film.sounds)
    found = events(live, data.draw(st.permutations([*film.pictures, *film.sounds])))
    shown = film.pictures if film.opening.has_picture else film.sounds
    assert [event.seq for event in found if isinstance(event, Emotion)] == list(range(len(shown) - 1))
    assert isinstance(found[-1], StreamClosed)
    for event in found[:-1]:
        assert isinstance(event, Emotion)
        assert (event.emotion.label is None) == (event.emotion.because is not None)
        for seen in event.faces:
            assert abs(sum(seen.fused.values()) - 1) < 1e-3
