"""Valence and arousal from probabilities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.affect import CIRCUMPLEX, derived
from bimodal.models.emotions import EMOTIONS


def test_each_emotion_has_its_place_and_mixtures_lie_between() -> None:
    assert set(CIRCUMPLEX) == set(EMOTIONS)
    for emotion, place in CIRCUMPLEX.items():
        assert derived({emotion: 1.0}) == pytest.approx(place)
    found = derived({"happy": 0.5, "neutral": 0.5})
    assert found == pytest.approx((0.405, 0.255))


def test_what_has_no_place_does_not_count() -> None:
    assert derived({"contempt": 1.0}) is None
    assert derived({}) is None
    assert derived({"sad": 0.6, "contempt": 0.4}) == pytest.approx(CIRCUMPLEX["sad"])
    assert derived({"sad": 0.2, "contempt": 0.8}) is None, "a place of less than half of it says nothing"
    assert derived({"joy": 1.0}) == pytest.approx(CIRCUMPLEX["happy"]), "a word of a set of one's own"


@given(st.dictionaries(st.sampled_from(EMOTIONS), st.floats(0, 1)))
def test_both_lie_between_minus_one_and_one(probabilities: dict[str, float]) -> None:
    found = derived(probabilities)
    assert found is None or all(-1 <= value <= 1 for value in found)
