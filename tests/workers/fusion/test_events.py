"""The event that users see: boxes in pixels of the picture as it is shown."""

from __future__ import annotations

import math
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.events import Emotion, FaceMeasures, Hop, VoiceMeasures
from bimodal.workers.fusion.events import DECIMALS, _four, _rounded
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import Fusion
from tests.workers.fusion.making import ended, face, failed, frame, hop, opened


def events_of(*messages: object) -> list[Emotion]:
    fusion = Fusion(FusionSettings())
    fusion.receive(opened(has_sound=False), 0)
    found = [out for message in messages for out in fusion.receive(message, 0)]  # type: ignore[arg-type]
    return [event for event in found if isinstance(event, Emotion)]


@pytest.mark.parametrize(
    ("looked_at", "shown", "box"),
    [
        ((1280, 720), (3840, 2160), (300, 300, 240, 240)),
        ((1280, 720), (1280, 720), (100, 100, 80, 80)),
        ((1024, 576), (1024, 1152), (100, 200, 80, 160)),
        (None, (1920, 1080), (100, 100, 80, 80)),
    ],
)
def test_boxes_are_in_pixels_of_the_picture_as_it_is_shown(
    looked_at: tuple[int, int] | None, shown: tuple[int, int], box: tuple[int, ...]
) -> None:
    result = msgspec.structs.replace(frame(0, face(100.0, side=80.0)), frame=looked_at, size=shown)
    (event,) = events_of(result)
    assert (event.faces[0].box, event.size) == (box, shown)


def test_a_worker_of_an_older_version_says_no_size() -> None:
    (event,) = events_of(frame(0, face(100.0, side=80.0)))
    assert (event.faces[0].box, event.size) == ((100, 100, 80, 80), None)


def test_a_frame_that_failed_says_its_size_too() -> None:
    (event, *_) = events_of(msgspec.structs.replace(failed("face", 0), size=(640, 480)), ended("face", 1))
    assert (event.faces, event.size) == ((), (640, 480))


def test_what_a_face_does_is_in_pixels_of_the_picture_and_a_models_affect_stays_its_own() -> None:
    measures = FaceMeasures(eye_distance=20.0, yaw_deg=12.3456, valence=-0.5, arousal=0.25, affect="model")
    seen = msgspec.structs.replace(face(100.0), measures=measures)
    result = msgspec.structs.replace(frame(0, seen, face(300.0)), frame=(1280, 720), size=(2560, 1440))
    (event,) = events_of(result)
    told, derived = (one.face for one in event.faces)
    assert told is not None
    assert (told.eye_distance, told.yaw_deg) == (40.0, 12.35)
    assert (told.valence, told.arousal, told.affect) == (-0.5, 0.25, "model")
    assert derived is not None
    assert derived.affect == event.emotion.affect == "derived"
    assert derived.valence == pytest.approx(0.88 * 0.81, abs=0.1), "of a face that is surely happy"
    assert derived.yaw_deg is None


def test_a_voice_has_the_affect_of_its_model_where_there_is_one() -> None:
    fusion = Fusion(FusionSettings())
    fusion.receive(opened(has_picture=False), 0)
    said = msgspec.structs.replace(hop(0), valence=0.5, arousal=-0.5, measures=VoiceMeasures(f0_hz=123.456))
    first, second = (
        next(one for one in fusion.receive(message, 0) if isinstance(one, Hop)) for message in (said, hop(1))
    )
    assert (first.valence, first.arousal, first.affect) == (0.5, -0.5, "model")
    assert first.measures == VoiceMeasures(f0_hz=123.46)
    assert second.affect == "derived"


halves = st.integers(0, 10_000).map(lambda number: number / 10_000 + 0.00005)
near_halves = st.tuples(halves, st.sampled_from([-math.inf, math.inf])).map(lambda pair: math.nextafter(*pair))


@given(st.one_of(st.floats(0, 1), halves, near_halves, st.floats()))
def test_shares_are_rounded_to_the_bits_of_the_builtin(value: float) -> None:
    bits = struct.pack("d", round(value, DECIMALS))
    assert struct.pack("d", _four(value)) == bits
    assert struct.pack("d", _rounded({"happy": value})["happy"]) == bits
