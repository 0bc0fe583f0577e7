"""Write a converted graph as an artifact: add metadata, check contract and parity, move it into place."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import onnx

from bimodal.export.errors import ExportError
from bimodal.export.onnx.graph import canonicalize
from bimodal.export.parity import Cases, Original, as_metrics, compare, require
from bimodal.models.contract import Metadata, to_properties
from bimodal.models.session import Artifact, milliseconds, open_artifact

OPSET = 18
IR_VERSION = 10


def make_model(graph: onnx.GraphProto, metadata: Metadata) -> onnx.ModelProto:
    """Make a model of `graph`, in canonical form, and `metadata`.

    Raises onnx.checker.ValidationError for a broken graph.
    """
    canonicalize(graph)
    graph.name = metadata.name
    graph.doc_string = ""
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="bimodal",
    )
    set_metadata(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def set_metadata(model: onnx.ModelProto, metadata: Metadata) -> None:
    """Replace all `metadata_props` of the model, and remove what torch's exporter has left elsewhere."""
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, to_properties(metadata))
    for graph in (model.graph, *model.functions):
        _forget_exporter(graph)


EXPORTERS_KEYS = ("namespace", "pkg.torch.", "pkg.onnxscript.")
"""Beginnings of the keys with which torch's exporter notes scopes, names, and lines of the source with the paths of the
machine that exported it."""


def _forget_exporter(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    noted: list[Any] = [graph, *graph.node, *graph.value_info]
    if isinstance(graph, onnx.GraphProto):
        noted += [*graph.initializer, *graph.input, *graph.output]
    for one in noted:
        kept = [entry for entry in one.metadata_props if not entry.key.startswith(EXPORTERS_KEYS)]
        if len(kept) < len(one.metadata_props):
            del one.metadata_props[:]
            one.metadata_props.extend(kept)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _forget_exporter(inner)


def write(model: onnx.ModelProto, path: Path) -> Artifact:
    """Write the file, then open it as users do (contract and warm-up).

    Raises ArtifactError if it breaks its contract.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return open_artifact(path, provider="cpu")


# The end of every export: contract, parity with the original, metrics in the metadata, one move into place.

Progress = Callable[[str], None]


def ship(
    model: onnx.ModelProto,
    metadata: Metadata,
    original: Original,
    cases: Cases,
    out: Path,
    progress: Progress,
    *,
    tolerance: float = 1e-4,
    notes: Sequence[str] | None = None,
) -> Path:
    """Write `out`/<name>/model.onnx if the graph's outputs match the original's; nothing is written otherwise.

    Args:
        model: the graph with the contract's names, on any opset; its metadata are replaced.
        original, cases: the reference and its inputs, see export/parity.py.
        tolerance: see `compare`.
        notes: sentences about the conversion, for the card.md beside it; None for no card.

    Raises ArtifactError if the contract is broken, ParityError if outputs differ, ExportError if the name can't be a
    folder's.
    """
    name = metadata.name
    check_name(name)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        set_metadata(model, metadata)
        artifact = write(model, path)
        progress(f"{name}: {len(model.graph.node)} nodes, {path.stat().st_size / 1e6:.2f} MB")
        differences = compare(artifact, original, cases, tolerance)
        for difference in differences:
            progress(f"  {difference}")
        require(name, differences)
        cost = f"a run of one input takes {milliseconds(artifact):.3g} ms on one thread of this machine"
        progress(f"  {cost}")
        metrics = {**(metadata.metrics or {}), **as_metrics(differences)}
        set_metadata(model, msgspec.structs.replace(metadata, metrics=metrics))
        write(model, path)
        made = _move(path, out / name / "model.onnx", progress)
    if notes is not None:
        _write_card(made.with_name("card.md"), metadata, [*notes, *map(str, differences), cost])
    return made


MARK = "<!-- written by bimodal export; edit it, remove this line, and it will not be written over -->"


def _write_card(path: Path, metadata: Metadata, notes: Sequence[str]) -> None:
    """Write what the conversion found out in words, unless a person wrote the existing card."""
    if path.is_file() and MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return
    lines = [
        MARK, f"# {metadata.name}", "", f"A {metadata.kind} model, version {metadata.version}: {metadata.source}.", "",
        f"Licence: {metadata.license}.", "",
    ]  # fmt: skip
    if metadata.labels:
        kept = f"; kept by name, none of the seven: {', '.join(metadata.categories)}" if metadata.categories else ""
        lines += [f"Classes: {', '.join(metadata.labels)}{kept}.", ""]
    lines += ["## Conversion", *(f"- {note}" for note in notes), ""]
    clean = ["".join(char if char.isprintable() else " " for char in line) for line in lines]
    path.write_text("\n".join(clean), encoding="utf-8")


def check_name(name: str) -> None:
    """Raise ExportError if the name can't be a folder's."""
    strange = any(character in '/\\:\0"' or not character.isprintable() for character in name)
    if not name or name in (".", "..") or strange or name != name.strip():
        raise ExportError(f"{name!r} can't be the name of a model: it becomes the name of a folder; say --name")


def _move(path: Path, target: Path, progress: Progress) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_suffix(".new")
    try:
        beside.write_bytes(path.read_bytes())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    progress(f"wrote {target}")
    return target
