"""Doubt lowers reliability and confidence in proportion, changes no order, and says why."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.doubt import FACE, VOICE, Doubt, doubts_of, face_doubts, flattened, share_of, voice_doubts

BOX = (0.0, 0.0, 120.0, 150.0)
ROW = Doubt("light", "dark", clear=0.2, worst=0.1, temperature=2.0, kept=0.5)
anything = st.none() | st.floats(allow_nan=True, allow_infinity=True)
masses = st.dictionaries(st.sampled_from("abcdefg"), st.floats(1e-6, 1), min_size=1).map(
    lambda found: {name: value / sum(found.values()) for name, value in found.items()}
)


def test_a_clear_face_and_a_clear_voice_have_none() -> None:
    assert face_doubts(BOX, 0.9, 0.5, 1.0, 1.0) == ((), 1.0, 1.0)
    assert voice_doubts(30.0, 8000.0, 0.0) == ((), 1.0, 1.0)


def test_what_nobody_measured_is_no_doubt() -> None:
    assert face_doubts(BOX, None, None, None, None) == voice_doubts(None, None, None) == ((), 1.0, 1.0)


@pytest.mark.parametrize(
    ("measures", "reasons"),
    [
        ((BOX, 0.3, 0.5, 1.0, 1.0), ("face is blurred",)),
        ((BOX, 0.9, 0.06, 1.0, 1.0), ("face is dark",)),
        ((BOX, 0.9, 0.5, 0.2, 1.0), ("eyes are covered",)),
        ((BOX, 0.5, 0.5, 1.0, 0.1), ("mouth is covered",)),
        (((0.0, 0.0, 20.0, 24.0), 0.4, 0.5, None, None), ("face is small",)),
        ((BOX, 0.3, 0.05, None, None), ("face is blurred", "face is dark")),
    ],
)
def test_a_face_says_what_is_wrong_and_counts_less(measures: tuple, reasons: tuple[str, ...]) -> None:
    doubts = face_doubts(*measures)
    assert doubts.reasons == reasons
    assert doubts.reliability < 0.9
    assert doubts.temperature >= 1.0


@pytest.mark.parametrize(
    ("measures", "reasons"),
    [
        ((12.0, 8000.0, 0.0), ("voice is noisy",)),
        ((30.0, 3500.0, 0.0), ("voice is narrow-band (telephone)",)),
        ((30.0, 8000.0, 0.1), ("voice is clipped",)),
    ],
)
def test_a_voice_says_what_is_wrong_and_counts_less(measures: tuple, reasons: tuple[str, ...]) -> None:
    doubts = voice_doubts(*measures)
    assert doubts.reasons == reasons
    assert doubts.reliability < 0.9


@pytest.mark.parametrize(("value", "share"), [(0.3, 0.0), (0.2, 0.0), (0.15, 0.5), (0.1, 1.0), (0.0, 1.0)])
def test_the_cost_grows_from_clear_to_worst(value: float, share: float) -> None:
    assert share_of(value, ROW) == pytest.approx(share)
    doubts = doubts_of({"light": value}, [ROW])
    assert doubts.temperature == pytest.approx(2.0**share)
    assert doubts.reliability == pytest.approx(1 - share / 2)
    assert bool(doubts.reasons) == (share >= 0.5)


@given(st.lists(anything, min_size=4, max_size=4), st.lists(anything, min_size=3, max_size=3))
def test_whatever_is_measured_gives_numbers_that_are_some(seen: list, heard: list) -> None:
    for doubts in (face_doubts(BOX, *seen), voice_doubts(*heard)):
        assert 0 < doubts.reliability <= 1
        assert 1 <= doubts.temperature < 10


def test_every_row_costs_something_and_none_lies_in_reverse() -> None:
    for row in (*FACE, *VOICE):
        assert row.clear != row.worst
        assert row.temperature >= 1
        assert 0 < row.kept < 1


@given(masses, st.floats(1.0, 5.0))
def test_flattening_keeps_the_order_and_makes_less_sure(probabilities: dict[str, float], temperature: float) -> None:
    found = flattened(probabilities, temperature)
    assert math.isclose(sum(found.values()), 1.0)
    assert max(found.values()) <= max(probabilities.values()) + 1e-9
    order = sorted(probabilities, key=probabilities.__getitem__)
    values = [found[name] for name in order]
    assert values == sorted(values)


def test_zeros_stay_zeros() -> None:
    assert flattened({"a": 1.0, "b": 0.0}, 2.0) == {"a": 1.0, "b": 0.0}
