"""A foreign file in place of an artifact is told what it is, with the command that makes an artifact of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bimodal.models.catalog import resolve
from bimodal.models.errors import CatalogError
from bimodal.models.formats import advice, format_of


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return path


@pytest.mark.parametrize(
    ("name", "members", "words"),
    [
        ("a.keras", ("config.json", "model.weights.h5"), "Keras, not an artifact: .*bimodal export keras"),
        ("a.pt", ("archive/data.pkl", "archive/constants.pkl"), "TorchScript, .*bimodal export onnx"),
        ("a.pt", ("archive/data.pkl",), "a pickle of PyTorch .*--architecture NAME"),
        ("a.pt2", ("m/models/model.json",), "torch.export, .*bimodal export onnx"),
        ("a.zip/", ("b",), "no model file"),
    ],
)
def test_a_foreign_file_in_the_config_is_told_its_command(
    tmp_path: Path, name: str, members: tuple[str, ...], words: str
) -> None:
    path = str(tmp_path / name) + ("/" if name.endswith("/") else "")
    if not name.endswith("/"):
        archive(tmp_path / name, *members)
    with pytest.raises(CatalogError, match=words):
        resolve(path)


def test_folders_and_missing_files_are_told_too(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="a folder, not an artifact: name one of the files"):
        resolve(str(tmp_path))
    with pytest.raises(CatalogError, match=r"there is no model file gone\.pt"):
        resolve("gone.pt")
    with pytest.raises(CatalogError, match="there is no model 'face-compct'"):
        resolve("face-compct")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"x")
    assert format_of(tmp_path / "saved") == "saved-model"
    assert "bimodal export keras" in advice(tmp_path / "saved")
