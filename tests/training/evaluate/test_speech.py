"""Speech measured as it runs: several models averaged, turns gathered, groups of speakers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.models.emotions import EMOTIONS, EmotionSet
from bimodal.models.session import open_artifact
from bimodal.training.datasets.loading import load_recordings
from bimodal.training.evaluate.command import evaluate, lines_of
from bimodal.training.evaluate.speech import (
    CLIPS_A_TURN,
    LONE_PROTOCOL,
    TURN_PROTOCOL,
    evaluate_speech,
    expert_probabilities,
    gathered_over,
    turn_figures,
)
from tests.artifacts import make_speech
from tests.training.trees import tone, write_ravdess, write_sound

runner = CliRunner()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speech(tmp_path_factory.mktemp("model") / "model.onnx", minimum_window_s=1.0)


def test_several_models_hear_windows_of_their_own_length_and_are_averaged(tmp_path: Path, model: Path) -> None:
    labels = ("neutral", "happy", "sad", "angry", "fear", "disgust")
    short = make_speech(tmp_path / "short.onnx", window_s=1.0, labels=labels, name="short")
    artifacts = [open_artifact(path, "speech", provider="cpu") for path in (model, short)]
    windows = [tone(200, 2.5) * np.linspace(0, 1, 40_000, dtype=np.float32)]
    alone = [expert_probabilities([artifact], windows)[0] for artifact in artifacts]
    assert alone[1] == pytest.approx(expert_probabilities([artifacts[1]], [windows[0][-16_000:]])[0])
    both = expert_probabilities(artifacts, windows)[0]
    mixed = np.where(np.array(EMOTIONS) == "surprise", alone[0], (alone[0] + alone[1]) / 2)
    assert both == pytest.approx(mixed / mixed.sum(), abs=1e-6)


def test_a_model_of_another_rate_hears_the_same_sound(tmp_path: Path, model: Path) -> None:
    slow = make_speech(tmp_path / "slow.onnx", sample_rate=8_000, name="slow")
    first, second = (open_artifact(path, "speech", provider="cpu") for path in (model, slow))
    windows = [tone(200, 2.8) * np.repeat(np.float32([1.0, 0.1]), 22_400)]
    alone, both = (expert_probabilities(artifacts, windows)[0] for artifacts in ([first], [first, second]))
    assert both == pytest.approx(alone, abs=1e-2)


def test_a_turn_is_made_of_clips_of_one_speaker_and_emotion(tmp_path: Path) -> None:
    for number in range(CLIPS_A_TURN + 1):
        write_sound(tmp_path / f"SM1_F{number}_A{number:03d}.wav", tone(200, 1.5))
    write_sound(tmp_path / "SF2_F1_S001.wav", tone(200, 1.5))
    recordings = load_recordings(tmp_path)
    live = [np.full((2, 7), 1 / 7) for _ in recordings]
    parts = [each.clip.part for each in recordings]
    true = np.array([each.clip.emotion for each in recordings])
    figures = turn_figures(parts, true, live, 0.5)
    assert {name: found.n for name, found in figures.items()} == {TURN_PROTOCOL: 6, LONE_PROTOCOL: 6}
    assert turn_figures(parts[:1], true[:1], live[:1], 0.5) == {}


def test_evidence_gathers_over_a_turn() -> None:
    rows = np.full((9, 7), 0.1)
    rows[:, EMOTIONS.index("fear")] = 0.4
    rows[6] = np.where(np.array(EMOTIONS) == "happy", 0.4, 0.1)
    found = gathered_over(rows, 0.5)
    assert found.argmax(axis=1).tolist() == [EMOTIONS.index("fear")] * 9
    assert found.sum(axis=1) == pytest.approx(np.ones(9))


def test_the_command_prints_and_writes_turns_and_groups(tmp_path: Path, model: Path) -> None:
    write_ravdess(tmp_path / "data", [1, 2], seconds=1.5)
    written = tmp_path / "figures.json"
    command = ["speech", "--data", str(tmp_path / "data"), "--model", f"{model},{model}", "--json", str(written)]
    result = runner.invoke(evaluate, command)
    assert result.exit_code == 0, result.output
    assert "tiny-speech@1+tiny-speech@1 on data, 2 actors" in result.output
    figures = json.loads(written.read_text())
    assert {name: group["n"] for name, group in figures["groups"].items()} == {"female": 8, "male": 8}
    assert "female (n = 8)" in result.output
    lone = evaluate_speech(model, tmp_path / "data", actors=[2])
    assert lone.groups == {}
    assert lone.cost is not None


def test_conditions_have_a_row_with_doubt(tmp_path: Path, model: Path) -> None:
    write_ravdess(tmp_path / "data", [2], seconds=1.5)
    found = evaluate_speech(model, tmp_path / "data", conditions=["white noise at 10 dB", "source of 8 kHz"])
    assert (
        set(found.under) == set(found.doubted) == set(found.conditions) == {"white noise at 10 dB", "source of 8 kHz"}
    )
    said = "\n".join(lines_of(found))
    assert "under white noise at 10 dB: accuracy" in said
    assert said.count("ECE with doubt") == 2
    assert found.doubted["white noise at 10 dB"] != pytest.approx(found.under["white noise at 10 dB"].ece)


def test_labels_of_a_set_of_ones_own(tmp_path: Path) -> None:
    model = make_speech(tmp_path / "own.onnx", labels=("neutral", "calm", "happy"), minimum_window_s=1.0)
    write_ravdess(tmp_path / "data", [2], seconds=1.5)
    found = evaluate_speech(model, tmp_path / "data", among=EmotionSet(("neutral", "calm", "happy")))
    assert found.figures.labels == ("neutral", "calm", "happy")
    assert found.figures.n == 3, "one clip of each; calm is not neutral here"
