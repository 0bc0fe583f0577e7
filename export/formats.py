"""How a whole network of any format becomes an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bimodal.export.artifact import Progress
from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.foreign import LARGEST_MB
from bimodal.export.tflite.convert import export_tflite
from bimodal.extras import require
from bimodal.models.formats import NAMES, format_of, way_of


def convert(
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    largest_mb: int = LARGEST_MB,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx for a whole network as described; arguments as in `export_onnx`.

    Raises ExportError or ArtifactError.
    """
    kind = format_of(path)
    if kind == "tflite":
        require("export tflite", "convert", "tensorflow", "tf2onnx", "ai_edge_litert")
        return export_tflite(path, description, out, progress, largest_mb=largest_mb, pictures=pictures, sounds=sounds)
    if kind in ("torchscript", "program"):
        require("export torch", "convert", "torch", "onnxscript")
        from bimodal.export.torch.torchscript import export_torchscript

        return export_torchscript(
            path, description, out, progress, largest_mb=largest_mb, pictures=pictures, sounds=sounds
        )
    way = way_of(path, kind)
    if way is not None:
        raise SourceModelError(f"{path} is {NAMES[kind]}, not ONNX: {way}")
    from bimodal.export.onnx.convert import export_onnx

    return export_onnx(path, description, out, progress, largest_mb=largest_mb, pictures=pictures, sounds=sounds)
