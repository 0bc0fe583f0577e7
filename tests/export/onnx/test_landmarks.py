"""Face meshes of others become artifacts whose points and presence the face worker reads; other points are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.models.faces.mesh import Landmarks
from bimodal.models.faces.resampling import Square
from bimodal.models.session import open_artifact
from tests.export import foreign_files as files

F32, node, value = TensorProto.FLOAT, helper.make_node, helper.make_tensor_value_info


def mesh(path: Path, side: int, points: int, *, shares: bool = False) -> Path:
    """[N, 3, side, side] of 0…1 → [N, points · 3] between 0 and the side (or 1), and a logit of presence."""
    random = np.random.default_rng(0)
    nodes = [
        node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        node("MatMul", ["mean", "w"], ["z"]),
        node("Sigmoid", ["z"], ["s"]),
        node("Mul", ["s", "size"], ["landmarks"]),
        node("MatMul", ["mean", "v"], ["flag"]),
    ]
    constants = {
        "axes": np.array([2, 3], np.int64), "w": random.normal(0, 2, (3, points * 3)).astype(np.float32),
        "size": np.array(1 if shares else side, np.float32), "v": np.full((3, 1), 5, np.float32),
    }  # fmt: skip
    held = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    ends = [value("landmarks", F32, ["N", points * 3]), value("flag", F32, ["N", 1])]
    graph = helper.make_graph(nodes, "g", [value("image", F32, ["N", 3, side, side])], ends, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def export(source: Path, out: Path, *arguments: str) -> tuple[int, str]:
    words = ["onnx", str(source), "--kind", "face-landmarks", "--colour", "rgb", "--scale", "0.00392156862745098"]
    result = CliRunner().invoke(app, [*words, *arguments, "--out", str(out)])
    return result.exit_code, result.output


@pytest.mark.parametrize(("side", "points", "shares"), [(192, 468, False), (64, 478, True)])
def test_points_are_in_pixels_of_the_crop_and_the_worker_reads_them(
    tmp_path: Path, side: int, points: int, shares: bool
) -> None:
    source = mesh(tmp_path / "mesh.onnx", side, points, shares=shares)
    status, said = export(source, tmp_path / "out", "--presence", "flag")
    assert status == 0, said
    artifact = open_artifact(tmp_path / "out/mesh/model.onnx", "face-landmarks", provider="cpu")
    face = np.full((2, 192, 192, 3), (10, 200, 90), np.uint8)
    theirs, flag = files.run(
        source, image=np.ascontiguousarray(face[:, :side, :side].transpose(0, 3, 1, 2) / np.float32(255))
    )
    found = artifact.run(faces=face)
    expected = theirs[:, : 468 * 3].reshape(2, 468, 3) * (192 if shares else 192 / side)
    np.testing.assert_allclose(found["points"], expected, atol=0.05)
    np.testing.assert_allclose(found["presence"], 1 / (1 + np.exp(-flag)), atol=1e-3)
    frame = np.full((240, 320, 3), (10, 200, 90), np.uint8)
    assert Landmarks(artifact)(frame, [Square(160, 120, 100, 0.0)]).points.shape == (1, 468, 3)


def test_presence_may_be_missing_and_other_points_are_refused(tmp_path: Path) -> None:
    status, said = export(mesh(tmp_path / "mesh.onnx", 192, 468), tmp_path / "out")
    assert status == 0, said
    assert "--presence" in said
    assert "left out: output 'flag'" in said
    status, said = export(mesh(tmp_path / "few.onnx", 64, 68), tmp_path / "none")
    assert status == 1
    assert "keep facemesh-468" in said
    assert not (tmp_path / "none").exists()
