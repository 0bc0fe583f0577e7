"""Parity is part of export: what answers otherwise is never written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from bimodal.export.artifact import ship
from bimodal.export.errors import ExportError, ParityError
from bimodal.models.contract import Metadata
from bimodal.models.session import open_artifact
from tests.artifacts import make_face_static

CASES = {
    "random": [np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8) for count in (1, 5)],
    "real": [],
}


class Shifted:
    """The model itself, each output off by so much."""

    def __init__(self, path: Path, shift: Mapping[str, float]) -> None:
        self._artifact = open_artifact(path, provider="cpu")
        self._shift = shift

    def __call__(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        answers = self._artifact.run(faces=batch)
        return {name: value + np.float32(self._shift.get(name, 0)) for name, value in answers.items()}


def _source(tmp_path: Path) -> tuple[onnx.ModelProto, Metadata, Path]:
    path = make_face_static(tmp_path / "source.onnx", size=8)
    return onnx.load(str(path)), open_artifact(path, provider="cpu").metadata, path


def test_what_answers_alike_is_written_with_its_figures(tmp_path: Path) -> None:
    model, metadata, path = _source(tmp_path)
    said: list[str] = []
    written = ship(model, metadata, Shifted(path, {"probabilities": 5e-5}), CASES, tmp_path / "out", said.append)
    assert written == tmp_path / "out/tiny-face-static/model.onnx"
    metrics = open_artifact(written, provider="cpu").metadata.metrics or {}
    assert metrics["agreement_random"] == 1.0
    assert float(str(metrics["parity_probabilities_random"])) == pytest.approx(5e-5, rel=0.1)
    assert metrics["parity_embedding_random"] == 0.0
    assert any("probabilities on 6 random" in line and "same label in 100 %" in line for line in said)
    assert sorted(file.name for file in written.parent.iterdir()) == ["model.onnx"]


@pytest.mark.parametrize("output", ["probabilities", "embedding"])
@pytest.mark.parametrize("shift", [1e-2, float("nan")])
def test_what_answers_otherwise_is_not(tmp_path: Path, output: str, shift: float) -> None:
    model, metadata, path = _source(tmp_path)
    with pytest.raises(ParityError, match=output):
        ship(model, metadata, Shifted(path, {output: shift}), CASES, tmp_path / "out", lambda _: None)
    assert not (tmp_path / "out").exists()


def test_another_shape_is_another_answer(tmp_path: Path) -> None:
    model, metadata, _ = _source(tmp_path)

    def original(batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"probabilities": np.zeros((len(batch), 3), np.float32)}

    with pytest.raises(ParityError, match="has shape"):
        ship(model, metadata, original, CASES, tmp_path / "out", lambda _: None)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", " a"])
def test_a_name_must_be_a_folders(tmp_path: Path, name: str) -> None:
    model, metadata, path = _source(tmp_path)
    fields = {field: getattr(metadata, field) for field in metadata.__struct_fields__}
    with pytest.raises(ExportError, match="can't be the name"):
        ship(model, Metadata(**{**fields, "name": name}), Shifted(path, {}), CASES, tmp_path / "out", lambda _: None)
