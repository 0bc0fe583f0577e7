"""An artifact in 8-bit integers: weights S8 per channel, activations U8, as QuantizeLinear and DequantizeLinear nodes.

Learned layers are quantized; preprocessing and softmax stay in floating point. Convolutions and dense layers are
calibrated on real inputs; LSTMs are quantized dynamically, by each input.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import onnx
import onnxslim
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from bimodal.export.artifact import set_metadata, write
from bimodal.export.errors import QuantizationError
from bimodal.export.quantize.examples import read, split
from bimodal.export.quantize.report import Report, card, compare, require
from bimodal.models.catalog import INT8_SUFFIX, resolve
from bimodal.models.contract import Metadata, read_properties, set_of_model
from bimodal.models.fetch import install, put
from bimodal.models.precision import cpu_features, saturates
from bimodal.models.session import Artifact, open_artifact

LEARNED = ("Conv", "Gemm", "LSTM")
"""Operators of learned layers; nodes before the first of them are preprocessing."""

STATIC = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Relu", "Concat")

PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""Metadata by which ONNX Runtime's quantizer recognises a simplified graph."""


def quantize(artifact: Path, path: Path, calibration: Iterable[NDArray[Any]], *, reduce_range: bool) -> Artifact:
    """Write the artifact's INT8 twin, named with the suffix `-int8`, to `path`.

    Args:
        calibration: real inputs, one batch each, that determine the ranges of activations.
        reduce_range: 7-bit weights, for CPUs without VNNI, whose 16-bit sums would saturate.

    Raises QuantizationError if there is nothing to quantise or ONNX Runtime's quantiser fails.
    """
    model = _simplified(onnx.load_model(str(artifact)))
    metadata = read_properties({entry.key: entry.value for entry in model.metadata_props}, str(artifact))
    learned = learned_nodes(model.graph)
    types = {node.op_type for node in model.graph.node if node.name in learned}
    if not types & set(LEARNED):
        raise QuantizationError(f"{artifact} has no layer that could be quantised ({', '.join(LEARNED)})")
    if _in_integers(model.graph, learned):
        raise QuantizationError(f"the convolutions of {artifact} are in 8-bit integers already")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            if "LSTM" in types:
                model = _dynamic(model, learned, Path(scratch), reduce_range)
            if "Conv" in types:
                model = _static(model, learned, calibration, Path(scratch), reduce_range)
        except Exception as error:  # the quantiser raises whatever its parts do
            raise QuantizationError(f"{artifact} can't be quantised: {_first_line(error)}") from error
    set_metadata(model, msgspec.structs.replace(metadata, name=metadata.name + INT8_SUFFIX))
    return write(model, path)


PART = ("Conv", "Add", "AveragePool", "Relu")
"""Operators that are quantized where only one of several networks in a graph is."""


def quantize_part(
    model: onnx.ModelProto, prefix: str | tuple[str, ...], calibration: Iterable[NDArray[Any]]
) -> onnx.ModelProto:
    """Quantize the convolutions of one of several networks in a graph, and what lies between them.

    Args:
        model: whose weights of that network have names that begin with `prefix`, or with one of several.
        calibration: as of `quantize`.

    Weights have 7 bits, so that every CPU gives the same sums. Raises QuantizationError as `quantize`.
    """
    model = _simplified(model)
    chosen = nodes_of(model.graph, prefix)
    if not chosen:
        raise QuantizationError(f"the graph has no layer whose weights begin with '{prefix}'")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return _static(model, chosen, calibration, Path(scratch), reduce_range=True)
        except Exception as error:  # the quantiser raises whatever its parts do
            raise QuantizationError(f"the graph can't be quantised: {_first_line(error)}") from error


def nodes_of(graph: onnx.GraphProto, prefix: str | tuple[str, ...]) -> set[str]:
    """Names of the nodes of PART that see the network whose weights begin with `prefix`, and no other's, up to its last
    convolution: what is computed from its features (an embedding, distances) must not be clipped."""
    held = {weights.name for weights in graph.initializer}
    makers = {name: node.name for node in graph.node for name in node.output}
    origins: dict[str, set[bool]] = {}
    for node in graph.node:  # in topological order
        own = {name.startswith(prefix) for name in node.input if name in held} if node.op_type in LEARNED else set()
        origins[node.name] = own.union(*(origins[makers[name]] for name in node.input if name in makers))
    needed: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "Conv" or not needed.isdisjoint(node.output):
            needed.update(node.input)
    before = {node.name for node in graph.node if node.op_type == "Conv" or not needed.isdisjoint(node.output)}
    return {node.name for node in graph.node if node.op_type in PART and origins[node.name] == {True}} & before


def note(metadata: Metadata, facts: dict[str, object]) -> Metadata:
    """Add facts about the quantization to the metadata's `metrics`, keeping the original's."""
    return msgspec.structs.replace(metadata, metrics={**(metadata.metrics or {}), "quantization": facts})


def learned_nodes(graph: onnx.GraphProto) -> set[str]:
    """Names of the network's nodes: the first learned layers and everything after them.

    A convolution or dense layer before a logarithm is part of a spectrum, not learned.
    """
    makers = {name: node for node in graph.node for name in node.output}
    spectrum: set[str] = set()
    waiting = [name for node in graph.node if node.op_type == "Log" for name in node.input]
    while waiting:
        maker = makers.get(waiting.pop())
        if maker is not None and maker.name not in spectrum:
            spectrum.add(maker.name)
            waiting.extend(maker.input)
    learned: set[str] = set()
    for node in graph.node:  # in topological order
        begins = node.op_type in LEARNED and node.name not in spectrum
        if begins or any(makers[name].name in learned for name in node.input if name in makers):
            learned.add(node.name)
    return learned


def _in_integers(graph: onnx.GraphProto, learned: set[str]) -> bool:
    """True where there are learned convolutions, and the weights of all of them are made of integers."""
    made = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    weights = [node.input[1] for node in graph.node if node.op_type == "Conv" and node.name in learned]
    return bool(weights) and made.issuperset(weights)


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """Simplify: fold constants, merge batch normalisation into convolutions, name every node."""
    properties = list(model.metadata_props)
    slim: onnx.ModelProto = onnxslim.slim(model)
    del slim.metadata_props[:], slim.graph.value_info[:]
    slim.metadata_props.extend(properties)
    slim.metadata_props.append(onnx.StringStringEntryProto(key=PREPARED[0], value=PREPARED[1]))
    for number, node in enumerate(slim.graph.node):
        node.name = f"{node.op_type.lower()}_{number}"
    return slim


def _dynamic(model: onnx.ModelProto, learned: set[str], folder: Path, reduce_range: bool) -> onnx.ModelProto:
    """Quantize LSTMs dynamically, and dense layers if there is no convolution to calibrate."""
    types = ["LSTM"] if any(node.op_type == "Conv" and node.name in learned for node in model.graph.node) else None
    chosen = [node.name for node in model.graph.node if node.name in learned]
    onnx.save_model(model, str(folder / "simple.onnx"))
    quantize_dynamic(
        folder / "simple.onnx",
        folder / "dynamic.onnx",
        op_types_to_quantize=types or ["LSTM", "MatMul", "Gemm"],
        nodes_to_quantize=chosen,
        per_channel=True,
        reduce_range=reduce_range,
        weight_type=QuantType.QInt8,
    )
    return onnx.load_model(str(folder / "dynamic.onnx"))


def _static(
    model: onnx.ModelProto, learned: set[str], calibration: Iterable[NDArray[Any]], folder: Path, reduce_range: bool
) -> onnx.ModelProto:
    onnx.save_model(model, str(folder / "float.onnx"))
    quantize_static(
        folder / "float.onnx",
        folder / "static.onnx",
        _Inputs(model.graph.input[0].name, calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=list(STATIC),
        nodes_to_quantize=[node.name for node in model.graph.node if node.name in learned],
        per_channel=True,
        reduce_range=reduce_range,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )
    return onnx.load_model(str(folder / "static.onnx"))


class _Inputs(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Calibration data reader: returns one batch after another, then None."""

    def __init__(self, name: str, batches: Iterable[NDArray[Any]]) -> None:
        self._feeds: Iterator[dict[str, NDArray[Any]]] = ({name: batch} for batch in batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


# The whole way: quantize, measure, place.


class Made(NamedTuple):
    """An INT8 artifact in a scratch folder, and its report."""

    path: Path
    report: Report

    def place(self, most_loss: float, *, out: Path | None, install_it: bool) -> list[Path]:
        """Copy it to `out` and into the user's model folder, as asked. Returns the new paths.

        Raises QuantizationError, and writes nothing, if it loses more than `most_loss` points.
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
    """Quantize an artifact and measure the result.

    Args:
        limit, calibration: greatest number of examples to measure and to calibrate on.
        reduce_range: None decides by this CPU.

    Raises ExportError (data, quantiser) or ModelError (the artifact).
    """
    source = resolve(name_or_path)
    original = open_artifact(source, provider="cpu")
    among = set_of_model(original.metadata)
    examples = split(data, original.metadata.kind, calibration=calibration, evaluation=limit, among=among)
    narrow = saturates(platform.machine(), cpu_features()) if reduce_range is None else reduce_range
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
    """Write the report into the file's metadata, and a card beside it."""
    model = onnx.load_model(str(path))
    facts: dict[str, object] = msgspec.to_builtins(report)
    set_metadata(model, note(open_artifact(path, provider="cpu").metadata, facts))
    path.write_bytes(model.SerializeToString(deterministic=True))
    path.with_name("card.md").write_text(text, encoding="utf-8")
    return path
