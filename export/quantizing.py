"""From an artifact and a folder of data to its INT8 twin, measured, and into place."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import onnx

from bimodal.export.artifact import set_metadata
from bimodal.export.cpu import saturates
from bimodal.export.examples import read, split
from bimodal.export.quantize import note, quantize
from bimodal.export.quantize_report import Report, card, compare, require
from bimodal.models.catalog import resolve
from bimodal.models.fetch import install, put
from bimodal.models.session import open_artifact


class Made(NamedTuple):
    """An INT8 twin that lies in a scratch folder, and what was measured of it."""

    path: Path
    report: Report

    def place(self, most_loss: float, *, out: Path | None, install_it: bool) -> list[Path]:
        """Copy it to `out` and into the user's model folder, as asked; where it now lies.

        Raises QuantizationError where it loses more than `most_loss` points: nothing is written then.
        """
        if out is None and not install_it:
            return []
        require(self.report, most_loss)
        places = []
        if out is not None:
            folder = out / self.report.name
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("card.md", "model.onnx"):
                put(self.path.with_name(name).read_bytes(), folder / name)
            places.append(folder / "model.onnx")
        if install_it:
            places.append(install(self.path, self.report.name))
        return places


def make(
    name_or_path: str, data: Path, scratch: Path, *, limit: int, calibration: int, reduce_range: bool | None
) -> Made:
    """Quantise and measure.

    Args:
        limit, calibration: how many examples to measure and to calibrate on, at most.
        reduce_range: None asks this CPU.

    Raises ExportError (data, quantiser) or ModelError (the artifact).
    """
    source = resolve(name_or_path)
    original = open_artifact(source, provider="cpu")
    examples = split(data, original.metadata.kind, calibration=calibration, evaluation=limit)
    narrow = saturates() if reduce_range is None else reduce_range
    path = scratch / "model.onnx"
    twin = quantize(source, path, read(examples.calibration, original), reduce_range=narrow)
    report = compare(
        original,
        twin,
        read(examples.evaluation, original),
        [example.emotion for example in examples.evaluation],
        calibrated_on=len(examples.calibration),
        reduce_range=narrow,
    )
    return Made(_noted(path, report, card(report, original, source)), report)


def _noted(path: Path, report: Report, text: str) -> Path:
    """The figures into the file's metadata, and a card beside it."""
    model = onnx.load_model(str(path))
    facts: dict[str, object] = msgspec.to_builtins(report)
    set_metadata(model, note(open_artifact(path, provider="cpu").metadata, facts))
    path.write_bytes(model.SerializeToString(deterministic=True))
    path.with_name("card.md").write_text(text, encoding="utf-8")
    return path
