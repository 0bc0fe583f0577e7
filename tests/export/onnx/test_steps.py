"""A speech network on features gets them by the steps of its description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.export.frontends.reference import features
from bimodal.export.onnx.description import read_description
from bimodal.export.onnx.foreign import frontend_of
from bimodal.models.session import open_artifact
from tests.export import foreign_files as files

WORDS = """
kind: speech
labels: [happy, sad, neutral]
sample_rate: 8000
window_s: 0.5
steps:
  - {step: fit, samples: 4000}
  - {step: mfcc, coefficients: 8, mel: {rate: 8000, fft: 256, hop: 160, bands: 20}}
"""


def test_features_are_made_inside_the_graph(tmp_path: Path) -> None:
    pytest.importorskip("librosa")
    nodes = [
        helper.make_node("ReduceMean", ["mfcc", "axis"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w"], ["logits"]),
    ]
    held = {"axis": np.array([1], np.int64), "w": files.random((8, 3), 0.02)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("mfcc", TensorProto.FLOAT, ["N", 26, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    source = tmp_path / "mfcc.onnx"
    source.write_bytes(model.SerializeToString())
    (tmp_path / "words.yaml").write_text(WORDS)
    plain = ["onnx", str(source), "--kind", "speech", "--labels", "happy,sad,neutral", "--sample-rate", "8000"]
    refused = CliRunner().invoke(app, [*plain, "--out", str(tmp_path / "none")])
    assert "'steps' in a --config file" in refused.output
    words = ["onnx", str(source), "--config", str(tmp_path / "words.yaml"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/mfcc/model.onnx", "speech", provider="cpu")
    wave = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    given = features(frontend_of(read_description(tmp_path / "words.yaml")), wave)
    expected = files.softmax(files.run(source, mfcc=given[None].astype(np.float32))[0])
    np.testing.assert_allclose(artifact.run(waveform=wave[None])["probabilities"], expected, atol=1e-3)
