"""The reader of FER2013 with FER+ votes: columns, majority rule, errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bimodal.models.emotions import EMOTIONS
from bimodal.training.datasets.fer2013 import LEFT_OUT, emotion_votes, load_fer2013, majority_of
from bimodal.training.errors import DatasetError
from tests.training.trees import VOTES, write_fer2013

COLUMNS = tuple(f"ferplus_{name}" for name in VOTES)
MEANS = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear", None, None, None)
some_votes = arrays(np.float32, st.tuples(st.integers(1, 20), st.just(10)), elements=st.integers(0, 10))


@given(some_votes)
def test_majority_needs_more_than_half_and_one_of_the_seven(votes: np.ndarray) -> None:
    for row, found in zip(votes, majority_of(votes, COLUMNS), strict=True):
        winners = [MEANS[column] for column in range(10) if row[column] * 2 > row.sum()]
        expected = EMOTIONS.index(winners[0]) if winners and winners[0] is not None else LEFT_OUT
        assert found == expected


@given(some_votes, st.permutations(range(10)))
def test_the_order_of_the_columns_does_not_matter(votes: np.ndarray, order: list[int]) -> None:
    shuffled, columns = votes[:, order], tuple(COLUMNS[column] for column in order)
    assert np.array_equal(majority_of(shuffled, columns), majority_of(votes, COLUMNS))
    assert np.array_equal(emotion_votes(shuffled, columns), emotion_votes(votes, COLUMNS))


@given(some_votes)
def test_votes_outside_the_seven_are_left_out(votes: np.ndarray) -> None:
    assert np.array_equal(emotion_votes(votes, COLUMNS).sum(axis=1), votes[:, :7].sum(axis=1))


def test_reads_pictures_votes_and_majority_in_the_order_of_the_table(tmp_path: Path) -> None:
    write_fer2013(
        tmp_path,
        "valid",
        [
            [6, 4, 0, 0, 0, 0, 0, 0, 0, 0],  # neutral
            [0, 0, 0, 5, 5, 0, 0, 0, 0, 0],  # no more than half
            [0, 0, 0, 0, 0, 0, 9, 1, 0, 0],  # fear
            [0, 0, 0, 0, 1, 0, 0, 9, 0, 0],  # contempt
            [0, 0, 0, 0, 0, 0, 0, 0, 10, 0],  # unknown
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 10],  # not a face
        ],
    )
    faces = load_fer2013(tmp_path, "valid")
    assert faces.majority.tolist() == [0, LEFT_OUT, 4, LEFT_OUT, LEFT_OUT, LEFT_OUT]
    assert faces.votes.sum(axis=1).tolist() == [10, 10, 9, 1, 0, 0]
    assert faces.pictures.shape == (6, 48, 48)
    assert faces.take(faces.majority != LEFT_OUT).names == ("fer0000000.png", "fer0000002.png")
    assert np.array_equal(faces.rgb()[..., 2], faces.pictures)


def test_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no FER2013 split 'test'"):
        load_fer2013(tmp_path, "test")
    write_fer2013(tmp_path, "test", [[10, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    (tmp_path / "test" / "fer0000000.png").write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"fer0000000\.png is missing or is no picture"):
        load_fer2013(tmp_path, "test")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("ferplus_fear", "ferplus_boredom"), "does not know"),
        (("ferplus_fear", "fear"), "needs the columns"),
        (("10", "many"), "no number"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, change: tuple[str, str], sentence: str) -> None:
    write_fer2013(tmp_path, "train", [[10, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    table = tmp_path / "train.csv"
    table.write_text(table.read_text().replace(*change))
    with pytest.raises(DatasetError, match=sentence):
        load_fer2013(tmp_path, "train")
