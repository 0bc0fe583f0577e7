"""Emotions and categories of one's own, from the workers' results to events."""

from __future__ import annotations

import msgspec
import pytest

from bimodal.broker.events import Emotion, Hop
from bimodal.broker.messages import FaceResult, SpeechResult
from bimodal.models.doubt import Doubts
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.fusion import scene
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import Fusion
from tests.workers.fusion.making import ended, face, frame, hop, opened

OWN = ("neutral", "bored", "engaged")
PLAIN = FusionSettings(smoothing_s=0, talking_s=0, turn_s=0, speech_delay_ms=0)


def seen(seq: int, contempt: float | None, **probabilities: float) -> FaceResult:
    one = face(probabilities=probabilities or None)
    other = {} if contempt is None else {"contempt": contempt, "noise": 0.5}
    return frame(seq, msgspec.structs.replace(one, other=other), pts_ns=seq * 1_000_000_000)


def heard(seq: int, contempt: float | None, **probabilities: float) -> SpeechResult:
    found = hop(seq, pts_ns=(seq + 1) * 200_000_000)
    other = {} if contempt is None else {"contempt": contempt}
    return msgspec.structs.replace(found, other=other, probabilities=probabilities or found.probabilities)


def events_of(settings: FusionSettings, *messages: object, **announced: object) -> list[Emotion | Hop]:
    fusion = Fusion(settings)
    fusion.receive(opened(**announced), 0)
    found = [out for message in messages for out in fusion.receive(message, 0)]  # type: ignore[arg-type]
    return [one for one in found if isinstance(one, Emotion | Hop)]


def test_a_category_is_in_the_event_of_face_voice_and_both() -> None:
    messages = [heard(0, 0.6), ended("speech", 1), seen(0, 0.1), seen(1, 0.4)]
    found = events_of(PLAIN, *messages, ended("face", 2), categories=("contempt",))
    (voice,) = [one for one in found if isinstance(one, Hop)]
    first, second = [one for one in found if isinstance(one, Emotion)]
    assert voice.other == {"contempt": 0.6}
    assert first.faces[0].other == {"contempt": 0.1}, "no voice yet"
    assert second.speech is not None
    assert second.speech.other == {"contempt": 0.6}
    assert second.emotion.other == second.faces[0].other
    assert second.faces[0].video_other == {"contempt": 0.4}, "the face alone"
    assert isinstance(second.emotion.other, dict)
    assert 0 < second.emotion.other["contempt"] < 1
    assert "noise" not in second.emotion.other, "what does not count is not there"


def test_categories_change_nothing_else() -> None:
    messages = [heard(0, 0.9), heard(1, 0.2), ended("speech", 2), *(seen(n, 0.3) for n in range(3)), ended("face", 3)]
    plain = events_of(FusionSettings(), *messages)
    further = events_of(FusionSettings(), *messages, categories=("contempt",))
    assert b'"other"' not in msgspec.json.encode(plain), "no key where there is nothing"
    stripped = msgspec.json.decode(msgspec.json.encode(further))
    for event in stripped:
        for place in (event, event.get("speech"), event.get("emotion"), *event.get("faces", ())):
            if isinstance(place, dict):
                place.pop("other", None)
                place.pop("video_other", None)
    assert stripped == msgspec.json.decode(msgspec.json.encode(plain))


def test_smoothing_follows_a_category() -> None:
    settings = FusionSettings(smoothing_s=2.0, talking_s=0)
    found = events_of(settings, ended("speech", 0), seen(0, 0.0), seen(1, 1.0), categories=("contempt",))
    first, second = [one for one in found if isinstance(one, Emotion)]
    assert first.emotion.other == {"contempt": 0.0}
    assert isinstance(second.emotion.other, dict)
    assert 0.1 < second.emotion.other["contempt"] < 0.5


def test_a_doubt_with_a_temperature_makes_a_face_less_sure_of_a_category_too(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for temperature in (1.0, 1.5):
        monkeypatch.setattr(scene, "face_doubts", lambda *_, t=temperature: Doubts(("face is blurred",), t, 1.0))
        one = msgspec.structs.replace(face(), other={"contempt": 0.7})
        (event,) = events_of(PLAIN, ended("speech", 0), frame(0, one), categories=("contempt",))
        assert isinstance(event, Emotion)
        assert isinstance(event.emotion.other, dict)
        found.append(event.emotion.other["contempt"])
    assert found[0] == 0.7
    assert 0.3 < found[1] < 0.7


def test_a_set_of_ones_own_labels_events() -> None:
    messages = [
        heard(0, None, bored=0.9, engaged=0.1),
        ended("speech", 1),
        seen(0, None, neutral=0.2, bored=0.3, engaged=0.5),
        seen(1, None, neutral=0.2, bored=0.3, engaged=0.5),
    ]
    found = events_of(PLAIN, *messages, ended("face", 2), emotions=OWN)
    (voice,) = [one for one in found if isinstance(one, Hop)]
    first, second = [one for one in found if isinstance(one, Emotion)]
    assert (voice.label, first.emotion.label, second.emotion.label) == ("bored", "engaged", "bored")
    assert list(second.faces[0].fused) == list(OWN)
    assert voice.valence is None, "no place in the circumplex is known"


def test_results_of_another_set_are_not_readable() -> None:
    found = events_of(PLAIN, ended("speech", 0), seen(0, None, bored=0.5, engaged=0.5))
    (event,) = [one for one in found if isinstance(one, Emotion)]
    assert event.faces == ()
    assert event.emotion.because == "face not readable, no speech yet"


def test_dominance_is_that_of_the_speech_model() -> None:
    said = msgspec.structs.replace(hop(0, pts_ns=200_000_000), valence=0.1, arousal=0.2, dominance=-0.31234)
    found = events_of(PLAIN, said, hop(1, pts_ns=400_000_000), ended("speech", 2), seen(0, None), seen(1, None))
    first, second = [one for one in found if isinstance(one, Hop)]
    assert first.dominance == pytest.approx(-0.3123)
    assert second.dominance is msgspec.UNSET
    assert b'"dominance"' not in msgspec.json.encode(second)
    assert list(EMOTIONS) == list(first.probabilities or {})
