"""`bimodal export tflite`: convert a TensorFlow Lite file to an artifact, checked against LiteRT in a child process."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bimodal.export.artifact import Progress
from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.convert import adopt
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.foreign import LARGEST_MB, MEGABYTE, Run, read_foreign
from bimodal.export.onnx.ports import Ports
from bimodal.export.torch.torchscript import ModuleProcess

CHILD = Path(__file__).with_name("child.py")
MAGIC = b"TFL3"
"""Identifier of the file format, at its fifth byte."""
ROUNDED = 0.02
"""Tolerance of a probability where the file computes in whole numbers, which round otherwise in ONNX Runtime."""


def is_tflite(path: Path) -> bool:
    """Tell by its first bytes whether a file is TensorFlow Lite."""
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == MAGIC
    except OSError:
        return False


def export_tflite(
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    largest_mb: int = LARGEST_MB,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx, checked against the file itself in LiteRT; arguments as in `export_onnx`.

    Raises ExportError or ArtifactError.
    """
    if not path.is_file():
        raise SourceModelError(f"there is no file {path}")
    if not is_tflite(path):
        raise SourceModelError(f"{path} is no TensorFlow Lite file")
    if path.stat().st_size > largest_mb * MEGABYTE:
        raise SourceModelError(f"{path} is larger than {largest_mb} MB; raise --max-size if you trust it")
    with tempfile.TemporaryDirectory() as scratch, ModuleProcess(path, CHILD, "TensorFlow Lite") as process:
        exported = Path(scratch) / "model.onnx"
        process(None, exported)
        model = read_foreign(exported, largest_mb)
        names = [value.name for value in model.graph.output]
        whole = any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)

        def make_run(ports: Ports) -> Run:
            strangers = [name for name in ports.wanted if name not in names]
            if strangers:
                raise SourceModelError(
                    f"{path}: '{strangers[0]}' is no output of the file, whose outputs are {', '.join(names)}: only "
                    "these "
                    "can be compared with LiteRT"
                )

            def run(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
                answers = process(values)
                return [answers[names.index(name)] for name in ports.wanted]

            return run

        return adopt(
            model,
            path,
            description,
            out,
            progress,
            make_run=make_run,
            pictures=pictures,
            sounds=sounds,
            tolerance=ROUNDED if whole else 1e-4,
        )
