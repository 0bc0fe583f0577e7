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
from bimodal.export.onnx.foreign import NUMPY_TYPES, opset
from bimodal.export.onnx.graph import canonicalize, has_inner_graphs
from bimodal.export.onnx.ports import MASK, Ports

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
        classes: number of columns of `probabilities`.
        dimensions: of `embedding`; None if there is none.
        dynamic: True for a free batch size; else 1.
    """

    shape: Sequence[int | str]
    classes: int
    dimensions: int | None
    dynamic: bool


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
    foreign = compose.add_prefix(model, PREFIX).graph
    hold_constants(foreign)
    if shell.dynamic:
        _free_reshapes(foreign)
    before, after = Draft("before"), Draft("after")
    _feed(before, description, ports)
    _answer(after, description, ports)
    batch: int | str = "batch" if shell.dynamic else 1
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, shell.classes])]
    if shell.dimensions is not None:
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, shell.dimensions]))
    kind = description.kind or "face-static"
    elements = TensorProto.UINT8 if kind == "face-static" else TensorProto.FLOAT
    graph = helper.make_graph(
        [*before.nodes, *foreign.node, *after.nodes],
        description.name or "model",
        [helper.make_tensor_value_info(INPUTS[kind], elements, [batch, *shell.shape])],
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
    if description.kind == "speech":
        if ports.mask is not None:
            one = numpy_helper.from_array(np.ones(1, NUMPY_TYPES[ports.mask]))
            shape = draft.node("Shape", last)
            _name_last(draft, draft.node("ConstantOfShape", shape, value=one), PREFIX + MASK)
        if description.normalise:
            last = UNIT_VARIANCE(draft, last)
        if len(ports.shape) == 3:
            last = draft.node("Unsqueeze", last, draft.integers([1]))
    _name_last(draft, draft.node("Cast", last, to=ports.type), PREFIX + ports.input)


def _answer(draft: Draft, description: Description, ports: Ports) -> None:
    """Add the postprocessing: from the foreign outputs to the contract's."""
    last = draft.node("Flatten", PREFIX + ports.output, axis=1)
    last = draft.node("Cast", last, to=TensorProto.FLOAT)
    if description.take is not None:
        last = draft.node("Slice", last, draft.integers([0]), draft.integers([description.take]), draft.integers([1]))
    if description.logits:
        if description.temperature not in (None, 1.0):
            last = draft.node("Div", last, draft.floats(description.temperature))
        last = draft.node("Softmax", last, axis=1)
    _name_last(draft, last, "probabilities")
    if ports.embedding is not None:
        flat = draft.node("Flatten", PREFIX + ports.embedding, axis=1)
        _name_last(draft, draft.node("Cast", flat, to=TensorProto.FLOAT), "embedding")


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
