"""Everything in a model, also in the graphs inside its nodes and in its functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of the graph and of the graphs inside its nodes."""
    return nested(graph.node)


def nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """These nodes and every node of the graphs inside them."""
    for node in nodes:
        yield node
        for inner in inner_graphs(node):
            yield from nested(inner.node)


def has_inner_graphs(graph: onnx.GraphProto) -> bool:
    """Whether a node holds a graph of its own (If, Loop, Scan)."""
    return any(True for node in graph.node for _ in inner_graphs(node))


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def names_of(model: onnx.ModelProto) -> Iterator[str]:
    """Every name that a graph or function is held together by."""
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
    for node in (*nested(model.graph.node), *nested(node for function in model.functions for node in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        for graph in inner_graphs(node):
            yield from _graph_names(graph)
    yield from _graph_names(model.graph)
    yield from (entry.domain for entry in model.opset_import)


def _graph_names(graph: onnx.GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every constant, wherever it is kept."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
        for graph in inner_graphs(node):
            yield from _graph_tensors(graph)
