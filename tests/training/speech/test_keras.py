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

from bimodal.models.emotions import EMOTIONS, LabelMap
from bimodal.models.session import open_artifact
from tests.training.trees import write_ravdess

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.timeout(600)  # TensorFlow is loaded twice, by the training and by the export
@pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow (the extra 'convert')")
def test_a_keras_model_in_the_seeds_form_is_trained_and_exported(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "data", [1, 2])
    values = {
        "name": "tiny-keras", "version": "4", "data": str(tmp_path / "data"), "output": str(tmp_path / "tiny-keras"),
        "runs": str(tmp_path / "runs"), "batch": 8, "learning_rate": 0.001, "weight_decay": 0.0, "epochs": 1,
        "folds": 2, "windows": 1, "width": 8,
    }  # fmt: skip
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    done = subprocess.run(
        [sys.executable, "-m", "bimodal", "train", "keras-speech", "--config", str(config)],
        cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    artifact = open_artifact(tmp_path / "tiny-keras" / "model.onnx", "speech", provider="cpu")
    assert artifact.identity == "tiny-keras@4"
    assert LabelMap(artifact.metadata.labels or ()).known == EMOTIONS
    metrics = artifact.metadata.metrics or {}
    assert metrics["n"] == 16
    assert metrics["trained_on"] == ["ravdess/Actor_01", "ravdess/Actor_02"]
    assert artifact.metadata.temperature != 1.0
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 16_000)).astype(np.float32)
    assert artifact.run(waveform=sound)["probabilities"].sum(axis=1) == pytest.approx([1.0, 1.0], abs=1e-4)
    assert (tmp_path / "tiny-keras" / "card.md").is_file()
