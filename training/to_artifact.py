"""Export a trained graph as an artifact, with metadata, and check that ONNX Runtime agrees with torch."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from bimodal.export.artifact import set_metadata as set_model_metadata
from bimodal.models.contract import INPUTS, OUTPUTS, Metadata
from bimodal.models.session import open_artifact
from bimodal.training.errors import TrainingError
from bimodal.training.loop import Progress

OPSET = 18
TOLERANCE = 1e-4
EXPORTS = 2
"""So often a graph is exported until every axis that should take any size does."""

Example: TypeAlias = "NDArray[Any] | tuple[NDArray[Any], ...]"
"""One array for a graph with one input, or one for each input in the contract's order."""


def write_artifact(
    graph: nn.Module,
    metadata: Metadata,
    example: Example,
    dynamic: Mapping[int, str],
    checks: Sequence[Example],
    path: Path,
    half: bool = False,
) -> float:
    """Export, add the metadata, check, and put the file at `path` in one move.

    Args:
        graph: takes and returns the contract's inputs and outputs of `metadata.kind`, in order.
        example: an input of the right shape, at least 2 long on every dynamic axis.
        dynamic: names of the axes of the inputs that may have any size.
        half: round and store large weights as float16; the graph computes in float32 all the same.
        checks: inputs on which ONNX Runtime and torch must agree; random and real ones, several batch sizes.

    Returns:
        The largest difference between torch and ONNX Runtime.

    Raises:
        ArtifactError: the exported file breaks its contract.
        TrainingError: torch and ONNX Runtime differ by more than 1e-4, or the exporter fixed an axis that is dynamic.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new.onnx")
    if half:
        round_to_half(graph)
    try:
        _export(graph.eval(), metadata, example, dynamic, fresh)
        set_metadata(fresh, metadata)
        if half:
            store_in_half(fresh)
        difference = parity(graph, fresh, checks)
        if not difference <= TOLERANCE:
            raise TrainingError(f"{path}: ONNX Runtime and torch differ by {difference:.1e}, more than {TOLERANCE:.0e}")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
    return difference


def set_metadata(path: Path, metadata: Metadata) -> None:
    """Replace all `metadata_props` of a file, as `bimodal export` does."""
    model = onnx.load(str(path))
    set_model_metadata(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


LARGE = 4_096


def round_to_half(module: nn.Module) -> None:
    """Round the large weights to float16's values; they stay float32, and `store_in_half` then loses nothing."""
    with torch.no_grad():
        for values in module.parameters():
            if values.numel() >= LARGE:
                values.copy_(values.half().float())


def store_in_half(path: Path) -> None:
    """Store large weights that float16 holds exactly as float16, cast when the file is loaded: nearly half the size."""
    model = onnx.load(str(path))
    casts = []
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.dtype != np.float32 or values.size < LARGE or not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def parity(graph: nn.Module, path: Path, checks: Sequence[Example]) -> float:
    """Largest difference between the outputs of torch and of the artifact at `path` (opened as users open it)."""
    artifact = open_artifact(path, provider="cpu")
    worst = 0.0
    for check in checks:
        arrays = _arrays(check)
        with torch.inference_mode():
            wanted = graph(*map(torch.from_numpy, arrays))
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        found = artifact.run(**{tensor.name: values for tensor, values in zip(artifact.inputs, arrays, strict=True)})
        for tensor, name in zip(wanted, (out.name for out in artifact.outputs), strict=True):
            worst = max(worst, float(np.abs(found[name] - tensor.numpy()).max(initial=0.0)))
    return worst


def _arrays(example: Example) -> tuple[NDArray[Any], ...]:
    return example if isinstance(example, tuple) else (example,)


def _export(graph: nn.Module, metadata: Metadata, example: Example, dynamic: Mapping[int, str], path: Path) -> None:
    arrays = _arrays(example)
    axes = {axis: torch.export.Dim(name) for axis, name in dynamic.items()}
    with torch.inference_mode():
        answers = graph(*map(torch.from_numpy, arrays))
    count = len(answers) if isinstance(answers, tuple) else 1
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    for _ in range(EXPORTS):
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter warns of its own deprecated calls
            torch.onnx.export(
                graph,
                tuple(map(torch.from_numpy, arrays)),
                str(path),
                input_names=[want.name for want in INPUTS[metadata.kind]],
                output_names=[want.name for want in OUTPUTS[metadata.kind]][:count],
                dynamic_shapes=(axes,) * len(arrays),
                opset_version=OPSET,
                external_data=False,
                dynamo=True,
                verbose=False,
            )
        if not fixed_axes(path, dynamic):
            return
        # What was traced in this process before may have spoilt it: the exporter then gives up on sizes in silence.
        torch.compiler.reset()
    fixed = ", ".join(dynamic[axis] for axis in fixed_axes(path, dynamic))
    raise TrainingError(f"{path}: torch exported a graph for one size of {fixed} only: try it again in a new process")


def fixed_axes(path: Path, dynamic: Mapping[int, str]) -> list[int]:
    """The axes of a graph's inputs that should take any size, and take one."""
    shapes = [value.type.tensor_type.shape.dim for value in onnx.load(str(path)).graph.input]
    return [axis for axis in dynamic if any(shape[axis].HasField("dim_value") for shape in shapes)]


# card.md beside an artifact: its metadata in words. A card that a person wrote is kept.

MARK = "<!-- written by bimodal train; edit it, remove this line, and it will not be written over -->"

TITLES = {"conditions": "UAR of the centre window, heard under", "uar_folds": "UAR of the fold that leaves out"}
"""Titles of figures in the card."""

LIMITS = """## Limits
- Labels of acted or found examples: a shown emotion is not a felt one. Do not use this to judge people.
- Figures hold for people like those of the data, recorded like them."""


CHANCE = 1.2
"""A UAR of at most so many times chance is no better than chance."""
TEMPERATURES = (0.1, 10.0)
"""Outside of these a temperature says that the network's scores are worth nothing."""


def doubts(metadata: Metadata) -> list[str]:
    """Why a model should not be used, one sentence each: no better than chance, or an absurd temperature."""
    found = []
    uar, labels = (metadata.metrics or {}).get("uar"), len(metadata.labels or ())
    if isinstance(uar, int | float) and labels and uar <= CHANCE / labels:
        found.append(f"its UAR of {uar:.3f} is no better than chance, which is {1 / labels:.3f} for {labels} classes")
    temperature = metadata.temperature
    if temperature is not None and not TEMPERATURES[0] < temperature < TEMPERATURES[1]:
        found.append(f"its temperature of {temperature:g} is absurd: its scores say little about how sure it is")
    return found


def write_card(folder: Path, metadata: Metadata, command: str, progress: Progress, about: str = "") -> None:
    """Write `folder`/card.md from an artifact's metadata, unless a person wrote the existing one.

    Args:
        command: the command that made the artifact.
        about: additional text.
    """
    path = folder / "card.md"
    for doubt in doubts(metadata):
        progress(f"WARNING: {metadata.name} should not be used: {doubt}; check the data and their labels")
    if path.is_file() and MARK not in path.read_text(encoding="utf-8"):
        progress(f"{path} was written by hand and stays as it is: compare its figures with the artifact's")
        return
    path.write_text(card_of(metadata, command, about), encoding="utf-8")


def card_of(metadata: Metadata, command: str, about: str = "") -> str:
    """The card's text."""
    metrics = dict(metadata.metrics or {})
    protocol, learnt = metrics.pop("protocol", ""), metrics.pop("trained_on", [])
    recall, intervals = metrics.pop("recall", {}), metrics.pop("recall_95", {})
    plain = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    lines = [
        MARK, f"# {metadata.name}", "",
        f"A {metadata.kind} model, version {metadata.version}: {metadata.source}. {about}".rstrip(), "",
        *(line for doubt in doubts(metadata) for line in (f"> **Do not use this model: {doubt}.**", "")),
        "| | |", "|---|---|", *_facts(metadata), "",
        "## Data and licence", f"{metadata.license}.",
        f"Trained on: {', '.join(str(part) for part in learnt) if isinstance(learnt, list) else learnt}.", "",
        "## Figures", f"{protocol}.", "",
        "| " + " | ".join(plain) + " |", "|" + "---|" * len(plain),
        "| " + " | ".join(str(value) for value in plain.values()) + " |", "",
    ]  # fmt: skip
    if isinstance(recall, dict) and recall:
        lines += ["| recall of | " + " | ".join(recall) + " |", "|---" * (len(recall) + 1) + "|"]
        lines += ["| | " + " | ".join(str(value) for value in recall.values()) + " |"]
        if isinstance(intervals, dict) and intervals:
            ends = [" – ".join(map(str, intervals.get(label, []))) for label in recall]
            lines += ["| 95 % interval (Wilson) | " + " | ".join(ends) + " |"]
        lines += [""]
    for name, value in metrics.items():
        if name not in plain:
            lines += [*_further(name, value), ""]
    return "\n".join([*lines, f"    {command}", "", LIMITS, ""])


def _further(name: str, value: object) -> list[str]:
    if isinstance(value, dict) and value and all(isinstance(figure, int | float) for figure in value.values()):
        rows = [f"| {what} | {figure} |" for what, figure in value.items()]
        return [f"| {TITLES.get(name, name)} | |", "|---|---|", *rows]
    return [f"{name}: {json.dumps(value, ensure_ascii=False)}"]


def _facts(metadata: Metadata) -> list[str]:
    facts: dict[str, object] = {
        "labels": ", ".join(metadata.labels or ()),
        "embedding space": metadata.embedding_space,
        "sample rate": metadata.sample_rate,
        "longest and shortest window, s": (
            f"{metadata.window_s}, {metadata.minimum_window_s}" if metadata.minimum_window_s else metadata.window_s
        ),
        "seconds between two steps": metadata.interval_s,
        "temperature, already applied": metadata.temperature,
    }
    if metadata.crop is not None:
        crop = metadata.crop
        facts["crop"] = f"{crop.scale} × the mesh's box, moved by {crop.shift_y} heights, eyes level: {crop.rotate}"
    return [f"| {name} | {value} |" for name, value in facts.items() if value is not None]
