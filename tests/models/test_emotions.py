"""Foreign label sets map onto the seven emotions without inventing anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bimodal.corpus.rows import table_columns
from bimodal.models.emotions import (
    EMOTIONS,
    FURTHER_COLOURS,
    OUTSIDE,
    SEVEN,
    SYNONYMS,
    EmotionSet,
    LabelMap,
    emotion_of,
    further_names,
    whole_of,
    wrong_names,
)
from bimodal.models.errors import ArtifactError, LabelError
from bimodal.recordings.tables import frame_columns, hop_columns
from bimodal.training.fusion.pairs import columns_of
from bimodal.workers.lsl import channels_of

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


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_row_of_no_numbers_is_no_even_distribution(value: float) -> None:
    with pytest.raises(ArtifactError, match="no probability"):
        LabelMap(["happy", "sad"]).apply(np.array([[value, 0.5]]))


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


# Sets of one's own.

FOUR = EmotionSet(("neutral", "joy", "bored", "engaged"), ("contempt",))


@pytest.mark.parametrize(
    ("label", "own", "meant"),
    [
        ("Happiness", (), "joy"),
        ("joy", (), "joy"),
        ("boredom", ("boredom",), "bored"),
        ("Engagement", (), "engaged"),
        ("contemptuous", (), "contempt"),
        ("anger", (), None),
        ("other", (), None),
        ("calm", (), "neutral"),
    ],
)
def test_a_set_of_ones_own_understands_foreign_words_too(label: str, own: tuple[str, ...], meant: str | None) -> None:
    assert FOUR.meant_by(label, own) == meant


def test_calm_counts_apart_where_it_is_asked_for() -> None:
    row = np.array([[0.2, 0.3, 0.5]])
    apart = LabelMap(["neutral", "calm", "happy"], emotions=EmotionSet(categories=("calm",)))
    (found,) = apart.split(row)
    assert found.probabilities == pytest.approx({"neutral": 2 / 7, "happy": 5 / 7})
    assert found.other == pytest.approx({"calm": 0.3})
    asked = LabelMap(["neutral", "calm", "happy"], emotions=EmotionSet(("neutral", "calm", "happy")))
    assert asked.apply(row)[0] == pytest.approx({"neutral": 0.2, "calm": 0.3, "happy": 0.5})


def test_a_model_that_knows_none_of_a_set_is_refused_with_a_true_sentence() -> None:
    with pytest.raises(LabelError, match="anger, disgust is one of the emotions neutral, joy, bored, engaged"):
        LabelMap(["anger", "disgust"], emotions=FOUR)


@pytest.mark.parametrize(
    ("emotions", "categories", "said"),
    [
        (("happy",), (), "2 to 32 emotions, not 1"),
        (("happy", "joy"), (), "'happy' and 'joy' mean the same"),
        (("happy", "happy"), (), "'happy' stands there twice"),
        (("neutral", "Happy"), (), "small letters"),
        (("neutral", "no label"), (), "small letters"),
        (("neutral", "unknown"), (), "means something else"),
        (("neutral", "worth"), (), "'worth' means something else"),
        (("neutral", "other_pain"), (), "'other_pain' means something else"),
        (("neutral", "bored"), ("boredom",), "'bored' and 'boredom' mean the same"),
        (("neutral", "bored"), ("calm",), None),
        (EMOTIONS, (), None),
    ],
)
def test_names_of_a_set(emotions: tuple[str, ...], categories: tuple[str, ...], said: str | None) -> None:
    wrong = wrong_names(emotions, categories)
    assert (wrong is None) if said is None else (wrong is not None and said in wrong)


def test_a_models_own_classes_are_its_categories_unless_the_set_has_them() -> None:
    labels, own = ("happy", "Contempt", "bored", "neutral"), ("bored",)
    assert further_names(labels, own, EMOTIONS) == ["contempt", "boredom"]
    assert further_names(labels, own, ("neutral", "bored")) == ["contempt"]
    assert further_names(("happy", "calm", "unknown"), (), EMOTIONS) == []


def test_every_label_has_one_of_the_seven_colours() -> None:
    assert [SEVEN.colour_of(name) for name in EMOTIONS] == list(EMOTIONS)
    colours = [FOUR.colour_of(name) for name in FOUR.emotions]
    assert colours[0] == "neutral"
    assert len(set(colours)) == 4
    assert set(colours) <= set(EMOTIONS)


@pytest.mark.parametrize("emotions", [EMOTIONS, tuple(f"own{number}" for number in range(9)), ("neutral", "bored")])
def test_fifteen_names_have_fifteen_colours(emotions: tuple[str, ...]) -> None:
    about = EmotionSet(emotions, tuple(f"further{number}" for number in range(15 - len(emotions))))
    names = (*about.emotions, *about.categories)
    assert len({about.colour_of(name) for name in names}) == 15
    assert {about.colour_of(name) for name in names} == {*EMOTIONS, *FURTHER_COLOURS}
    assert {EmotionSet(emotions, ("happy",)).colour_of("happy")} == {"happy"}, "one of the seven keeps its own"


def test_a_whole_is_a_distribution() -> None:
    whole = whole_of({"happy": 0.75, "sad": 0.25}, {"contempt": 0.2})
    assert whole == pytest.approx({"happy": 0.6, "sad": 0.2, "contempt": 0.2})


def test_two_sets_joined_hold_both() -> None:
    both = SEVEN.joined(EmotionSet(("neutral", "bored"), ("pain",), dominance=True))
    assert both == EmotionSet((*EMOTIONS, "bored"), ("pain",), dominance=True)
    assert SEVEN.joined(SEVEN) == SEVEN


@pytest.mark.parametrize(
    "columns",
    [
        lambda about: [column.name for column in frame_columns(about)],
        lambda about: [column.name for column in hop_columns(about)],
        lambda about: [channel.label for channel in channels_of(about)],
        lambda about: [name for name, _ in table_columns(about)],
        columns_of,
    ],
    ids=["frames", "hops", "lsl", "clips", "pairs"],
)
def test_no_name_that_is_taken_makes_a_column_of_something_else(columns: Callable[[EmotionSet], Sequence[str]]) -> None:
    fixed = set(columns(EmotionSet((), (), dominance=True)))
    named = set(columns(EmotionSet(("xx",), ("yy",), dominance=True))) - fixed
    for name in named:
        for other in fixed:
            rest = other.removeprefix(name[:-2])
            assert rest == other or wrong_names(("neutral", rest)) is not None, f"'{rest}' has the column {other}"
    emotion, category = ([name[:-2] for name in named if name.endswith(ending)] for ending in ("xx", "yy"))
    for one in emotion:
        for other in category:
            rest = f"{other}pain".removeprefix(one)
            assert rest == f"{other}pain" or wrong_names(("neutral", rest), ("pain",)) is not None
