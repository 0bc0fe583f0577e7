"""File names of published data sets: who and what; other names say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.training.datasets import names


@pytest.mark.parametrize(
    ("stem", "emotion", "speaker"),
    [
        ("mead_M003_happy", "happy", "M003"),
        ("01-01-08-02-01-02-24", "surprise", "Actor_24"),
        ("1012_TIE_FEA_MD", "fear", "1012"),
        ("15b09Eb", "disgust", "15"),
        ("SF10_F22_N022", "neutral", "SF10"),
        ("angry_SM1_F10_A010", "anger", "SM1"),
        ("EB0_happiness_7", "happy", "EB0"),
        ("YAF_dog_ps", "surprise", "YAF"),
    ],
)
def test_the_name_of_a_clip_says_who_and_what(stem: str, emotion: str, speaker: str) -> None:
    named = names.clip(stem)
    assert named is not None
    assert (named.emotion, named.speaker) == (emotion, speaker)
    assert (named.corpus in names.CORPORA) == (not stem.startswith("mead"))


@pytest.mark.parametrize("stem", ["holiday", "mead_M003_bored", "01-01-09-01-01-01-01", "1001_DFA_XXX_XX", "01-02-03"])
def test_names_that_say_nothing(stem: str) -> None:
    assert names.clip(stem) is None


def test_a_clip_may_name_an_emotion_of_ones_own() -> None:
    among = EmotionSet(("calm", "boredom", "happy"))
    said = {"mead_M003_bored": 1, "01-01-02-01-01-01-05": 0, "03a01Lb": 1, "mead_W001_happy": 2, "mead_W001_sad": None}
    for stem, label in said.items():
        named = names.clip(stem, among)
        assert named is not None
        assert named.label(stem, among) == label
    assert names.clip("mead_M003_pensive", among) is None


@given(st.integers(1, 22), st.integers(0, 999))
def test_only_the_basic_categories_of_cfee_have_an_emotion(category: int, person: int) -> None:
    named = names.cfee(f"{category:02d}_{person:03d}_3470")
    assert named is not None
    assert named.speaker == f"{person:03d}"
    assert (named.emotion in EMOTIONS) == (category <= 7)


def test_savee_needs_one_of_its_speakers() -> None:
    assert names.savee(Path("AudioData/DC/su03.wav")) == names.Named("surprise", "DC")
    assert names.savee(Path("KL_h15.wav")) == names.Named("happy", "KL")
    assert names.savee(Path("Info/a01.wav")) is None


@pytest.mark.parametrize(
    ("corpus", "speaker", "sex", "language"),
    [
        ("ravdess", "Actor_02", "female", "English"),
        ("ravdess", "Actor_19", "male", "English"),
        ("emodb", "08", "female", "German"),
        ("emo-db", "03", "male", "German"),
        ("urdu", "SF10", "female", "Urdu"),
        ("urdu", "SM3", "male", "Urdu"),
        ("nemo", "EB0", None, "Polish"),
        ("tess", "OAF", "female", "English"),
        ("mine", "SM3", None, None),
    ],
)
def test_sex_and_language_by_corpus(corpus: str, speaker: str, sex: str | None, language: str | None) -> None:
    assert (names.sex_of(corpus, speaker), names.language_of(corpus)) == (sex, language)
