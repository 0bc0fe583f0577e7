"""Smoothing knows seconds, not frames."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS
from bimodal.workers.fusion.scene import Smoother
from tests.workers.fusion.making import MS, distributions, sure

SECOND = 1000 * MS


def test_the_first_value_is_taken_as_it_is() -> None:
    assert Smoother(0.3).update(5 * SECOND, sure("sad")) == sure("sad")


def test_without_a_time_constant_nothing_is_smoothed() -> None:
    smoother = Smoother(0)
    smoother.update(0, sure("sad"))
    assert smoother.update(40 * MS, sure("happy")) == sure("happy")


@given(st.lists(distributions(EMOTIONS), min_size=2, max_size=8), st.floats(0.01, 3), st.integers(2, 7))
def test_the_frame_rate_does_not_matter(knots: list[dict[str, float]], constant: float, finer: int) -> None:
    """A signal that runs straight from knot to knot, sampled at its knots and `finer` times as often."""
    coarse, fine = Smoother(constant), Smoother(constant)
    step = 105 * 4 * MS
    value = coarse.update(0, knots[0])
    same = fine.update(0, knots[0])
    for index, (before, after) in enumerate(pairwise(knots)):
        value = coarse.update((index + 1) * step, after)
        for part in range(1, finer + 1):
            share = part / finer
            mixed = {emotion: (1 - share) * before[emotion] + share * after[emotion] for emotion in after}
            same = fine.update(index * step + round(step * share), mixed)
    assert same == pytest.approx(value, abs=1e-6)


def test_ten_and_fifty_frames_a_second_agree_on_a_step() -> None:
    values = []
    for fps in (10, 50):
        smoother = Smoother(0.3)
        for index in range(fps + 1):
            value = smoother.update(index * SECOND // fps, sure("happy" if 2 * index >= fps else "sad"))
        values.append(value["happy"])
    assert values[0] == pytest.approx(values[1], abs=0.03)


def test_a_step_takes_the_time_constant() -> None:
    smoother = Smoother(0.5)
    smoother.update(0, {"sad": 1.0, "happy": 0.0})
    smoother.update(1, {"sad": 0.0, "happy": 1.0})
    value = smoother.update(SECOND // 2, {"sad": 0.0, "happy": 1.0})
    assert value["happy"] == pytest.approx(1 - math.exp(-1), abs=1e-6)


@given(st.lists(st.tuples(st.integers(-SECOND, 3 * SECOND), distributions()), min_size=1, max_size=20), st.floats(0, 5))
def test_it_stays_probabilities_over_the_classes_of_the_moment(
    samples: list[tuple[int, dict[str, float]]], constant: float
) -> None:
    smoother, pts_ns = Smoother(constant), 0
    for gap_ns, probabilities in samples:
        pts_ns += gap_ns
        value = smoother.update(pts_ns, probabilities)
        assert set(value) == set(probabilities)
        assert math.isclose(sum(value.values()), 1.0, abs_tol=1e-9)
        assert min(value.values()) >= 0.0


@given(distributions(EMOTIONS), distributions(EMOTIONS), st.integers(1, 3 * SECOND))
def test_it_lies_between_what_was_and_what_is(before: dict[str, float], after: dict[str, float], gap_ns: int) -> None:
    smoother = Smoother(0.3)
    smoother.update(0, before)
    value = smoother.update(gap_ns, after)
    for emotion in EMOTIONS:
        low, high = sorted((before[emotion], after[emotion]))
        assert low - 1e-9 <= value[emotion] <= high + 1e-9


def test_a_jump_back_in_time_does_not_stop_it() -> None:
    smoother = Smoother(0.1)
    smoother.update(3600 * SECOND, sure("sad"))
    assert smoother.update(0, sure("happy"))["sad"] == pytest.approx(0.88)
    assert smoother.update(SECOND, sure("happy"))["happy"] > 0.87


def test_an_emotion_that_appears_starts_at_its_own_value() -> None:
    smoother = Smoother(0.3)
    smoother.update(0, {"happy": 0.5, "sad": 0.5})
    value = smoother.update(1, {"happy": 0.25, "sad": 0.25, "fear": 0.5})
    assert value["fear"] == pytest.approx(1 / 3, abs=1e-3)
