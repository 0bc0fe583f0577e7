"""Face detectors of others become artifacts whose decoded boxes are those of the original's own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from bimodal.export.commands import app
from bimodal.models.faces.detector import Detector
from bimodal.models.session import open_artifact

SIZE = 64
FACE = (2, 1)
"""Column and row of the cell of stride 16 in which each stand-in answers, once the picture is bright."""

node = helper.make_node


def _save(path: Path, outputs: dict[str, np.ndarray[Any, Any]], scores: set[str], white: float = 255) -> Path:
    """A detector [1, 3, 64, 64] of constant rows; `scores` are multiplied by the input's mean over `white`."""
    nodes = [
        node("ReduceMean", ["input"], ["mean"], keepdims=0),
        node("Mul", ["mean", "part"], ["bright"]),
        node("Clip", ["bright", "zero", "one"], ["share"]),
    ]
    constants = {"part": np.float32(1 / white), "zero": np.float32(0), "one": np.float32(1)}
    for name, values in outputs.items():
        constants[f"{name}_rows"] = values.astype(np.float32)
        if name in scores:
            nodes.append(node("Mul", [f"{name}_rows", "share"], [name]))
        else:
            nodes.append(node("Identity", [f"{name}_rows"], [name]))
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(values.shape))
            for name, values in outputs.items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _rows(stride: int, columns: int, repeats: int = 1) -> np.ndarray[Any, Any]:
    return np.zeros(((SIZE // stride) ** 2 * repeats, columns), np.float32)


def _cell(stride: int, repeats: int = 1) -> int:
    return (FACE[1] * (SIZE // stride) + FACE[0]) * repeats


def yunet(path: Path) -> Path:
    """cls, obj, bbox, kps for each stride; the face is 32×24 pixels around (2.5, 1.5) cells of 16."""
    found = {}
    for stride in (8, 16, 32):
        for name, columns in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            found[f"{name}_{stride}"] = _rows(stride, columns)[None]
    at = _cell(16)
    found["cls_16"][0, at], found["obj_16"][0, at] = 0.81, 1.0
    found["bbox_16"][0, at] = (0.5, 0.5, math.log(2), math.log(1.5))
    found["kps_16"][0, at] = np.tile((0.5, 0.5), 5)
    return _save(path, found, {f"cls_{stride}" for stride in (8, 16, 32)})


def scrfd(path: Path) -> Path:
    """Nine unnamed outputs without a batch, two rows a cell, distances in strides from the cell's corner."""
    found = {}
    for group, columns in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            found[f"{group}{stride}"] = _rows(stride, columns, 2)
    at = _cell(16, 2) + 1
    found["score16"][at] = 0.9
    found["bbox16"][at] = (0.5, 0.25, 1.5, 1.25)
    found["kps16"][at] = np.tile((0.5, 0.5), 5)
    return _save(path, found, {f"score{stride}" for stride in (8, 16, 32)}, white=127.5 / 128)


def retinaface(path: Path) -> Path:
    """loc, conf, landms over priors of two sizes a cell, with variances; the face is the prior of 64, halved."""
    cells = [(8, (16, 32)), (16, (64, 128)), (32, (256, 512))]
    count = sum(len(sizes) * (SIZE // stride) ** 2 for stride, sizes in cells)
    loc, conf, landms = np.zeros((1, count, 4)), np.zeros((1, count, 2)), np.zeros((1, count, 10))
    at = 2 * (SIZE // 8) ** 2 + _cell(16, 2)
    conf[0, at, 1] = 0.9
    loc[0, at] = (0.0, 0.0, math.log(0.5) / 0.2, math.log(0.375) / 0.2)
    return _save(path, {"loc": loc, "conf": conf, "landms": landms}, {"conf"}, white=140)


def yolov5(path: Path) -> Path:
    """One output of finished rows: centre, size, objectness, keypoints, class."""
    rows = np.zeros((1, 30, 16))
    rows[0, 7] = (40, 24, 32, 24, 0.9, *([40, 24] * 5), 1.0)
    return _save(path, {"output": rows}, {"output"}, white=1)


def yolov8(path: Path) -> Path:
    """Columns before rows, and a visibility behind each keypoint."""
    rows = np.zeros((1, 30, 20))
    rows[0, 7] = (40, 24, 32, 24, 0.9, *([40, 24, 0.5] * 5))
    return _save(path, {"output0": rows.transpose(0, 2, 1)}, {"output0"}, white=1)


def _export(source: Path, out: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["onnx", str(source), *arguments, "--out", str(out)])


@pytest.mark.parametrize(
    ("make", "preset"),
    [
        (yunet, "yunet"),
        (scrfd, "scrfd"),
        (retinaface, "retinaface"),
        (yolov5, "yolov5-face"),
        (yolov8, "yolov8-face"),
    ],
)
def test_each_form_is_decoded_as_its_authors_do(tmp_path: Path, make: Callable[[Path], Path], preset: str) -> None:
    result = _export(make(tmp_path / "d.onnx"), tmp_path / "out", "--preset", preset, "--name", "mine")
    assert result.exit_code == 0, result.output
    artifact = open_artifact(tmp_path / "out/mine/model.onnx", "face-detector", provider="cpu")
    find = Detector(artifact, min_score=0.5)
    (face,) = find(np.full((SIZE, SIZE, 3), 255, np.uint8)).faces
    x, y, width, height = face.row[:4]
    assert (x + width / 2, y + height / 2) == pytest.approx((40, 24), abs=0.01)
    assert (width, height) == pytest.approx((32, 24), rel=1e-4)
    assert face.score == pytest.approx(0.9, abs=0.02)
    assert all(point == pytest.approx((40, 24), abs=0.01) for point in zip(face.row[4::2], face.row[5::2], strict=True))
    assert find(np.zeros((SIZE, SIZE, 3), np.uint8)).faces == []
    assert artifact.metadata.labels is None


def _refused(tmp_path: Path, source: Path, *arguments: str) -> str:
    result = _export(source, tmp_path / "out", *arguments)
    assert result.exit_code == 1, result.output
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(result.output).strip()
    return str(result.output)


def test_without_a_description_of_its_rows_a_detector_is_not_guessed(tmp_path: Path) -> None:
    said = _refused(tmp_path, yunet(tmp_path / "d.onnx"), "--kind", "face-detector")
    assert "--preset" in said


def test_the_wrong_preset_names_the_outputs_that_are_there(tmp_path: Path) -> None:
    said = _refused(tmp_path, retinaface(tmp_path / "d.onnx"), "--preset", "yunet")
    assert "loc, conf, landms" in said


def test_rows_that_do_not_fit_the_grids_are_counted(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text(
        "kind: face-detector\npixels: {}\n"
        "geometry: {grids: [{stride: 8}], keypoints: []}\n"
        "outputs: {boxes: [{output: bbox_16}], scores: [{output: cls_16}]}\n"
    )
    said = _refused(tmp_path, yunet(tmp_path / "d.onnx"), "--config", str(config))
    assert "16 boxes" in said
    assert "64" in said


def test_scores_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    source = _save(tmp_path / "d.onnx", {"output": np.full((1, 30, 16), -7.0)}, set())
    assert "sigmoid or softmax" in _refused(tmp_path, source, "--preset", "yolov5-face")
