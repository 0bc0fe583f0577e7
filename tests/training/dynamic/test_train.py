"""What learns from other models' answers: sequences, pairs, and artifacts that the live pipeline takes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal.config import check_config
from bimodal.models.emotions import EMOTIONS, EmotionSet, own_names
from bimodal.models.session import open_artifact
from bimodal.supervisor.emotions import set_of_config
from bimodal.training.commands import train
from bimodal.training.datasets.items import Item
from bimodal.training.dynamic.train import compose, embed, windows
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.command import evaluate
from bimodal.training.fusion.pairs import read_pairs
from bimodal.workers.fusion.combine import (
    LearnedFusion,
    Opinion,
    average,
    learned_fusion,
    strategy_of,
)
from bimodal.workers.fusion.dynamic import dynamic_model
from bimodal.workers.fusion.settings import FusionSettings
from tests.artifacts import make_face_static, make_speech
from tests.training.trees import tone, write_fer2013, write_films, write_picture, write_ravdess, write_sound

OWN = EmotionSet(("neutral", "bored", "engaged"))
runner = CliRunner()
LABELS = np.arange(70) % 7


def write_yaml(path: Path, **values: object) -> Path:
    path.write_text(yaml.safe_dump({name: str(v) if isinstance(v, Path) else v for name, v in values.items()}))
    return path


@given(st.integers(2, 20), st.integers(1, 30), st.integers(0, 1000))
def test_a_composed_sequence_shows_its_emotion_long_enough(steps: int, count: int, seed: int) -> None:
    sequences = compose(LABELS, count, steps, np.random.default_rng(seed))
    assert sequences.places.shape == (count, steps)
    assert sequences.labels.tolist() == [number % 7 for number in range(count)]
    for shown, label in zip(LABELS[sequences.places], sequences.labels, strict=True):
        others = np.count_nonzero((shown != label) & (shown != 0))
        assert others <= 1
        assert np.count_nonzero(shown == label) >= max(1, round(0.3 * steps)) - others


def test_sequences_need_a_neutral_face() -> None:
    with pytest.raises(DatasetError, match="neutral"):
        compose(np.array([1, 2, 3]), 5, 4, np.random.default_rng(0))


@given(st.integers(2, 20), st.integers(1, 30), st.integers(0, 1000))
def test_without_a_neutral_the_label_is_what_a_sequence_shows_most(steps: int, count: int, seed: int) -> None:
    among = EmotionSet(("bored", "engaged", "confused"))
    labels = np.arange(30) % 3
    sequences = compose(labels, count, steps, np.random.default_rng(seed), among)
    for shown, label in zip(labels[sequences.places], sequences.labels, strict=True):
        assert 2 * np.count_nonzero(shown == label) > steps
    with pytest.raises(DatasetError, match="two of the emotions bored, engaged, confused at least"):
        compose(np.zeros(5, np.int64), 1, 4, np.random.default_rng(0), among)


def test_windows_of_recordings_hold_the_last_face_over_gaps() -> None:
    track = [(10, 0.0), (11, 0.2), (12, 0.8)]
    found = windows([track], [3], 3, 0.2)
    assert found.places.tolist() == [[10, 11, 11], [11, 11, 11], [11, 11, 12]]
    assert found.labels.tolist() == [3, 3, 3]
    assert windows([track[:2]], [1], 4, 0.2).places.tolist() == [[10, 10, 10, 11]]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared video tree of four speakers."""
    return write_films(tmp_path_factory.mktemp("films"))


def small(folder: Path, name: str, **values: object) -> Path:
    shared = {"name": name, "version": "1", "output": folder / "out", "runs": folder / "runs", "batch": 16}
    return write_yaml(folder / "config.yaml", **shared, **values)


def test_a_dynamic_model_learns_from_recordings_and_runs_live(films: Path, tmp_path: Path) -> None:
    static = make_face_static(tmp_path / "static.onnx")
    config = small(
        tmp_path, "tiny-dynamic", data=films, static=static, steps=4, epochs=2, hidden=8, learning_rate=0.01,
        weight_decay=0.0,
    )  # fmt: skip
    result = runner.invoke(train, ["dynamic", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out" / "model.onnx", "face-dynamic", provider="cpu")
    model = dynamic_model(artifact, "tiny")
    assert (model.steps, model.interval_s, model.dimensions) == (4, 0.2, 16)
    assert set(model.predict(np.zeros((1, 4, 16), np.float32)).probabilities) == set(EMOTIONS)
    assert "static_mean" in (artifact.metadata.metrics or {})
    assert "composed" not in (tmp_path / "out" / "card.md").read_text()


def own_face(path: Path, *labels: str) -> Path:
    return make_face_static(path, labels=labels, categories=own_names(labels))


def test_a_dynamic_model_learns_emotions_of_ones_own_and_is_configured(tmp_path: Path) -> None:
    static = own_face(tmp_path / "static.onnx", *OWN.emotions)
    films = write_films(tmp_path / "films", OWN)
    config = small(
        tmp_path, "own-dynamic", data=films, static=static, steps=4, epochs=2, hidden=8, learning_rate=0.01,
        weight_decay=0.0, emotions=list(OWN.emotions),
    )  # fmt: skip
    result = runner.invoke(train, ["dynamic", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    path = tmp_path / "out" / "model.onnx"
    artifact = open_artifact(path, "face-dynamic", provider="cpu")
    assert artifact.metadata.labels == OWN.emotions
    assert artifact.metadata.categories == ("bored", "engaged")
    found = dynamic_model(artifact, "tiny", emotions=OWN).predict(np.zeros((1, 4, 16), np.float32))
    assert tuple(found.probabilities) == OWN.emotions
    models = {"face-static": str(static), "face-dynamic": str(path), "speech": "none"}
    assert set_of_config(check_config({"models": models, "emotions": list(OWN.emotions)}, "test")) == OWN


def test_sequences_are_composed_for_a_static_model_that_knows_a_part_of_the_emotions(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for place, name in enumerate(("neutral", "bored")):
            for number in range(8):
                write_picture(tmp_path / "data" / split / name / f"{number}.png", 30 + 80 * place + number)
    values: dict[str, object] = {
        "data": tmp_path / "data", "steps": 4, "epochs": 1, "sequences": 32, "measured": 8, "calibration_every": 4,
        "hidden": 8, "learning_rate": 0.01, "weight_decay": 0.0, "emotions": list(OWN.emotions),
    }  # fmt: skip
    static = own_face(tmp_path / "some.onnx", "neutral", "happy", "bored")
    config = small(tmp_path, "own-dynamic", static=static, **values)
    result = runner.invoke(train, ["dynamic", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "does not know engaged: live, only this model tells them" in result.output
    assert "shows no engaged" in result.output
    assert "its probabilities are no comparison" in result.output
    artifact = open_artifact(tmp_path / "out" / "model.onnx", "face-dynamic", provider="cpu")
    assert "static_mean" not in (artifact.metadata.metrics or {})

    config = small(tmp_path, "none", static=own_face(tmp_path / "none.onnx", "happy", "sad"), **values)
    result = runner.invoke(train, ["dynamic", "--config", str(config)])
    assert result.exit_code == 1
    assert "knows none of the emotions neutral, bored, engaged, and live the two run together" in result.stderr


def test_what_a_static_model_says_of_one_set_is_not_kept_for_another(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png", 200)
    artifact = open_artifact(make_face_static(tmp_path / "static.onnx"), provider="cpu")
    items = [Item(path=tmp_path / "1.png", label=0)]
    assert embed(artifact, items, tmp_path).probabilities.shape == (1, 7)
    assert embed(artifact, items, tmp_path, EmotionSet(("neutral", "anger"))).probabilities.shape == (1, 2)


def test_a_dynamic_model_learns_from_composed_sequences(tmp_path: Path) -> None:
    votes = np.eye(10, dtype=int)[np.arange(60) % 7] * 10
    for split in ("train", "valid"):
        write_fer2013(tmp_path / "data", split, votes.tolist())
    config = small(
        tmp_path, "tiny-dynamic", data=tmp_path / "data", static=make_face_static(tmp_path / "static.onnx"), steps=4,
        epochs=1, sequences=32, measured=28, calibration_every=2, hidden=8, learning_rate=0.01, weight_decay=0.0,
    )  # fmt: skip
    result = runner.invoke(train, ["dynamic", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "averaging the static probabilities" in result.output
    assert "single pictures of different people" in (tmp_path / "out" / "card.md").read_text()


def test_videos_must_be_prepared_first(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "01-01-03-01-01-01-05.mp4").write_bytes(b"")
    static = make_face_static(tmp_path / "static.onnx")
    config = small(tmp_path, "tiny", data=tmp_path / "data", static=static, learning_rate=0.01, weight_decay=0.0)
    result = runner.invoke(train, ["dynamic", "--config", str(config)])
    assert result.exit_code == 1
    assert "run 'bimodal data prepare ravdess-video" in result.stderr


@pytest.fixture(scope="module")
def fusion(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fusion model learnt from recordings, with its runs."""
    folder = tmp_path_factory.mktemp("fusion")
    config = small(
        folder, "tiny-fusion", data=films, face=make_face_static(folder / "static.onnx"),
        speech=make_speech(folder / "speech.onnx"), epochs=3, hidden=4, learning_rate=0.01, weight_decay=0.0,
    )  # fmt: skip
    result = runner.invoke(train, ["fusion", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return folder


def learned(folder: Path) -> LearnedFusion:
    return learned_fusion(open_artifact(folder / "out" / "model.onnx", "fusion", provider="cpu"))


def test_a_learned_fusion_is_measured_beside_the_average(fusion: Path) -> None:
    for name in (str(fusion / "out" / "model.onnx"), "average"):
        pairs = fusion / "runs" / "tiny-fusion" / "pairs"
        result = runner.invoke(evaluate, ["fusion", "--model", name, "--data", str(pairs)])
        assert result.exit_code == 0, result.output
        assert "video alone" in result.output


def test_live_fusion_takes_the_learned_strategy(fusion: Path) -> None:
    found = strategy_of(FusionSettings(strategy="learned"), learned(fusion))
    happy, sad = ({e: 0.94 if e == word else 0.01 for e in EMOTIONS} for word in ("happy", "sad"))
    fused = found([Opinion("video", happy, 0.7), Opinion("speech", happy, 0.3)])
    assert max(fused, key=lambda emotion: fused[emotion]) == "happy"
    assert sum(fused.values()) == pytest.approx(1.0)
    alone = [Opinion("video", sad, 1.0)]
    assert found(alone) == average(alone)
    blind = [Opinion("video", sad, 0.7), Opinion("speech", {"happy": 0.5, "sad": 0.5}, 0.3)]
    assert found(blind) == average(blind)  # who does not know all seven abstains: only the average can say so


def test_the_worth_of_an_opinion_counts(fusion: Path) -> None:
    found = learned(fusion).combine
    happy, sad = ({e: 0.94 if e == word else 0.01 for e in EMOTIONS} for word in ("happy", "sad"))
    seen = found([Opinion("video", happy, 0.7, 1.0), Opinion("speech", sad, 0.3, 0.0)])
    heard = found([Opinion("video", happy, 0.7, 0.0), Opinion("speech", sad, 0.3, 1.0)])
    assert seen["happy"] > heard["happy"]


def test_the_strategy_learned_needs_a_model() -> None:
    with pytest.raises(ValueError, match=r"models\.fusion"):
        strategy_of(FusionSettings(strategy="learned"), None)


def test_pairs_are_composed_of_held_out_faces_and_voices(tmp_path: Path) -> None:
    votes = np.eye(10, dtype=int)[np.arange(70) % 7] * 10
    write_fer2013(tmp_path / "faces", "valid", votes.tolist())
    write_ravdess(tmp_path / "sounds", [1, 2, 3, 4])
    (tmp_path / "nemo").mkdir()
    for speaker in ("EB0", "KS0"):
        write_sound(tmp_path / "nemo" / f"{speaker}_anger_1.wav", tone(200, 1.2))
    speech = write_yaml(
        tmp_path / "speech.yaml", name="tiny-speech", version="1", data="x", output="x", batch=8, learning_rate=0.001,
        weight_decay=0.0, epochs=1, folds=2, channels=16, hidden=8, also=[str(tmp_path / "nemo")],
    )  # fmt: skip
    config = small(
        tmp_path, "tiny-fusion", data=tmp_path / "faces", sounds=tmp_path / "sounds", speech_config=speech, pairs=280,
        face=make_face_static(tmp_path / "static.onnx"), epochs=1, hidden=4, learning_rate=0.01, weight_decay=0.0,
    )  # fmt: skip
    result = runner.invoke(train, ["fusion", "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert len(read_pairs(tmp_path / "runs" / "tiny-fusion" / "pairs", "test")) == 56
    assert "Its pairs are composed" in (tmp_path / "out" / "card.md").read_text()


def test_a_card_that_a_person_wrote_stays(fusion: Path, tmp_path: Path) -> None:
    shutil.copytree(fusion, tmp_path / "copy")
    card = tmp_path / "copy" / "out" / "card.md"
    card.write_text("# mine\n")
    config = yaml.safe_load((fusion / "config.yaml").read_text())
    config |= {"output": str(card.parent), "runs": str(tmp_path / "copy" / "runs")}
    result = runner.invoke(train, ["fusion", "--config", str(write_yaml(tmp_path / "again.yaml", **config))])
    assert "was written by hand" in result.output
    assert card.read_text() == "# mine\n"
