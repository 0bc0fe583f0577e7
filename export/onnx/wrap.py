"""Wrap a foreign graph in the preprocessing and postprocessing of an artifact's contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from bimodal.export.artifact import IR_VERSION, OPSET
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.faces import pixel_nodes
from bimodal.export.frontends.levels import Standardise
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.feeds import WHOLE
from bimodal.export.onnx.foreign import AFFECT, frontend_of, opset
from bimodal.export.onnx.graph import canonicalize, has_inner_graphs
from bimodal.export.onnx.ports import Ports
from bimodal.export.scores import Treatment

NEWEST_OF_IR_10 = 22
PREFIX = "foreign/"
UNIT_VARIANCE = Standardise(epsilon=1e-7)
"""Epsilon of Hugging Face's Wav2Vec2FeatureExtractor."""

INPUTS = {"face-static": "faces", "face-dynamic": "embeddings", "speech": "waveform"}


@dataclass(frozen=True)
class Shell:
    """Inputs and outputs of the artifact around a foreign graph.

    Attributes:
        shape: of its input without the batch; names for axes of any size.
        columns: number of columns that the network gives for its classes.
        dimensions: of `embedding`; None if there is none.
        dynamic: True for a free batch size; else 1.
        treatment: how its numbers become probabilities.
        sums: matrix that adds up classes of equal name, or None.
    """

    shape: Sequence[int | str]
    columns: int
    dimensions: int | None
    dynamic: bool
    treatment: Treatment = Treatment("softmax")  # noqa: RUF009 - frozen
    sums: np.ndarray[tuple[int, int], np.dtype[np.float32]] | None = None

    @property
    def classes(self) -> int:
        """Number of columns of `probabilities`."""
        own = 2 if self.treatment.pair else self.columns
        return own if self.sums is None else self.sums.shape[1]


def raise_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Convert a graph of an older opset to opset 18.

    Raises SourceModelError if onnx can't convert it.
    """
    if opset(model) >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except Exception as error:  # the converter raises RuntimeError, SchemaError and others of its own
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise SourceModelError(
            f"{path} is written in opset {opset(model)} and can't be brought to {OPSET} ({reason}): export it again"
        ) from error


def wrap(model: onnx.ModelProto, description: Description, ports: Ports, shell: Shell) -> onnx.ModelProto:
    """Build the artifact's graph around one of opset 18 or newer, with pre- and postprocessing of values."""
    foreign = prefixed(model, dynamic=shell.dynamic)
    before, after = Draft("before"), Draft("after")
    _feed(before, description, ports)
    _answer(after, description, ports, shell)
    batch: int | str = "batch" if shell.dynamic else 1
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, shell.classes])]
    if shell.dimensions is not None:
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, shell.dimensions]))
    kind = description.kind or "face-static"
    if ports.affect:
        outputs.append(helper.make_tensor_value_info(AFFECT[kind], TensorProto.FLOAT, [batch, len(ports.affect)]))
    if description.independent:
        own = 2 if shell.treatment.pair else shell.columns
        outputs.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, own]))
    elements = TensorProto.UINT8 if kind == "face-static" else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(INPUTS[kind], elements, [batch, *shell.shape])]
    return enclose(model, foreign, before, after, inputs, outputs, description.name or "model")


def prefixed(model: onnx.ModelProto, *, dynamic: bool) -> onnx.GraphProto:
    """A copy of the model's graph with PREFIX before its names, for any batch size where `dynamic`."""
    foreign = compose.add_prefix(model, PREFIX).graph
    hold_constants(foreign)
    if dynamic:
        _free_reshapes(foreign)
    return foreign


def enclose(
    model: onnx.ModelProto,
    foreign: onnx.GraphProto,
    before: Draft,
    after: Draft,
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    name: str,
) -> onnx.ModelProto:
    """Join the parts of an artifact's graph; `foreign` is that of `model`, its names with PREFIX."""
    graph = helper.make_graph(
        [*before.nodes, *foreign.node, *after.nodes],
        name,
        inputs,
        outputs,
        [*foreign.initializer, *before.constants, *after.constants],
        sparse_initializer=list(foreign.sparse_initializer),
    )
    if not has_inner_graphs(graph) and not graph.sparse_initializer:
        canonicalize(graph)
    return _model(graph, model)


def _feed(draft: Draft, description: Description, ports: Ports) -> None:
    """Add the preprocessing: from the contract's input to the foreign one."""
    last = INPUTS[description.kind or "face-static"]
    if description.kind == "face-static" and description.pixels is not None:
        nodes, constants = pixel_nodes(description.pixels, last, "before:pixels")
        draft.nodes += nodes
        draft.constants += constants
        last = "before:pixels"
        if len(ports.shape) == 2:
            last = draft.node("Flatten", last, axis=1)
        elif len(ports.shape) == 3:
            last = draft.node("Squeeze", last, draft.integers([1 if description.pixels.layout == "nchw" else 3]))
    if description.kind == "speech":
        last = _feed_sound(draft, description, ports, last)
    if ports.type in WHOLE:
        last = draft.node("Round", last)
        limits = np.iinfo(helper.tensor_dtype_to_np_dtype(ports.type))
        last = draft.node("Clip", last, draft.floats(limits.min), draft.floats(limits.max))
    source = last
    _name_last(draft, draft.node("Cast", last, to=ports.type), PREFIX + ports.input)
    for feed in ports.feeds:
        feed.nodes(draft, source, ports.length_axis, PREFIX + feed.port.name)


def _feed_sound(draft: Draft, description: Description, ports: Ports, last: str) -> str:
    if description.steps:
        return frontend_of(description)(draft, last)
    if description.gain not in (None, 1.0):
        last = draft.node("Mul", last, draft.floats(description.gain))
    if description.normalise:
        last = UNIT_VARIANCE(draft, last)
    if len(ports.shape) == 3:
        last = draft.node("Unsqueeze", last, draft.integers([1]))
    return last


def _answer(draft: Draft, description: Description, ports: Ports, shell: Shell) -> None:
    """Add the postprocessing: from the foreign outputs to the contract's."""
    last = draft.node("Flatten", PREFIX + ports.output, axis=1)
    last = draft.node("Cast", last, to=TensorProto.FLOAT)
    if description.take is not None:
        last = draft.node("Slice", last, draft.integers([0]), draft.integers([description.take]), draft.integers([1]))
    if ports.shift:
        last = draft.node("Add", last, draft.floats(ports.shift))
    last, scores = shell.treatment.nodes(draft, last)
    if shell.sums is not None:
        last = draft.node("MatMul", last, draft.floats(shell.sums))
    draft.nodes.append(helper.make_node("Identity", [last], ["probabilities"]))
    if description.independent:
        draft.nodes.append(helper.make_node("Identity", [scores], ["scores"]))
    if ports.embedding is not None:
        flat = draft.node("Flatten", PREFIX + ports.embedding, axis=1)
        _name_last(draft, draft.node("Cast", flat, to=TensorProto.FLOAT), "embedding")
    if ports.affect:
        columns = []
        for each in ports.affect:
            flat = draft.node("Flatten", PREFIX + each.tensor, axis=1)
            columns.append(draft.node("Gather", flat, draft.integers([each.column]), axis=1))
        joined = draft.node("Concat", *columns, axis=1)
        kind = description.kind or "face-static"
        _name_last(draft, draft.node("Cast", joined, to=TensorProto.FLOAT), AFFECT[kind])


def _name_last(draft: Draft, last: str, name: str) -> None:
    """Rename the output of the newest node to `name`."""
    assert draft.nodes[-1].output[0] == last
    draft.nodes[-1].output[0] = name


def hold_constants(graph: onnx.GraphProto) -> None:
    """Convert Constant nodes to initializers, as everywhere else in artifacts."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            graph.initializer.append(node.attribute[0].t)
            graph.initializer[-1].name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)


def _free_reshapes(graph: onnx.GraphProto) -> None:
    """Make Reshapes to a constant [1, …] keep the batch size: exporters write the 1 of their example.

    Running the graph on several inputs shows whether that is right.
    """
    constants = {value.name: value for value in graph.initializer}
    for number, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[0] in constants or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]).copy()
        if shape.size > 1 and shape[0] == 1:
            shape[0] = 0 if (shape == -1).any() else -1
            graph.initializer.append(numpy_helper.from_array(shape, f"{PREFIX}any_batch_{number}"))
            node.input[1] = f"{PREFIX}any_batch_{number}"


def _model(graph: onnx.GraphProto, foreign: onnx.ModelProto) -> onnx.ModelProto:
    model = helper.make_model(graph, producer_name="bimodal", opset_imports=list(foreign.opset_import))
    model.ir_version = IR_VERSION if opset(foreign) <= NEWEST_OF_IR_10 else max(IR_VERSION, foreign.ir_version)
    return model
