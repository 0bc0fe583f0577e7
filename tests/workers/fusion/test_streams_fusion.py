"""Many streams at once; a new run takes the place of the old one."""

from __future__ import annotations

from msgspec.structs import replace

from bimodal.broker.events import Emotion
from bimodal.broker.messages import StreamClosed
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import Fusion
from tests.workers.fusion.making import ended, face, frame, opened

silent = opened(has_sound=False, hop_ns=0)


def test_streams_do_not_mix() -> None:
    fusion = Fusion(FusionSettings())
    fusion.receive(silent, 0)
    fusion.receive(replace(silent, stream="desk"), 0)
    assert set(fusion.streams) == {"film", "desk"}
    (first,) = fusion.receive(frame(0, face(100)), 0)
    (second,) = fusion.receive(frame(0, face(300), stream="desk"), 0)
    assert isinstance(first, Emotion)
    assert isinstance(second, Emotion)
    assert (first.stream, second.stream) == ("film", "desk")
    assert first.faces[0].track == second.faces[0].track == 1


def test_a_stream_that_was_never_opened_is_ignored() -> None:
    assert Fusion(FusionSettings()).receive(frame(0, face()), 0) == []


def test_a_new_run_starts_everything_afresh() -> None:
    fusion = Fusion(FusionSettings())
    fusion.receive(silent, 0)
    fusion.receive(frame(0, face(100)), 0)
    fusion.receive(frame(1, face(100), face(400)), 0)
    fusion.receive(frame(3, face(100)), 0)
    assert fusion.held == 1
    fusion.receive(replace(silent, run=2), 0)
    assert fusion.held == 0
    assert fusion.receive(frame(2, face()), 0) == []
    (event,) = fusion.receive(frame(0, face(400), run=2), 0)
    assert isinstance(event, Emotion)
    assert (event.run, event.faces[0].track) == (2, 1)
    fusion.receive(silent, 0)
    assert len(fusion.receive(frame(1, face(400), run=2), 0)) == 1


def test_a_closed_run_is_over_but_may_be_closed_again_and_followed() -> None:
    fusion = Fusion(FusionSettings())
    fusion.receive(silent, 0)
    fusion.receive(ended("speech", 0), 0)
    closed = StreamClosed(stream="film", run=1)
    assert fusion.receive(ended("face", 0), 0) == [closed]
    assert fusion.streams == ()
    assert fusion.receive(frame(0, face()), 0) == []
    assert fusion.receive(silent, 0) == [closed]
    assert fusion.receive(replace(silent, run=0), 0) == []
    assert fusion.receive(replace(silent, run=2), 0) == []
    assert len(fusion.receive(frame(0, face(), run=2), 0)) == 1
    assert fusion.receive(silent, 0) == []


def test_the_same_run_announced_again_does_not_start_afresh() -> None:
    fusion = Fusion(FusionSettings())
    live = opened(policy="latest")
    fusion.receive(live, 0)
    fusion.receive(frame(0, face(100), face(400)), 0)
    fusion.receive(replace(live, next_face_seq=2), 0)
    (event,) = fusion.receive(frame(2, face(400)), 0)
    assert isinstance(event, Emotion)
    assert event.faces[0].track == 2
