"""The event that users see: boxes in pixels of the picture as it is shown."""

from __future__ import annotations

import msgspec
import pytest

from bimodal.broker.events import Emotion
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.streams import Fusion
from tests.workers.fusion.making import ended, face, failed, frame, opened


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
