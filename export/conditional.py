"""Networks of a graph that run only where their answer counts, as branches of ONNX's If."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from bimodal.export.errors import GraphError


def only_where_it_counts(model: onnx.ModelProto, prefix: str) -> None:
    """Run one of several networks in a graph only where its answer counts for some input of the batch.

    Args:
        model: changed in place. The network's weights have names that begin with `prefix`; its answer, the first
            LogSoftmax that depends on them, is multiplied by a factor ≥ 0 [N, 1] and used nowhere else. Where that is 0
            for all inputs, the product is 0 without the network.

    Results stay the same to the last bit. Raises GraphError where the graph does not have this form.
    """
    graph = model.graph
    answer = _answer(graph, prefix)
    users = [node for node in graph.node if answer in node.input]
    if len(users) != 1 or users[0].op_type != "Mul":
        raise GraphError(f"the answer of the network '{prefix}' has another use than to be multiplied by its weight")
    factor = next(name for name in users[0].input if name != answer)
    classes = _classes(model, answer)
    inside = _only_for(graph, answer)
    moved = {node.output[0] for node in inside}
    outside = [node for node in graph.node if node.output[0] not in moved]
    elsewhere = {name for node in outside for name in node.input}
    own = [value for value in graph.initializer if value.name not in elsewhere]
    shared = [value for value in graph.initializer if value.name in elsewhere]
    total, zero, counts, nothing, result = (
        f"{prefix}{name}" for name in ("total", "zero", "counts", "nothing", "answer")
    )
    zeros = numpy_helper.from_array(np.zeros((1, classes), np.float32))
    condition = [
        helper.make_node("ReduceSum", [factor], [total], total, keepdims=0),
        helper.make_node("Greater", [total, zero], [counts], counts),
        helper.make_node(
            "If",
            [counts],
            [result],
            result,
            then_branch=helper.make_graph(inside, counts, [], [_matrix(answer, classes)], own),
            else_branch=helper.make_graph(
                [helper.make_node("Constant", [], [nothing], nothing, value=zeros)],
                nothing,
                [],
                [_matrix(nothing, classes)],
            ),
        ),
    ]
    place = next(place for place, node in enumerate(outside) if answer in node.input)
    user = copy.deepcopy(outside[place])
    user.input[list(user.input).index(answer)] = result
    _replace(graph.node, [*outside[:place], *condition, user, *outside[place + 1 :]])
    _replace(graph.initializer, [*shared, numpy_helper.from_array(np.array(0.0, np.float32), zero)])


def _answer(graph: onnx.GraphProto, prefix: str) -> str:
    """Name of the first LogSoftmax's output that depends on weights whose names begin with `prefix`."""
    depend = {value.name for value in graph.initializer if value.name.startswith(prefix)}
    for node in graph.node:  # in topological order
        if depend.isdisjoint(node.input):
            continue
        if node.op_type == "LogSoftmax":
            return str(node.output[0])
        depend.update(node.output)
    raise GraphError(f"the graph has no answer of a network whose weights begin with '{prefix}'")


def _only_for(graph: onnx.GraphProto, answer: str) -> list[NodeProto]:
    """The nodes that nothing but `answer` needs, in topological order."""
    inside: list[NodeProto] = []
    needed, elsewhere = {answer}, {value.name for value in graph.output}
    for node in reversed(graph.node):
        if not needed.isdisjoint(node.output) and elsewhere.isdisjoint(node.output):
            inside.append(node)
            needed.update(node.input)
        else:
            elsewhere.update(name for name in node.input if name != answer)
    return inside[::-1]


def _classes(model: onnx.ModelProto, answer: str) -> int:
    """Width of the answer [N, E]: the product with its weight must have it without the network too."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    shape = next((list(value.type.tensor_type.shape.dim) for value in inferred if value.name == answer), [])
    if len(shape) != 2 or shape[1].dim_value < 1:
        raise GraphError(f"the shape of '{answer}' is not known to be [N, E]")
    return int(shape[1].dim_value)


def _matrix(name: str, columns: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, columns])


def _replace(field: Any, messages: list[Any]) -> None:
    """Set a repeated field to messages that may be its own."""
    fresh = [copy.deepcopy(message) for message in messages]
    del field[:]
    field.extend(fresh)
