"""The reader of RAVDESS: names, emotions, folds by actor, decoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS
from bimodal.training.datasets.ravdess import actor_folds, decode, find_clips, load_ravdess, parse_name, voice_bounds
from bimodal.training.errors import DatasetError
from tests.training.trees import tone, write_ravdess, write_sound


@given(st.sets(st.integers(1, 99), min_size=2, max_size=24), st.data())
def test_no_actor_is_on_both_sides_and_each_is_validated_once(actors: set[int], data: st.DataObject) -> None:
    folds = data.draw(st.integers(2, len(actors)))
    validated: list[int] = []
    for training, validation in actor_folds(sorted(actors) * 3, folds):
        assert not training & validation
        assert training | validation == actors
        assert validation
        validated.extend(validation)
    assert sorted(validated) == sorted(actors)


@pytest.mark.parametrize("folds", [0, 1, 4])
def test_folds_that_can_not_be_are_refused(folds: int) -> None:
    with pytest.raises(DatasetError):
        list(actor_folds([1, 2, 3], folds))


@pytest.mark.parametrize(
    ("code", "emotion"),
    [
        ("01", "neutral"),
        ("02", "neutral"),  # calm
        ("03", "happy"),
        ("04", "sad"),
        ("05", "anger"),
        ("06", "fear"),
        ("07", "disgust"),
        ("08", "surprise"),
    ],
)
def test_the_name_tells_emotion_and_actor(code: str, emotion: str) -> None:
    clip = parse_name(Path(f"Actor_07/03-01-{code}-02-01-02-07.flac"))
    assert clip is not None
    assert (EMOTIONS[clip.emotion], clip.actor) == (emotion, 7)


def test_song_and_video_are_passed_over_and_foreign_names_refused() -> None:
    assert parse_name(Path("03-02-01-01-01-01-01.wav")) is None
    assert parse_name(Path("01-01-01-01-01-01-01.wav")) is None
    for name in ("happy.wav", "03-01-09-01-01-01-01.wav", "03-01-01.wav"):
        with pytest.raises(DatasetError, match="not named as RAVDESS"):
            parse_name(Path(name))


@pytest.mark.parametrize("suffix", [".flac", ".wav"])
def test_reads_a_tree(tmp_path: Path, suffix: str) -> None:
    write_ravdess(tmp_path, [2, 1], suffix)
    recordings = load_ravdess(tmp_path)
    assert [recording.clip.actor for recording in recordings] == [1] * 8 + [2] * 8
    first = recordings[0]
    assert np.abs(first.waveform - tone(151.0, 1.2)).max() < 1e-3
    assert first.voice == pytest.approx((1600, 17_600), abs=600)


def test_decodes_to_the_wanted_rate(tmp_path: Path) -> None:
    write_sound(tmp_path / "a.wav", tone(200, 1.0, 48_000), 48_000)
    assert len(decode(tmp_path / "a.wav", 16_000)) == pytest.approx(16_000, abs=32)


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no RAVDESS speech"):
        find_clips(tmp_path)
    broken = tmp_path / "03-01-01-01-01-01-01.wav"
    broken.write_bytes(b"no sound at all")
    with pytest.raises(DatasetError, match="can't be decoded"):
        decode(broken)
    with pytest.raises(DatasetError, match="can't be decoded"):
        decode(tmp_path / "absent.wav")


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_the_voice_is_where_librosa_finds_it(rate: int) -> None:
    librosa = pytest.importorskip("librosa", reason="needs the extra 'training'")
    random = np.random.default_rng(rate)
    for _ in range(20):
        length = int(random.integers(rate // 2, 2 * rate))
        fading = 10 ** (-np.abs(np.linspace(-random.uniform(0, 4), random.uniform(0, 4), length)))
        sound = (0.1 * random.standard_normal(length) * fading).astype(np.float32)
        frame, hop = round(0.032 * rate), round(0.01 * rate)
        _, bounds = librosa.effects.trim(sound, top_db=35, frame_length=frame, hop_length=hop)
        assert voice_bounds(sound, rate) == tuple(bounds)


def test_silence_is_voice_throughout() -> None:
    assert voice_bounds(np.zeros(4000, np.float32), 16_000) == (0, 4000)
