"""A training run killed with SIGKILL goes on and ends with the same weights as one that was not."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import numpy_helper
from typer.testing import CliRunner

from bimodal.training import loop
from bimodal.training.commands import train
from bimodal.training.config import SpeechConfig
from bimodal.training.datasets.ravdess import load_ravdess
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.conditions import in_a_room
from bimodal.training.loop import CHECKPOINT
from bimodal.training.speech.train import keep_back, train_speech_run
from bimodal.values import convert
from tests.training.trees import write_fer2013, write_ravdess

runner = CliRunner()
REPOSITORY = Path(__file__).parents[2]
EPOCHS = 12
FACE = {
    "name": "tiny", "version": "1", "batch": 8, "learning_rate": 0.01, "weight_decay": 0.0, "sizes": [24] * EPOCHS,
    "widths": [8, 8, 8], "depth": 1, "calibration_every": 3, "curve": [[0, 0.1], [2, 1], [EPOCHS, 0]],
}  # fmt: skip
SPEECH = {
    "name": "tiny", "version": "1", "data": "x", "output": "x", "batch": 8, "learning_rate": 0.001,
    "weight_decay": 0.0, "epochs": 3, "folds": 2, "channels": 16, "hidden": 8,
}  # fmt: skip


def face_config(folder: Path, data: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    places = {"data": str(data), "output": str(folder / "out"), "runs": str(folder / "runs")}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**FACE, **places, **changes}))
    return path


def weights(path: Path) -> str:
    """One word for all initialisers of a model."""
    digest = hashlib.sha256()
    for tensor in sorted(onnx.load(str(path)).graph.initializer, key=lambda tensor: tensor.name):
        digest.update(numpy_helper.to_array(tensor).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    votes = np.eye(10, dtype=int)[np.arange(60) % 7] * 10
    write_fer2013(folder, "train", votes.tolist())
    write_fer2013(folder, "valid", votes[:20].tolist(), seed=1)
    return folder


def test_a_killed_run_goes_on_to_the_same_end(pictures: Path, tmp_path: Path) -> None:
    whole, killed = face_config(tmp_path / "whole", pictures), face_config(tmp_path / "killed", pictures)
    command = [sys.executable, "-m", "bimodal", "train", "face", "--config"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, str(killed)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    place = tmp_path / "killed" / "runs" / "tiny" / CHECKPOINT
    while process.poll() is None and not place.is_file():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    state = loop.load(place)
    assert state is not None
    assert 1 <= state["progress"][0] < EPOCHS
    for config in (killed, whole):
        done = subprocess.run([*command, str(config)], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ("goes on after epoch" in done.stdout) == (config == killed)
    assert weights(tmp_path / "killed" / "out" / "model.onnx") == weights(tmp_path / "whole" / "out" / "model.onnx")


def test_a_run_is_not_gone_on_with_by_another_config(pictures: Path, tmp_path: Path) -> None:
    config = face_config(tmp_path, pictures, sizes=[24])
    first = runner.invoke(train, ["face", "--config", str(config)])
    assert first.exit_code == 0, first.output
    again = runner.invoke(train, ["face", "--config", str(config)])
    assert "is complete" in again.output
    face_config(tmp_path, pictures, sizes=[24], learning_rate=0.02)
    refused = runner.invoke(train, ["face", "--config", str(config)])
    assert refused.exit_code == 1
    assert "begin anew with --fresh" in refused.stderr
    fresh = runner.invoke(train, ["face", "--config", str(config), "--fresh"])
    assert fresh.exit_code == 0, fresh.output


def test_training_stops_when_it_gets_no_better(pictures: Path, tmp_path: Path) -> None:
    config = face_config(tmp_path, pictures, sizes=[24] * 8, patience=1, learning_rate=1e-9, curve=[[0, 1], [8, 1]])
    result = runner.invoke(train, ["face", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert "stopped early" in result.output


def test_a_broken_checkpoint_is_said_so(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"nothing of ours")
    with pytest.raises(TrainingError, match="--fresh"):
        loop.load(tmp_path / CHECKPOINT)
    assert loop.load(tmp_path / "absent") is None


def test_speech_runs_that_are_cut_off_end_as_others_do(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "data", [1, 2])
    recordings = load_ravdess(tmp_path / "data")
    whole, cut = (convert({**SPEECH, "runs": str(tmp_path / name)}, SpeechConfig) for name in ("one", "two"))
    told = iter(range(1))

    def kill(_: str) -> None:
        if next(told, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_speech_run(cut, recordings, "all", kill)
    one = train_speech_run(whole, recordings, "all", lambda _: None).network.state_dict()
    two = train_speech_run(cut, recordings, "all", lambda _: None).network.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_watched_speakers_are_not_learnt_from(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "data", [1, 2, 3])
    recordings = load_ravdess(tmp_path / "data")
    learnt, watched = keep_back(recordings, 1)
    assert {recording.clip.actor for recording in learnt} == {1, 2}
    assert {recording.clip.actor for recording in watched} == {3}
    config = convert(
        {**SPEECH, "runs": str(tmp_path / "runs"), "watched_speakers": 1, "reverb": 1.0, "epochs": 1}, SpeechConfig
    )
    said: list[str] = []
    train_speech_run(config, recordings, "all", said.append)
    assert any("UAR" in line for line in said)


@pytest.mark.parametrize("seed", range(3))
def test_a_room_changes_sound_but_neither_its_length_nor_its_loudness(tmp_path: Path, seed: int) -> None:
    write_ravdess(tmp_path, [1])
    dry = load_ravdess(tmp_path)[0]
    wet = in_a_room(dry, np.random.default_rng(seed))
    assert wet.waveform.shape == dry.waveform.shape
    assert np.std(wet.waveform) == pytest.approx(np.std(dry.waveform), rel=0.2)
    assert np.abs(wet.waveform - dry.waveform).max() > 0.01


def test_a_run_learns_on_from_the_weights_of_another(pictures: Path, tmp_path: Path) -> None:
    first = face_config(tmp_path / "first", pictures, sizes=[24], curve=[[0, 1], [1, 0]])
    assert runner.invoke(train, ["face", "--config", str(first)]).exit_code == 0
    best = tmp_path / "first" / "runs" / "tiny" / "best.pt"
    # A rate of almost nothing: what comes out is what went in, and not a network that began from nothing.
    after = face_config(tmp_path / "after", pictures, start_from=str(best), learning_rate=1e-12, sizes=[24], seed=5)
    assert runner.invoke(train, ["face", "--config", str(after)]).exit_code == 0
    old = loop.load(best)
    new = loop.load(tmp_path / "after" / "runs" / "tiny" / "best.pt")
    assert old is not None
    assert new is not None
    for name, values in old["network"].items():
        if name.endswith("weight"):
            np.testing.assert_allclose(values.numpy(), new["network"][name].numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"start_from": "nowhere.pt"}, "there are no weights nowhere.pt"), ({"widths": [8, 8, 16]}, "another network's")],
)
def test_weights_that_do_not_fit_are_refused(
    pictures: Path, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    first = face_config(tmp_path / "first", pictures, sizes=[24], curve=[[0, 1], [1, 0]])
    assert runner.invoke(train, ["face", "--config", str(first)]).exit_code == 0
    best = str(tmp_path / "first" / "runs" / "tiny" / "best.pt")
    after = face_config(tmp_path / "after", pictures, **{"start_from": best, **changes})
    result = runner.invoke(train, ["face", "--config", str(after)])
    assert result.exit_code == 1
    assert sentence in result.stderr
