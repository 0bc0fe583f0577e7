"""Whole networks of every format are told apart by their content, adopted, and answer as their own framework does."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.export.errors import SourceModelError
from bimodal.export.torch.torchscript import _look_through_program
from bimodal.models.formats import format_of
from bimodal.models.session import open_artifact
from tests.export import foreign_files as files

WORDS = ("--kind", "face-static", "--colour", "rgb", "--labels", "happy,sad,fear", "--scale", "0.0039")

TFLITE = """
import sys
import tensorflow as tf
random = tf.random.Generator.from_seed(3)
kernel, head = tf.Variable(random.normal((3, 3, 3, 4)) * 0.1), tf.Variable(random.normal((4, 3)))

@tf.function(input_signature=[tf.TensorSpec((1, 16, 16, 3))])
def network(x):
    return tf.nn.softmax(tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME")), (1, 2)) @ head)

converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
open(sys.argv[1], "wb").write(converter.convert())
"""


def export(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert "Traceback" not in result.output
    return result.exit_code, result.output


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch")
    needs("onnxscript")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 3)

        def forward(self, x: Any) -> Any:
            return self.head(torch.relu(self.conv(x)).mean((2, 3)))

    torch.manual_seed(0)
    shapes = ({0: torch.export.Dim("batch")},)
    exported = torch.export.export(Net().eval(), (torch.zeros(2, 3, 16, 16),), dynamic_shapes=shapes)
    torch.export.save(exported, str(tmp_path / "net.pt2"))
    return tmp_path / "net.pt2"


def test_programs_of_torch_export_answer_as_torch_does(program: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    assert format_of(program) == "program"
    status, said = export("onnx", str(program), *WORDS, "--out", str(tmp_path / "out"))
    assert status == 0, said
    assert "logits: a softmax is added" in said
    faces = files.pictures(3, 16)
    module = torch.export.load(str(program)).module()
    values = torch.from_numpy((faces * 0.0039).transpose(0, 3, 1, 2).astype(np.float32))
    expected = torch.softmax(module(values), dim=1).detach().numpy()
    artifact = open_artifact(tmp_path / "out/net/model.onnx", "face-static", provider="cpu")
    np.testing.assert_allclose(artifact.run(faces=faces)["probabilities"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("m/data/constants/custom_obj_0", "x", "pickled object"),
        ("m/models/evil.json", '{"target": "torch.ops.evil.run.default"}', "no operator of torch's own"),
        ("m/models/evil.json", '{"expr_str": "__import__(1)"}', "no plain sum"),
        ("m/models/evil.json", json.dumps({"expr_str": "open('/etc/passwd')"}), "no plain sum"),
    ],
)
def test_programs_that_hold_more_than_a_graph_are_not_opened(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    with zipfile.ZipFile(tmp_path / "evil.pt2", "w") as archive:
        archive.writestr("m/models/model.json", '{"target": "torch.ops.aten.relu.default"}')
        archive.writestr(name, content)
    with pytest.raises(SourceModelError, match=words):
        _look_through_program(tmp_path / "evil.pt2", 10)


@pytest.mark.slow
def test_tensorflow_lite_answers_as_litert_does(tmp_path: Path) -> None:
    needs("tensorflow", "tf2onnx", "ai_edge_litert")
    path = tmp_path / "net.tflite"
    subprocess.run([sys.executable, "-c", TFLITE, str(path)], check=True, capture_output=True)
    assert format_of(path) == "tflite"
    status, said = export("onnx", str(path), *WORDS, "--layout", "nhwc", "--out", str(tmp_path / "out"))
    assert status == 0, said
    assert "same label in 100 %" in said
    artifact = open_artifact(tmp_path / "out/net/model.onnx", "face-static", provider="cpu")
    assert artifact.run(faces=files.pictures(3, 16))["probabilities"].shape == (3, 3)


def test_safetensors_of_a_known_network_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    needs("safetensors", "onnxscript", "onnxslim")
    from safetensors.torch import save_file

    from bimodal.export.torch.architectures import read_state_dict

    save_file({"module.a": torch.ones(2)}, tmp_path / "net.safetensors")
    assert format_of(tmp_path / "net.safetensors") == "safetensors"
    assert list(read_state_dict(tmp_path / "net.safetensors")) == ["a"]
    status, said = export("torch", str(tmp_path / "net.safetensors"))
    assert status == 1
    assert "--architecture (emo-affectnet" in said
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(SourceModelError, match="can't be read as safetensors"):
        read_state_dict(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.onnx", b"\x08\x0a:\x00", "onnx"),
        ("a.h5", b"\x89HDF\r\n\x1a\n", "keras"),
        ("a.pth", b"\x80\x02}q", "weights"),
        ("a.tflite", b"\x1c\x00\x00\x00TFL3", "tflite"),
        ("a.txt", b"hello", "other"),
    ],
)
def test_formats_are_told_by_content(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert format_of(tmp_path / name) == found
    assert format_of(tmp_path) == "folder"
    assert format_of(tmp_path / "nothing") == "missing"


def test_what_is_no_whole_network_is_told_with_its_command(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (tmp_path / "a.pth").write_bytes(b"\x80\x02}q")
    assert f"bimodal export keras {tmp_path}/a.h5" in export("onnx", str(tmp_path / "a.h5"), *WORDS)[1]
    assert "torch.onnx.export" in export("onnx", str(tmp_path / "a.pth"), *WORDS)[1]


def test_a_pickled_module_is_told_as_what_it_is(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    needs("safetensors", "onnxscript", "onnxslim")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "state.pt")
    assert "a Python object, torch.nn.modules.linear.Linear" in export("torch", str(tmp_path / "module.pt"))[1]
    assert "holds weights, not the network" in export("torch", str(tmp_path / "state.pt"))[1]
