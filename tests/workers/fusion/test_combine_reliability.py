"""Reliability is a number between 0 and 1, whatever comes in."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.fusion import combine

anything = st.floats(allow_nan=True, allow_infinity=True)


@given(anything, anything)
def test_it_is_between_0_and_1(one: float, other: float) -> None:
    assert 0.0 <= combine.of_face(one, other) <= 1.0
    assert 0.0 <= combine.of_speech(one, other) <= 1.0


def test_what_is_no_number_is_not_reliable() -> None:
    assert combine.unit(math.nan) == 0.0


@pytest.mark.parametrize(("age", "fresh"), [(0, 1.0), (320, 1.0), (1320, 0.5), (2320, 0.0), (9000, 0.0)])
def test_a_hop_is_fresh_until_the_next_is_due_then_fades(age: int, fresh: float) -> None:
    assert combine.freshness(age, 320, 2000) == pytest.approx(fresh)
