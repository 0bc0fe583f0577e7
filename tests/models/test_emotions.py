"""Foreign label sets map onto the seven emotions without inventing anything."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bimodal.models.emotions import EMOTIONS, OUTSIDE, SYNONYMS, LabelMap, emotion_of
from bimodal.models.errors import LabelError

label_sets = st.lists(st.sampled_from(sorted(SYNONYMS) + sorted(OUTSIDE)), min_size=1, max_size=10)


@pytest.mark.parametrize(
    ("label", "emotion"),
    [
        ("Happiness", "happy"),
        ("angry", "anger"),
        ("calm", "neutral"),
        (" Fearful ", "fear"),
        ("Pleasant surprise", "surprise"),
        ("contempt", None),
        ("NF", None),
    ],
)
def test_foreign_words_are_understood(label: str, emotion: str | None) -> None:
    assert emotion_of(label) == emotion


def test_a_word_that_is_no_emotion_is_refused() -> None:
    with pytest.raises(LabelError, match="'hungry'"):
        emotion_of("hungry")
    with pytest.raises(LabelError, match="none of the labels"):
        LabelMap(["contempt", "unknown"])


def test_calm_counts_as_neutral_and_contempt_is_left_out() -> None:
    (row,) = LabelMap(["neutral", "calm", "happy", "contempt"]).apply(np.array([[0.2, 0.2, 0.2, 0.4]]))
    assert row == pytest.approx({"neutral": 2 / 3, "happy": 1 / 3})


def test_what_a_model_does_not_know_is_absent_and_not_zero() -> None:
    mapped = LabelMap(["anger", "neutral"])
    assert mapped.known == ("neutral", "anger")
    assert set(mapped.apply(np.array([[1.0, 0.0]]))[0]) == {"neutral", "anger"}


def test_a_row_that_is_all_contempt_knows_nothing() -> None:
    (row,) = LabelMap(["contempt", "happy", "sad"]).apply(np.array([[1.0, 0.0, 0.0]]))
    assert row == pytest.approx({"happy": 0.5, "sad": 0.5})


@given(label_sets, st.data())
def test_rows_sum_to_one_over_the_known_emotions(labels: list[str], data: st.DataObject) -> None:
    if all(label in OUTSIDE for label in labels):
        return
    mapped = LabelMap(labels)
    raw = data.draw(arrays(np.float32, (3, len(labels)), elements=st.floats(0, 1, width=32)))
    probabilities = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6)
    for row in mapped.apply(probabilities):
        assert tuple(row) == mapped.known
        assert sum(row.values()) == pytest.approx(1.0, abs=1e-5)
        assert all(0.0 <= value <= 1.0 + 1e-6 for value in row.values())
    assert set(mapped.known) <= set(EMOTIONS)
