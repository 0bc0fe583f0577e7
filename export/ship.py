"""The end of every export: contract, parity with the original, figures into the metadata, and one move into place."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx

from bimodal.export.artifact import set_metadata, write
from bimodal.export.errors import ExportError
from bimodal.export.parity import Cases, Original, as_metrics, compare, require
from bimodal.models.contract import Metadata

Say = Callable[[str], None]


def ship(
    model: onnx.ModelProto,
    metadata: Metadata,
    original: Original,
    cases: Cases,
    out: Path,
    say: Say,
    *,
    tolerance: float = 1e-4,
) -> Path:
    """Write `out`/<name>/model.onnx once the graph is proved to answer as its original; nothing is written otherwise.

    Args:
        model: the graph with the contract's names, on any opset; its metadata are replaced.
        original, cases: what it is measured against and on what, see export/parity.py.
        tolerance: see `compare`.

    Raises ArtifactError where the contract is broken, ParityError where the answers differ, ExportError where the
    name can't be a folder's.
    """
    name = metadata.name
    if not name or name in (".", "..") or any(character in name for character in '/\\:\0"') or name != name.strip():
        raise ExportError(f"'{name}' can't be the name of a model: it becomes the name of a folder")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        set_metadata(model, metadata)
        artifact = write(model, path)
        say(f"{name}: {len(model.graph.node)} nodes, {path.stat().st_size / 1e6:.2f} MB")
        differences = compare(artifact, original, cases, tolerance)
        for difference in differences:
            say(f"  {difference}")
        require(name, differences)
        metrics = {**(metadata.metrics or {}), **as_metrics(differences)}
        set_metadata(model, msgspec.structs.replace(metadata, metrics=metrics))
        write(model, path)
        return _move(path, out / name / "model.onnx", say)


def _move(path: Path, target: Path, say: Say) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".new")
    try:
        beside.write_bytes(path.read_bytes())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    say(f"wrote {target}")
    return target
