"""The Keras speech model from raw files to an artifact, by the command that users type."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

from bimodal.models.contract import used_labels
from bimodal.models.emotions import EMOTIONS, EmotionSet, LabelMap
from bimodal.models.session import open_artifact
from tests.training.trees import tone, write_ravdess, write_sound

REPOSITORY = Path(__file__).parents[3]
OWN = EmotionSet(("engaged", "neutral", "bored"))

pytestmark = [
    pytest.mark.timeout(600),  # TensorFlow is loaded twice, by the training and by the export
    pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow (the extra 'convert')"),
]


def trained(folder: Path, **values: object) -> subprocess.CompletedProcess[str]:
    """The command on `folder`/data, with a tiny network."""
    given = {
        "name": "tiny-keras", "version": "4", "data": str(folder / "data"), "output": str(folder / "tiny-keras"),
        "runs": str(folder / "runs"), "batch": 8, "learning_rate": 0.001, "weight_decay": 0.0, "epochs": 1,
        "folds": 2, "windows": 1, "width": 8, **values,
    }  # fmt: skip
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(given))
    return subprocess.run(
        [sys.executable, "-m", "bimodal", "train", "keras-speech", "--config", str(config)],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_keras_model_in_the_seeds_form_is_trained_and_exported(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "data", [1, 2])
    done = trained(tmp_path)
    assert done.returncode == 0, done.stderr
    artifact = open_artifact(tmp_path / "tiny-keras" / "model.onnx", "speech", provider="cpu")
    assert artifact.identity == "tiny-keras@4"
    assert LabelMap(artifact.metadata.labels or ()).known == EMOTIONS
    assert "calm" in (artifact.metadata.labels or ())
    assert artifact.metadata.license.endswith("as RAVDESS, which it was trained on")
    metrics = artifact.metadata.metrics or {}
    assert metrics["n"] == 16
    assert metrics["trained_on"] == ["ravdess/Actor_01", "ravdess/Actor_02"]
    assert "calm counts as neutral" in metrics["protocol"]
    assert artifact.metadata.temperature != 1.0
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    assert artifact.run(waveform=sound)["probabilities"].sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-4)
    assert (tmp_path / "tiny-keras" / "card.md").is_file()


def test_emotions_of_ones_own_are_learnt_and_other_runs_do_not_go_on(tmp_path: Path) -> None:
    rows = ["path,label,speaker"]
    for speaker in ("ann", "bob"):
        (tmp_path / "data").mkdir(exist_ok=True)
        for number, word in enumerate(("engagement", "neutral", "bored", "happy")):
            write_sound(tmp_path / "data" / f"{speaker}{number}.wav", tone(200.0 + 150 * number, 1.2))
            rows.append(f"{speaker}{number}.wav,{word},{speaker}")
    (tmp_path / "data" / "manifest.csv").write_text("\n".join(rows))
    done = trained(tmp_path, emotions=[*OWN.emotions, "confused"])
    assert done.returncode == 0, done.stderr
    assert "no recording is of confused: tiny-keras does not learn to tell it" in done.stdout
    artifact = open_artifact(tmp_path / "tiny-keras" / "model.onnx", "speech", provider="cpu")
    known = artifact.metadata
    assert known.labels == (*OWN.emotions, "confused")
    assert known.categories == ("engaged", "bored", "confused")
    assert used_labels(known, "it", OWN).known == OWN.emotions
    metrics = known.metrics or {}
    assert metrics["n"] == 6, "happy is outside the set"
    assert metrics["trained_on"] == ["data/ann", "data/bob"]
    assert len(metrics["uar_folds"]) == 2
    assert "calm" not in metrics["protocol"]
    assert known.license.startswith("as the data it was trained on: data (")
    assert known.source.startswith("trained with bimodal on data with Keras")
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    assert artifact.run(waveform=sound)["probabilities"].shape == (2, 4)
    done = trained(tmp_path, emotions=list(OWN.emotions))
    assert done.returncode == 1
    assert "holds a run with another config or other data: remove it, or set 'runs'" in done.stderr
    assert "Traceback" not in done.stderr
