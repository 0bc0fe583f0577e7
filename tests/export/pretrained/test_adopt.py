"""The whole way from the wheels to artifacts, where the wheels are at hand."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.export.pretrained.adopt import adopt_silero
from bimodal.models.catalog import ROOT
from bimodal.models.session import open_artifact


def _same_graph(made: Path, ships: Path) -> None:
    one, other = (onnx.load(str(path)).graph.SerializeToString(deterministic=True) for path in (made, ships))
    assert one == other


def test_silero_is_made_again_with_the_same_graph(silero_wheel: Path, tmp_path: Path) -> None:
    said: list[str] = []
    (written,) = adopt_silero(tmp_path, said.append, wheel=silero_wheel)
    assert any("probability on" in line for line in said)
    _same_graph(written, ROOT / "silero-vad/model.onnx")


def test_mediapipe_is_made_again_with_the_same_graph(mediapipe_wheel: Path, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    pytest.importorskip("tensorflow")
    pytest.importorskip("ai_edge_litert")
    result = CliRunner().invoke(app, ["mediapipe", "--wheel", str(mediapipe_wheel), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for name in ("blazeface-short", "facemesh-468"):
        _same_graph(tmp_path / name / "model.onnx", ROOT / name / "model.onnx")
        metrics = open_artifact(tmp_path / name / "model.onnx").metadata.metrics
        assert metrics is not None
        assert max(float(str(value)) for value in metrics.values()) < 2e-3


def test_source_that_is_unknown_fails_with_a_sentence_and_writes_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["mediapipe", "--tflite-dir", str(empty), "--out", str(out)])
    assert result.exit_code == 1
    assert "holds no face_detection_short_range.tflite" in result.output
    assert not out.exists()


@pytest.mark.shared
@pytest.mark.slow
def test_the_face_landmarker_is_made_again_with_the_same_graphs(shared: Path, tmp_path: Path) -> None:
    for package in ("tf2onnx", "tensorflow", "ai_edge_litert"):
        pytest.importorskip(package)
    task = shared / "models/face_landmarker.task"
    result = CliRunner().invoke(app, ["mediapipe", "--task", str(task), "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for name in ("facemesh-478", "face-blendshapes"):
        _same_graph(tmp_path / name / "model.onnx", ROOT / name / "model.onnx")


def test_another_task_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.task"
    wrong.write_bytes(b"no zip")
    result = CliRunner().invoke(app, ["mediapipe", "--task", str(wrong), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "wrong.task is no archive with models in it, or it is damaged" in result.output
    assert not (tmp_path / "out").exists()
