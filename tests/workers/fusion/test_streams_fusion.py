"""Many streams at once; a new run takes the place of the old one."""

from __future__ import annotations

from msgspec.structs import replace

from bimodal.broker.events import Emotion, Hop
from bimodal.broker.messages import Face, SpeechResult, StreamClosed
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import Fusion
from tests.workers.fusion.making import ended, face, frame, hop, opened

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


def event_of(one: Face, heard: SpeechResult) -> Emotion:
    """The event of a face and the hop that ended before it."""
    fusion = Fusion(FusionSettings(speech_delay_ms=0))
    fusion.receive(opened(policy="latest"), 0)
    fusion.receive(heard, 0)
    event = next(e for e in fusion.receive(frame(0, one, pts_ns=heard.pts_ns), 0) if isinstance(e, Emotion))
    assert event.speech is not None
    return event


def test_a_face_that_is_seen_badly_counts_less_and_says_why() -> None:
    heard = hop(0, "sad")
    clear = event_of(face(), heard).faces[0]
    dark = event_of(replace(face(), light=0.05), heard).faces[0]
    masked = event_of(replace(face(), light=0.5, mouth_seen=0.1), heard).faces[0]
    assert clear.doubts == ()
    assert dark.doubts == ("face is dark",)
    assert masked.doubts == ("mouth is covered",)
    assert clear.weights["video"] > dark.weights["video"] > masked.weights["video"]
    assert masked.static == clear.static, "static stays what the model said"
    assert (masked.light, masked.eyes_seen, masked.mouth_seen) == (0.5, None, 0.1)


def test_a_voice_that_is_heard_badly_counts_less_is_less_sure_and_says_why() -> None:
    clear = event_of(face(), hop(0, "sad"))
    phone = event_of(face(), replace(hop(0, "sad"), snr_db=30.04, bandwidth_hz=3500.0, clipped=0.0))
    assert clear.speech is not None
    assert phone.speech is not None
    assert clear.speech.doubts == ()
    assert phone.speech.doubts == ("voice is narrow-band (telephone)",)
    assert (phone.speech.snr_db, phone.speech.bandwidth_hz, phone.speech.clipped) == (30.0, 3500.0, 0.0)
    assert phone.faces[0].weights["speech"] < clear.faces[0].weights["speech"]
    assert phone.speech.probabilities is not None
    assert clear.speech.probabilities is not None
    assert phone.speech.probabilities["sad"] < clear.speech.probabilities["sad"]


def test_the_event_of_a_hop_has_its_doubts_too() -> None:
    fusion = Fusion(FusionSettings())
    fusion.receive(opened(policy="latest"), 0)
    (heard,) = [e for e in fusion.receive(replace(hop(0), snr_db=3.0), 0) if isinstance(e, Hop)]
    assert heard.doubts == ("voice is noisy",)
    assert heard.snr_db == 3.0
    (gated,) = [e for e in fusion.receive(hop(1, None), 0) if isinstance(e, Hop)]
    assert gated.doubts == ()
