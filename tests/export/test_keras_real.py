"""The three real Keras files in shared/models: converted, and compared with Keras on real faces and speech."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from export.from_keras import export_keras
from export.keras_recipe import read_preset
from models.session import open_artifact

for package in ("tensorflow", "tf2onnx", "librosa"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "preset", "kind"),
    [
        ("fer2013_mini_xception.hdf5", "mini-xception", "face-static"),
        ("ser_352x15.h5", "ser-352x15", "speech"),
        ("speech_conv1d_216.h5", "conv1d-216", "speech"),
    ],
)
def test_real_files_answer_as_in_keras_on_real_inputs(
    shared: Path, tmp_path: Path, file: str, preset: str, kind: str
) -> None:
    pattern = "ravdess/Actor_0[1-3]/*1-01-0[12]-01-*.flac" if kind == "speech" else "fer2013/valid/*5.png"
    real = sorted((shared / "data").glob(pattern))[:6]
    assert len(real) == 6
    path = export_keras(shared / "models" / file, read_preset(preset), preset, tmp_path, print, real=real)
    metadata = open_artifact(path, kind, provider="cpu").metadata  # type: ignore[arg-type]
    assert metadata.metrics is not None
    assert metadata.metrics["agreement_real"] == 1.0
