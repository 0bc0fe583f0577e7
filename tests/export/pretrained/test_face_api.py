"""face-api's expression network, made from its published weights."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.export.errors import SourceModelError
from bimodal.export.pretrained.face_api import FILES, MANIFEST, WEIGHTS, export_face_api, load_network, read_tensors
from bimodal.models.architectures.face_api_expression import SameConv
from bimodal.models.catalog import ROOT
from bimodal.models.session import open_artifact

PACKAGE_SAYS = [
    [0.8591875, 0.0180988, 0.0031349, 0.1194163, 0.0000036, 0.0000137, 0.0001454],
    [0.1831749, 0.0475486, 0.4884113, 0.1690785, 0.0395559, 0.0541484, 0.0180824],
    [0.1465652, 0.0845885, 0.1410105, 0.1920813, 0.0039129, 0.4258026, 0.0060397],
    [0.2648925, 0.0038498, 0.7186309, 0.0024653, 0.0000992, 0.0015142, 0.0085482],
]
"""Answers of @vladmandic/face-api 1.7.15 itself (its FaceExpressionNet in Node, on the CPU) to `waves()`."""


PACKED = {"dtype": "uint8", "scale": 0.5, "min": -1.0}


def waves() -> NDArray[np.uint8]:
    y, x = np.mgrid[:112, :112] / 111
    rows = [
        np.stack([127 + 120 * np.sin(k * x * 3 + c) * np.cos((k + 1) * y * 2 - c) for c in range(3)], 2)
        for k in range(1, 5)
    ]
    return np.stack(rows).round().astype(np.uint8)


def test_shipped_artifact_answers_as_the_package() -> None:
    artifact = open_artifact(ROOT / "face-api-expression/model.onnx", "face-static", provider="cpu")
    found = artifact.run(faces=waves())
    np.testing.assert_allclose(found["probabilities"], PACKAGE_SAYS, atol=2e-5)
    assert found["embedding"].shape == (4, 256)


@pytest.mark.shared
def test_artifact_is_made_again_with_the_same_graph(shared: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["face-api", "--folder", str(shared / "models/face_api_expression"), "--out", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    one, other = (
        onnx.load(str(path / "face-api-expression/model.onnx")).graph.SerializeToString(deterministic=True)
        for path in (tmp_path, ROOT)
    )
    assert one == other


@pytest.mark.shared
def test_package_is_read_as_the_folder(shared: Path, tmp_path: Path) -> None:
    folder, package = shared / "models/face_api_expression", tmp_path / "face-api.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for name in FILES:
            archive.add(folder / name, f"package/model/{name}")
    one, other = load_network(folder).state_dict(), load_network(package=package).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_quantised_tensors_are_value_times_scale_plus_minimum(tmp_path: Path) -> None:
    weights = [
        {"name": "a", "shape": [2, 2], "dtype": "float32", "quantization": PACKED},
        {"name": "b", "shape": [2], "dtype": "float32"},
    ]
    (tmp_path / MANIFEST).write_text(json.dumps([{"weights": weights}]))
    raw = bytes([0, 2, 4, 255]) + np.array([1.5, -2.5], "<f4").tobytes()
    (tmp_path / WEIGHTS).write_bytes(raw)
    found = read_tensors(tmp_path)
    assert found["a"].tolist() == [[-1.0, 0.0], [1.0, 126.5]]
    assert found["b"].tolist() == [1.5, -2.5]
    (tmp_path / WEIGHTS).write_bytes(raw + b"\0")
    with pytest.raises(SourceModelError, match="describes 12 bytes, but there are 13"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 8])
def test_padding_is_that_of_tensorflow(stride: int, side: int) -> None:
    torch.manual_seed(0)
    conv = SameConv(3, 5, stride, separable=False)
    maps = torch.randn(1, 3, side, side)
    total = max((-(-side // stride) - 1) * stride + 3 - side, 0)
    before, after = total // 2, total - total // 2
    padded = functional.pad(maps, (before, after, before, after))
    wanted = functional.conv2d(padded, conv.pointwise.weight, conv.pointwise.bias, stride)
    torch.testing.assert_close(conv(maps), wanted)


def test_other_weights_and_other_packages_are_refused_with_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["face-api", "--folder", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert f"holds no {MANIFEST}" in result.output
    assert not (tmp_path / "out").exists()
    package = tmp_path / "other.tgz"
    with tarfile.open(package, "w:gz") as archive:
        entry = tarfile.TarInfo("package/readme")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"hi"))
    with pytest.raises(SourceModelError, match="no npm package of face-api"):
        export_face_api(tmp_path / "out", print, package=package)
    package.write_bytes(b"no archive")
    with pytest.raises(SourceModelError, match="no npm package of face-api"):
        export_face_api(tmp_path / "out", print, package=package)
