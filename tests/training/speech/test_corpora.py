"""Several corpora in one training: balance, labels that a corpus lacks, folds by speaker."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS
from bimodal.training.datasets.ravdess import Clip, Recording
from bimodal.training.errors import DatasetError
from bimodal.training.speech.corpora import (
    corpora_of,
    corpus_of,
    label_offsets,
    labels_of_corpora,
    licence_of,
    load_corpora,
    loss_weights,
    repeats,
    speaker_folds,
)
from tests.training.trees import tone, write_ravdess, write_sound

SILENCE = np.zeros(10, np.float32)
Rows = list[tuple[str, int, int]]


def recordings(rows: Rows) -> list[Recording]:
    """(corpus, speaker, emotion) → recordings."""
    return [
        Recording(Clip(Path(f"{at}.wav"), speaker, emotion, f"{corpus}/{speaker:02d}"), SILENCE, (0, 10))
        for at, (corpus, speaker, emotion) in enumerate(rows)
    ]


some = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=60
)


@given(some, st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0.1, 1)))
def test_every_emotion_of_a_corpus_weighs_alike_over_an_epoch(rows: Rows, shares: dict[str, float]) -> None:
    heard = recordings(rows)
    weights, times = loss_weights(heard, shares, repeats(heard)), repeats(heard)
    often = np.array([times[corpus_of(each)] for each in heard])
    assert float((weights * often).sum() / often.sum()) == pytest.approx(1.0, rel=1e-4)
    totals: dict[tuple[str, int], float] = {}
    for each, weight, count in zip(heard, weights, often, strict=True):
        key = (corpus_of(each), each.clip.emotion)
        totals[key] = totals.get(key, 0.0) + float(weight * count)
    for corpus in corpora_of(heard):
        own = [total for (name, _), total in totals.items() if name == corpus]
        assert max(own) == pytest.approx(min(own), rel=1e-3)


def test_small_corpora_are_heard_more_often() -> None:
    heard = recordings([("large", 1, 0)] * 400 + [("middle", 1, 0)] * 300 + [("small", 1, 0)] * 60)
    assert repeats(heard) == {"large": 1, "middle": 1, "small": 3}


def test_a_label_that_a_corpus_lacks_is_no_negative() -> None:
    heard = recordings([("a", 1, 0), ("a", 2, 6), ("b", 1, 2)])
    offsets = label_offsets(heard, labels_of_corpora(heard), math.inf)
    assert np.flatnonzero(offsets[0] == 0).tolist() == [0, 6]
    assert np.flatnonzero(offsets[2] == 0).tolist() == [2]
    assert (label_offsets(heard, labels_of_corpora(heard), 3.0)[0] == [0, -3, -3, -3, -3, -3, 0]).all()


@given(some, st.integers(2, 4))
def test_every_speaker_is_measured_once_and_never_learnt_from_then(rows: Rows, folds: int) -> None:
    heard = recordings(rows)
    speakers = {each.clip.part for each in heard}
    enough = all(len({s for s in speakers if s.startswith(f"{c}/")}) >= folds for c in corpora_of(heard))
    if not enough:
        with pytest.raises(DatasetError, match="speakers at least"):
            list(speaker_folds(heard, folds))
        return
    held = []
    for training, validation in speaker_folds(heard, folds):
        assert training | validation == speakers
        assert not training & validation
        assert {part.partition("/")[0] for part in validation} == set(corpora_of(heard))
        held += sorted(validation)
    assert sorted(held) == sorted(speakers)


def test_corpora_are_loaded_together_and_told_apart(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "one", [1])
    (tmp_path / "two").mkdir()
    write_sound(tmp_path / "two" / "EB0_anger_1.wav", tone(200, 1.2))
    heard = load_corpora([tmp_path / "one", tmp_path / "two"])
    assert corpora_of(heard) == ["ravdess", "nemo"]
    assert {each.clip.part for each in heard} == {"ravdess/Actor_01", "nemo/EB0"}
    assert labels_of_corpora(heard)["nemo"] == (EMOTIONS.index("anger"),)
    with pytest.raises(DatasetError, match="two folders hold a corpus named ravdess"):
        load_corpora([tmp_path / "one", tmp_path / "one"])
    with pytest.raises(DatasetError, match="two folders hold a corpus named nemo"):
        load_corpora([tmp_path / "two", named_like_its_corpus(tmp_path / "NEMO")])


def named_like_its_corpus(folder: Path) -> Path:
    folder.mkdir()
    write_sound(folder / "1.wav", tone(200, 1.2))
    (folder / "manifest.csv").write_text("path,label,speaker\n1.wav,anger,EB0\n")
    return folder


def test_licences_and_shares_are_of_a_corpus_under_any_of_its_names() -> None:
    rows: Rows = [("emodb", 1, 0), ("emodb", 2, 0), ("mine", 1, 0)]
    assert licence_of(recordings(rows)) == "as the data it was trained on: emodb (free for research), mine (yours)"
    assert licence_of(recordings([("ravdess", 1, 0)])).endswith("as RAVDESS, which it was trained on")
    weights = loss_weights(recordings(rows), {"emo-db": 0.5, "mine": 0.5}, {})
    assert weights.tolist() == pytest.approx([0.75, 0.75, 1.5])
