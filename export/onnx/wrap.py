"""A foreign graph between the preprocessing and the postprocessing of an artifact's contract."""

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
"""As Hugging Face's Wav2Vec2FeatureExtractor, for the whole waveform."""

INPUTS = {"face-static": "faces", "face-dynamic": "embeddings", "speech": "waveform"}


@dataclass(frozen=True)
class Shell:
    """What the artifact around a foreign graph looks like.

    Attributes:
        shape: of its input without the batch; words for axes of any size.
        classes: columns of `probabilities`.
        dimensions: of `embedding`; None where there is none.
        dynamic: any number of inputs at once; else one.
    """

    shape: Sequence[int | str]
    classes: int
    dimensions: int | None
    dynamic: bool


def raise_opset(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The same graph in opset 18 where it was older.

    Raises SourceModelError where onnx can't convert it.
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


def wrap(model: onnx.ModelProto, said: Description, ports: Ports, shell: Shell) -> onnx.ModelProto:
    """The graph, of opset 18 or newer, under the contract's names, with all that is done to values inside."""
    foreign = compose.add_prefix(model, PREFIX).graph
    _hold_constants(foreign)
    if shell.dynamic:
        _free_reshapes(foreign)
    before, after = Draft("before"), Draft("after")
    _feed(before, said, ports)
    _answer(after, said, ports)
    batch: int | str = "batch" if shell.dynamic else 1
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, shell.classes])]
    if shell.dimensions is not None:
        outputs.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [batch, shell.dimensions]))
    kind = said.kind or "face-static"
    elements = TensorProto.UINT8 if kind == "face-static" else TensorProto.FLOAT
    graph = helper.make_graph(
        [*before.nodes, *foreign.node, *after.nodes],
        said.name or "model",
        [helper.make_tensor_value_info(INPUTS[kind], elements, [batch, *shell.shape])],
        outputs,
        [*foreign.initializer, *before.constants, *after.constants],
        sparse_initializer=list(foreign.sparse_initializer),
    )
    if not has_inner_graphs(graph) and not graph.sparse_initializer:
        canonicalize(graph)
    return _model(graph, model)


def _feed(draft: Draft, said: Description, ports: Ports) -> None:
    """From the contract's input to the foreign one."""
    last = INPUTS[said.kind or "face-static"]
    if said.kind == "face-static" and said.pixels is not None:
        nodes, constants = pixel_nodes(said.pixels, last, "before:pixels")
        draft.nodes += nodes
        draft.constants += constants
        last = "before:pixels"
    if said.kind == "speech":
        if ports.mask is not None:
            one = numpy_helper.from_array(np.ones(1, NUMPY_TYPES[ports.mask]))
            shape = draft.node("Shape", last)
            _name_last(draft, draft.node("ConstantOfShape", shape, value=one), PREFIX + MASK)
        if said.normalise:
            last = UNIT_VARIANCE(draft, last)
        if len(ports.shape) == 3:
            last = draft.node("Unsqueeze", last, draft.integers([1]))
    _name_last(draft, draft.node("Cast", last, to=ports.type), PREFIX + ports.input)


def _answer(draft: Draft, said: Description, ports: Ports) -> None:
    """From the foreign outputs to the contract's."""
    last = draft.node("Flatten", PREFIX + ports.output, axis=1)
    last = draft.node("Cast", last, to=TensorProto.FLOAT)
    if said.take is not None:
        last = draft.node("Slice", last, draft.integers([0]), draft.integers([said.take]), draft.integers([1]))
    if said.logits:
        if said.temperature not in (None, 1.0):
            last = draft.node("Div", last, draft.floats(said.temperature))
        last = draft.node("Softmax", last, axis=1)
    _name_last(draft, last, "probabilities")
    if ports.embedding is not None:
        flat = draft.node("Flatten", PREFIX + ports.embedding, axis=1)
        _name_last(draft, draft.node("Cast", flat, to=TensorProto.FLOAT), "embedding")


def _name_last(draft: Draft, last: str, name: str) -> None:
    """Give the newest node's output the name that the graph beyond knows."""
    assert draft.nodes[-1].output[0] == last
    draft.nodes[-1].output[0] = name


def _hold_constants(graph: onnx.GraphProto) -> None:
    """Constant nodes become initializers, as everywhere else in artifacts."""
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
    """Reshapes to a constant [1, …] keep whatever batch comes: exporters write the 1 that they were shown.

    Whether that was right is seen when the graph is run on several inputs.
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
