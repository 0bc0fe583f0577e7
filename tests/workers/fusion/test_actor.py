"""Other settings in the middle of a stream: nothing that is remembered is lost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.events import Emotion
from bimodal.broker.messages import StreamClosed
from bimodal.models.session import open_artifact
from bimodal.workers.fusion.actor import FORGOTTEN_AFTER_S, WrongAnswers
from bimodal.workers.fusion.dynamic import dynamic_model
from bimodal.workers.fusion.scene import FusionModels
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import Fusion, StreamFusion
from tests.artifacts import make_face_dynamic, without_numbers
from tests.workers.fusion.making import FRAME_NS, ended, face, frame, hop, opened
from tests.workers.fusion.test_determinism import Film, films
from tests.workers.fusion.test_dynamic import Recorder

Events = list[Emotion | StreamClosed]


def emotions(events: Events) -> list[Emotion]:
    return [event for event in events if isinstance(event, Emotion)]


@given(films(), st.data())
@settings(max_examples=20, deadline=None)
def test_the_same_settings_again_change_nothing(film: Film, data: st.DataObject) -> None:
    messages = data.draw(st.permutations([*film.pictures, *film.sounds]))
    moment = data.draw(st.integers(0, len(messages)))
    dynamic = Recorder(steps=2, dimensions=2).model
    plain = StreamFusion(film.opening, FusionSettings(), FusionModels(dynamic))
    expected = [event for message in messages for event in plain.receive(message, 0)]
    told = StreamFusion(film.opening, FusionSettings(), FusionModels(dynamic))
    found: Events = []
    for number, message in enumerate(messages):
        if number == moment:
            told.reconfigure(FusionSettings(), FusionModels(dynamic))
        found += told.receive(message, 0)
    assert found == expected


@given(
    films(),
    st.integers(0, 30),
    st.builds(
        FusionSettings,
        strategy=st.sampled_from(["worth", "average", "product"]),
        smoothing_s=st.floats(0, 2),
        speech_delay_ms=st.floats(0, 500),
        speech_max_age_s=st.floats(0.1, 5),
        speaker_window_s=st.floats(0.1, 5),
        turn_s=st.floats(0, 10),
        turn_pause_s=st.floats(0.1, 3),
        order_limit=st.integers(1, 64),
    ),
)
@settings(max_examples=30, deadline=None)
def test_with_any_settings_every_frame_keeps_its_event_and_every_face_its_track(
    film: Film, moment: int, others: FusionSettings
) -> None:
    messages = [*film.sounds, *film.pictures]
    plain, told = StreamFusion(film.opening, FusionSettings()), StreamFusion(film.opening, FusionSettings())
    expected: Events = []
    found: Events = []
    for number, message in enumerate(messages):
        if number == len(messages) - moment:
            told.reconfigure(others)
        expected += plain.receive(message, 0)
        found += told.receive(message, 0)
    assert told.held == 0
    assert [event.seq for event in emotions(found)] == [event.seq for event in emotions(expected)]
    assert [[each.track for each in event.faces] for event in emotions(found)] == [
        [each.track for each in event.faces] for event in emotions(expected)
    ]
    assert isinstance(found[-1], StreamClosed)


def test_another_dynamic_model_begins_with_an_empty_window_and_the_same_one_goes_on() -> None:
    first, second = Recorder(steps=2), Recorder(steps=3)
    fusion = Fusion(FusionSettings(), FusionModels(first.model))
    fusion.receive(opened(has_sound=False), 0)
    fusion.receive(ended("speech", 0), 0)

    def look(start: int) -> list[Emotion]:
        found: Events = []
        for seq in range(start, start + 10):
            found += fusion.receive(frame(seq, face(embedding=[float(seq)]), pts_ns=seq * 5 * FRAME_NS), 0)
        return emotions(found)

    before = look(0)
    assert [event.faces[0].dynamic is not None for event in before] == [False] + [True] * 9
    fusion.reconfigure(FusionSettings(smoothing_s=0.0), FusionModels(first.model))
    assert all(event.faces[0].dynamic is not None for event in look(10))
    fusion.reconfigure(FusionSettings(smoothing_s=0.0), FusionModels(second.model))
    after = look(20)
    assert [event.faces[0].dynamic is not None for event in after] == [False, False] + [True] * 8
    assert second.windows()[0] == [20.0, 21.0, 22.0]
    assert {event.faces[0].track for event in [*before, *after]} == {1}
    assert {event.models["face-dynamic"] for event in after[2:]} == {"recorder@1"}
    fusion.reconfigure(FusionSettings())
    assert all(event.faces[0].dynamic is None for event in look(30))


def test_streams_to_come_begin_with_the_new_settings() -> None:
    fusion = Fusion(FusionSettings())
    fusion.reconfigure(FusionSettings(min_confidence=1.0))
    found: Events = []
    for message in (opened(), hop(0), ended("speech", 1), frame(0, face()), ended("face", 1)):
        found += fusion.receive(message, 0)
    assert emotions(found)[0].emotion.label is None


def test_a_dynamic_model_that_answers_with_no_numbers_is_left_out_and_said(tmp_path: Path) -> None:
    good = open_artifact(make_face_dynamic(tmp_path / "dynamic.onnx"), "face-dynamic", provider="cpu")
    _, count, size = good.inputs[0].shape
    assert isinstance(count, int)
    assert isinstance(size, int)
    steps, wrong = np.ones((1, count, size), np.float32), WrongAnswers()
    assert dynamic_model(wrong.watched(good)).predict(steps).probabilities
    assert wrong.degraded_reason(time.monotonic()) is None
    broken = dynamic_model(wrong.watched(without_numbers(good, "probabilities")))
    assert broken.predict(steps).probabilities == {}
    now = time.monotonic()
    assert f"{good.identity} answers with something that is no number" in str(wrong.degraded_reason(now))
    assert wrong.degraded_reason(now + FORGOTTEN_AFTER_S + 1) is None
