"""Front end, network and answer joined to one graph under the contract's names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, compose, helper

from bimodal.export.artifact import IR_VERSION, OPSET, make_model
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.faces import pixel_nodes
from bimodal.export.frontends.speech import SpeechFrontend
from bimodal.export.keras_recipe import FaceFrontend, Recipe
from bimodal.export.onnx_walk import has_inner_graphs
from bimodal.models.contract import Metadata


def join(network: onnx.ModelProto, recipe: Recipe, metadata: Metadata) -> onnx.ModelProto:
    """The artifact's graph: `waveform` or `faces` → features → network → `probabilities` over the merged labels.

    Args:
        network: one float input, one output [N, C], opset 18.
    """
    inner = compose.add_prefix_graph(network.graph, "network:")
    front, answer = Draft("frontend"), Draft("answer")
    if isinstance(recipe.frontend, SpeechFrontend):
        source = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["N", "S"])
        features = recipe.frontend(front, "waveform")
    else:
        source, features = _faces(front, recipe.frontend)
    front.nodes.append(helper.make_node("Identity", [features], [inner.input[0].name]))
    probabilities = inner.output[0].name
    if recipe.logits:
        probabilities = answer.node("Softmax", probabilities, axis=1)
    if len(set(recipe.labels)) < len(recipe.labels):
        probabilities = answer.node("MatMul", probabilities, answer.floats(label_sums(recipe.labels)))
    answer.nodes.append(helper.make_node("Identity", [probabilities], ["probabilities"]))
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(merged(recipe.labels))])
    graph = helper.make_graph(
        [*front.nodes, *inner.node, *answer.nodes],
        metadata.name,
        [source],
        [result],
        [*front.constants, *inner.initializer, *answer.constants],
    )
    _drop_identities(graph)
    return _finished(graph, metadata)


def merged(labels: Sequence[str]) -> tuple[str, ...]:
    """Each label once, in the order of its first place."""
    return tuple(dict.fromkeys(labels))


def label_sums(labels: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """float32 [len(labels), len(merged)]: which classes are added up to which label."""
    names = merged(labels)
    return np.array([[label == name for name in names] for label in labels], np.float32)


def _faces(front: Draft, frontend: FaceFrontend) -> tuple[onnx.ValueInfoProto, str]:
    size = frontend.size
    nodes, constants = pixel_nodes(frontend.pixels, "faces", "frontend:pixels")
    front.nodes += nodes
    front.constants += constants
    return helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", size, size, 3]), "frontend:pixels"


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Let every reader read what an Identity copied; where it made an output, its source takes the output's name."""
    if has_inner_graphs(graph):
        return
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        made = any(node.input[0] in other.output for other in graph.node)
        if node.output[0] in outputs and not made:
            continue
        old, new = (node.output[0], node.input[0]) if node.output[0] not in outputs else (node.input[0], node.output[0])
        graph.node.remove(node)
        for other in graph.node:
            for names in (other.input, other.output):
                renamed = [new if name == old else name for name in names]
                del names[:]
                names.extend(renamed)


def _finished(graph: onnx.GraphProto, metadata: Metadata) -> onnx.ModelProto:
    """In canonical form, unless it holds a Loop, whose inner graph has names of the outer one."""
    try:
        if not has_inner_graphs(graph):
            return make_model(graph, metadata)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="bimodal")
        onnx.checker.check_model(model, full_check=True)
        return model
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SourceModelError(f"front end and network do not fit together: {reason}") from error
