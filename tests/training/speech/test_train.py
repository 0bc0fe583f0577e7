"""Speech training on several tiny corpora, from the command to the artifact; its loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional
from typer.testing import CliRunner

from bimodal.models.session import open_artifact
from bimodal.training.commands import train
from bimodal.training.speech.step import Targets
from tests.training.trees import tone, write_ravdess, write_sound

runner = CliRunner()
CONFIG = {
    "name": "tiny", "version": "1", "batch": 6, "learning_rate": 0.001, "weight_decay": 0.0, "epochs": 1, "folds": 2,
    "channels": 16, "hidden": 8,
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_ravdess(tmp_path / "ravdess", [1, 2], seconds=1.3)
    (tmp_path / "nemo").mkdir()
    for speaker in ("EB0", "KS0"):
        for number, emotion in enumerate(("anger", "sadness", "neutral")):
            write_sound(tmp_path / "nemo" / f"{speaker}_{emotion}_{number}.wav", tone(200 + 90 * number, 1.2))
    path = tmp_path / "config.yaml"
    places = {"data": "ravdess", "output": "out", "runs": "runs"}
    values = {**CONFIG, **{key: str(tmp_path / folder) for key, folder in places.items()}}
    path.write_text(yaml.safe_dump({**values, "also": [str(tmp_path / "nemo")], "shares": {"ravdess": 0.6}}))
    return path


def test_several_corpora_become_one_artifact(config: Path, tmp_path: Path) -> None:
    result = runner.invoke(train, ["speech", "--config", str(config)])
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out" / "model.onnx", "speech", provider="cpu")
    metrics = artifact.metadata.metrics or {}
    assert set(metrics["corpora"]) == set(metrics["left_out"]["corpora"]) == {"ravdess", "nemo"}
    assert metrics["corpora"]["ravdess"]["n"] == 16
    assert metrics["corpora"]["nemo"]["n"] == 6
    assert set(metrics["trained_on"]) == {"ravdess/Actor_01", "ravdess/Actor_02", "nemo/EB0", "nemo/KS0"}
    assert "nemo (CC BY-NC-SA 4.0)" in artifact.metadata.license
    assert "is left out" in result.output


def test_one_corpus_left_out_is_a_command(config: Path, tmp_path: Path) -> None:
    result = runner.invoke(train, ["speech", "--config", str(config), "--leave-one-corpus-out"])
    assert result.exit_code == 0, result.output
    assert "mean UAR of a corpus that was left out" in result.output
    assert not (tmp_path / "out").exists()


def test_leaving_the_only_corpus_out_is_refused(config: Path) -> None:
    values = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**values, "also": []}))
    result = runner.invoke(train, ["speech", "--config", str(config), "--leave-one-corpus-out"])
    assert result.exit_code == 1
    assert "needs two corpora at least, and there is ravdess only" in result.output


def test_without_offsets_the_loss_is_cross_entropy_with_smoothing() -> None:
    logits, labels = torch.randn(5, 7), torch.tensor([0, 3, 6, 2, 2])
    targets = Targets(labels, torch.zeros(5, 7), torch.ones(5))
    expected = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    assert float(targets.loss(logits, 0.1)) == pytest.approx(float(expected), abs=1e-6)


def test_labels_that_are_masked_get_no_gradient() -> None:
    logits = torch.randn(2, 7, requires_grad=True)
    offsets = torch.zeros(2, 7)
    offsets[0, 3:] = -torch.inf
    Targets(torch.tensor([0, 5]), offsets, torch.ones(2)).loss(logits, 0.1).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, 3:] == 0).all()
    assert (logits.grad[1] != 0).all()
