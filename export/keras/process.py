"""Run the child process in which Keras opens a file, and read its results."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import onnx
from msgspec import Struct
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.keras.file import Architecture, KerasFile, modern

PROGRAM = Path(__file__).with_name("child.py")
TIME_LIMIT_S = 900.0

Floats = NDArray[np.float32]


class Conversion(Struct, frozen=True):
    """Results of the child process.

    Attributes:
        network: the network's graph: features in, class scores out.
        answers: outputs of the original, one array for each array of features.
        input_shape, output_shape: None for free sizes.
        versions: of keras and tensorflow.
    """

    network: onnx.ModelProto
    answers: list[Floats]
    input_shape: tuple[int | None, ...]
    output_shape: tuple[int | None, ...]
    versions: dict[str, str]


def convert(
    file: KerasFile,
    architecture: Architecture | None,
    features: Sequence[Floats],
    folder: Path,
    *,
    classes: int | None = None,
    output: str | None = None,
) -> Conversion:
    """Convert `file` to ONNX and compute the original's outputs for `features` (batches), in a process of its own.

    Args:
        folder: a scratch folder that nothing else uses.
        classes, output: number of classes, and name or number of the output that holds them, where there are several.

    Raises SourceModelError with Keras' message, or how the process ended.
    """
    request = {
        "file": str(_readable(file, folder)),
        "format": file.format,
        "classes": classes,
        "output": output,
        "architecture": None if architecture is None else msgspec.to_builtins(architecture),
    }
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    for number, batch in enumerate(features):
        np.save(folder / f"features_{number:04}.npy", batch, allow_pickle=False)
    report = _run(file.path, folder)
    paths = sorted(folder.glob("answers_*.npy"))
    network = onnx.load(folder / "network.onnx")
    constants = {value.name for value in network.graph.initializer}
    inputs = [value.name for value in network.graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise SourceModelError(
            f"{file.path} can't be written as ONNX: {', '.join(inputs[1:])} would stay unfed; save it as a SavedModel "
            "(model.export('folder')), and export that folder"
        )
    return Conversion(
        network,
        [np.load(path, allow_pickle=False) for path in paths],
        tuple(report["input_shape"]),
        tuple(report["output_shape"]),
        report["versions"],
    )


def _run(path: Path, folder: Path) -> dict[str, Any]:
    # -I: neither modules of the working directory nor PYTHON* variables affect the process.
    command = [sys.executable, "-I", str(PROGRAM), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise SourceModelError(f"Keras did not finish with {path} in {TIME_LIMIT_S:.0f} s") from error
    report_path = folder / "report.json"
    if not report_path.is_file():
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"])[-1]
        raise SourceModelError(f"the process that opens {path} with Keras ended with {done.returncode}: {last[:300]}")
    report = json.loads(report_path.read_text(encoding="utf-8"))
    if "error" in report:
        if "No module named" in report["error"]:
            raise SourceModelError(f"{report['error']}: pip install 'bimodal-emotion[convert]'")
        raise SourceModelError(f"Keras can't convert {path}: {report['error']}")
    return dict(report)


def _readable(file: KerasFile, folder: Path) -> Path:
    """The file, or a copy with its architecture converted if Keras 3 would misread that of Keras 1 or 2."""
    if file.format == "saved-model" or file.config is None or file.format == "keras":
        return file.path.resolve()
    new = modern(file.config)
    if new == file.config:
        return _as_h5(file.path, folder)
    copy = folder / "original.h5"
    copy.write_bytes(file.path.read_bytes())
    with h5py.File(copy, "r+") as opened:
        opened.attrs["model_config"] = json.dumps(new)
    return copy


def _as_h5(path: Path, folder: Path) -> Path:
    """Copy an HDF5 file to a name ending in .h5 if needed: Keras decides by the suffix."""
    if path.suffix in (".h5", ".hdf5"):
        return path.resolve()
    copy = folder / "original.h5"
    copy.write_bytes(path.read_bytes())
    return copy
