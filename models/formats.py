"""What a file of a foreign model is, by its first bytes and the names inside an archive; nothing in it is run."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

Format = Literal[
    "onnx",
    "tflite",
    "torchscript",
    "program",
    "weights",
    "safetensors",
    "keras",
    "saved-model",
    "folder",
    "other",
    "missing",
]

NAMES: dict[Format, str] = {
    "onnx": "ONNX",
    "tflite": "TensorFlow Lite",
    "torchscript": "TorchScript",
    "program": "a program of torch.export",
    "weights": "a pickle of PyTorch (weights, or a module as Python objects)",
    "safetensors": "weights (safetensors), without their network",
    "keras": "Keras",
    "saved-model": "a SavedModel of TensorFlow",
    "folder": "a folder",
    "other": "of no known format",
    "missing": "missing",
}

HDF5 = b"\x89HDF\r\n\x1a\n"


def format_of(path: Path) -> Format:
    """Find out what a file or folder is, by its first bytes and the names inside an archive; nothing is run."""
    if path.is_dir():
        return "saved-model" if (path / "saved_model.pb").is_file() else "folder"
    if not path.is_file():
        return "missing"
    with path.open("rb") as file:
        head = file.read(16)
    if head[4:8] == b"TFL3":
        return "tflite"
    if head.startswith(HDF5):
        return "keras"
    if head.startswith(b"PK"):
        return _of_archive(path)
    if path.suffix == ".safetensors" or (head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100_000_000):
        return "safetensors"
    if head[:2] == b"\x80\x02" or path.suffix in (".pt", ".pth", ".ckpt", ".bin", ".pkl"):
        return "weights"
    return "onnx" if path.suffix == ".onnx" or head[:1] == b"\x08" else "other"


def _of_archive(path: Path) -> Format:
    if is_torchscript(path):
        return "torchscript"
    if is_program(path):
        return "program"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return "other"
    if "config.json" in names and "model.weights.h5" in names:
        return "keras"
    return "weights" if any(name.endswith("data.pkl") for name in names) else "other"


def is_torchscript(path: Path) -> bool:
    """True if the file is a TorchScript archive, by the names in it only."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def is_program(path: Path) -> bool:
    """True if the file is an archive of torch.export (.pt2), by the names in it only."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        return any(re.fullmatch(r"([^/]+/)?(models/[^/]+\.json|serialized_exported_program\.json)", n) for n in names)
    except (OSError, zipfile.BadZipFile):
        return False


def way_of(path: Path, kind: Format, *, inspected: bool = False) -> str | None:
    """Advice on a file that is no whole network with a description; None where there is nothing to say.

    Args:
        inspected: `bimodal models inspect` says it, which then is not advised.
    """
    if kind in ("keras", "saved-model"):
        further = "" if inspected else f" ('bimodal models inspect {path}' says how)"
        return f"make an artifact of it with 'bimodal export keras {path}'{further}"
    if kind in ("weights", "safetensors"):
        return (
            f"name its network with 'bimodal export torch {path} --architecture NAME', or save the whole network "
            "(torch.onnx.export, torch.export.save) where its code is, and export that file"
        )
    if kind == "folder" and not inspected:
        return f"name one of the files in it ('bimodal models inspect {path}' lists them)"
    if kind == "other":
        return "bimodal reads ONNX, Keras, TensorFlow Lite, TorchScript, torch.export and safetensors files"
    return None


def advice(path: Path) -> str:
    """Say of a file that was named in place of an artifact what it is, and what makes an artifact of it."""
    kind = format_of(path)
    way = way_of(path, kind)
    if way is None:
        way = f"make an artifact of it with 'bimodal export onnx {path} …' ('bimodal models inspect {path}' says how)"
    return f"{path} is {NAMES[kind]}, not an artifact: {way}"
