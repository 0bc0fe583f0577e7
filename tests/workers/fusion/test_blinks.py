"""Blinks in courses of the eyes' opening."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.workers.fusion.blinks import BlinkFinder, EyesState

FRAME_NS = 40_000_000
# Mean opening of both eyes in frames of a recorded person who blinks once, at 25 frames a second.
RECORDED = [0.32, 0.33, 0.32, 0.32, 0.3, 0.225, 0.225, 0.26, 0.285, 0.3, 0.305, 0.31, 0.32, 0.32, 0.32]


def follow(openings: list[float | None], frame_ns: int = FRAME_NS) -> list[EyesState]:
    finder = BlinkFinder()
    return [finder.update(number * frame_ns, opening) for number, opening in enumerate(openings)]


def blinks(openings: list[float | None], frame_ns: int = FRAME_NS) -> list[float]:
    return [state.blink_ms for state in follow(openings, frame_ns) if state.blink_ms is not None]


def test_a_recorded_blink_is_one_blink_of_its_length() -> None:
    (found,) = blinks([*[0.32] * 20, *RECORDED])
    assert 90 < found < 160


def test_a_blink_is_as_long_at_another_frame_rate() -> None:
    """A dip in the form of a half sine, 240 ms long, is below its half for two thirds of them."""
    for frame_ns in (FRAME_NS, FRAME_NS // 2, FRAME_NS // 3):
        times = range(0, 2_000_000_000, frame_ns)
        phase = [(time - 1_000_000_000) / 240e6 for time in times]
        course = [0.3 - 0.2 * math.sin(math.pi * at) if 0 <= at <= 1 else 0.3 for at in phase]
        (found,) = blinks([*course], frame_ns)
        assert found == pytest.approx(160, abs=25)


def test_closed_eyes_are_closed_and_no_blink() -> None:
    states = follow([*[0.3] * 20, *[0.1] * 40, *[0.3] * 20])
    assert [state.blink_ms for state in states] == [None] * 80
    assert not any(state.closed for state in states[:20])
    assert states[25].closed
    assert not states[-1].closed


@pytest.mark.parametrize("openings", [[0.3, 0.25, 0.28] * 20, [0.3] * 40, [None] * 5, [0.3, None] * 20])
def test_a_smile_still_eyes_and_no_mesh_are_no_blinks(openings: list[float | None]) -> None:
    assert blinks(openings) == []


def test_pictures_far_apart_say_nothing() -> None:
    assert blinks([0.3, 0.1] * 20, 10 * FRAME_NS) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.floats(0, 2), max_size=60), st.sampled_from([FRAME_NS, FRAME_NS // 4, 0]))
def test_whatever_comes_a_blink_has_a_length(openings: list[float | None], frame_ns: int) -> None:
    assert all(0 <= length <= 500.001 for length in blinks(openings, frame_ns))
