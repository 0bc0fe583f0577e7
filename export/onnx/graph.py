"""Operations on ONNX graphs: inline functions, traverse all parts, bring into canonical form."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from onnx import inliner, numpy_helper

from bimodal.export.errors import SourceModelError

MOST_NODES = 200_000
"""Greatest number of nodes after inlining functions, which may call each other."""
DEEPEST = 100

Key = tuple[str, str]


def write_functions_out(model: onnx.ModelProto, path: Path) -> None:
    """Inline every call of a local function, in place.

    Raises SourceModelError if functions are recursive, or expand to more nodes than any honest model has.
    """
    if not model.functions:
        return
    bodies = {(function.domain, function.name): function for function in model.functions}
    count = _count(model.graph.node, bodies, {}, (), path)
    if count > MOST_NODES:
        raise SourceModelError(
            f"{path} holds functions that write out to {count:,} operators, more than the {MOST_NODES:,} that are read"
        )
    try:
        model.CopyFrom(inliner.inline_local_functions(model))
    except Exception as error:  # the inliner raises RuntimeError and others for calls that don't fit
        raise SourceModelError(f"{path} holds functions that are called wrongly") from error
    del model.functions[:]


def _count(
    nodes: Iterable[onnx.NodeProto],
    bodies: Mapping[Key, onnx.FunctionProto],
    known: dict[Key, int],
    callers: tuple[Key, ...],
    path: Path,
) -> int:
    """Count the nodes after inlining; `known` caches the counts of functions."""
    total = 0
    for node in nested(nodes):
        key = (node.domain, node.op_type)
        if key not in bodies:
            total += 1
            continue
        if key in callers or len(callers) >= DEEPEST:
            raise SourceModelError(f"{path} holds a function '{node.op_type}' that calls itself")
        if key not in known:
            known[key] = _count(bodies[key].node, bodies, known, (*callers, key), path)
        total += known[key]
    return total


# Traversal of a whole model, including subgraphs and functions.


def nodes_of(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield every node of the graph and of its subgraphs."""
    return nested(graph.node)


def nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield these nodes and every node of their subgraphs."""
    for node in nodes:
        yield node
        for inner in inner_graphs(node):
            yield from nested(inner.node)


def has_inner_graphs(graph: onnx.GraphProto) -> bool:
    """True if a node has a subgraph (If, Loop, Scan)."""
    return any(True for node in graph.node for _ in inner_graphs(node))


def inner_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """Yield the subgraphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def names_of(model: onnx.ModelProto) -> Iterator[str]:
    """Yield every name of a tensor, node, graph or function."""
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
    """Yield every constant, wherever it is stored."""
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


# What computes a tensor.

SHAPING = frozenset(
    ("Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Slice", "QuantizeLinear",
     "DequantizeLinear", "Gather")
)  # fmt: skip


def last_operator(model: onnx.ModelProto, tensor: str) -> tuple[str | None, float | None]:
    """(the operator that computes a tensor, behind all that only shape it; the constant that it is multiplied with)."""
    makers = {name: node for node in model.graph.node for name in node.output if name}
    constants = {value.name: value for value in model.graph.initializer}
    factor = None
    for _ in range(DEEPEST):
        node = makers.get(tensor)
        if node is None or not node.input:
            return None, factor
        if node.op_type == "Mul":
            held = [_scalar(name, constants, makers) for name in node.input]
            known = [value for value in held if value is not None]
            if len(known) != 1:
                return node.op_type, factor
            factor = known[0] * (factor or 1.0)
            tensor = node.input[held.index(None)]
        elif node.op_type in SHAPING:
            tensor = node.input[0]
        else:
            return node.op_type, factor
    return None, factor


def _scalar(name: str, constants: Mapping[str, onnx.TensorProto], makers: Mapping[str, onnx.NodeProto]) -> float | None:
    value = constants.get(name)
    node = makers.get(name)
    if value is None and node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
        value = node.attribute[0].t
    if value is None:
        return None
    array = numpy_helper.to_array(value)
    return float(array.reshape(-1)[0]) if array.size == 1 else None


# Canonical form: node order and names depend on the graph alone. Converters number tensors differently in each run.


def canonicalize(graph: onnx.GraphProto) -> None:
    """Order nodes depth-first from the outputs, drop unused ones, merge equal constants, rename in order.

    Changes `graph` in place; names of its inputs and outputs are kept. Does not support subgraphs.
    """
    nodes = list(_needed(graph))
    constants = {value.name: value for value in graph.initializer}
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names = {"": "", **{name: name for name in fixed}}
    kept: dict[str, onnx.TensorProto] = {}
    for number, node in enumerate(nodes):
        for name in node.input:
            if name in constants and name not in names:
                names[name] = _keep(constants[name], kept)
        stem = "value" if node.op_type == "Constant" else node.op_type.lower()  # initializers are called constant_…
        for position, name in enumerate(node.output):
            names.setdefault(name, f"{stem}_{number}" + (f"_{position}" if position else ""))
        _rename(node, names, number)
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept.values())


def _needed(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the needed nodes depth-first from the outputs, each after the nodes it reads."""
    maker = {name: node for node in graph.node for name in node.output if name}
    done: set[int] = set()
    waiting: list[tuple[onnx.NodeProto, bool]] = list(_makers(maker, (value.name for value in graph.output)))
    while waiting:
        node, ready = waiting.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            yield node
        else:
            waiting.append((node, True))
            waiting.extend(_makers(maker, node.input))


def _makers(maker: dict[str, onnx.NodeProto], names: Iterable[str]) -> list[tuple[onnx.NodeProto, bool]]:
    return [(maker[name], False) for name in reversed(list(names)) if name in maker]


def _keep(constant: onnx.TensorProto, kept: dict[str, onnx.TensorProto]) -> str:
    """Name of the constant with this content, added if it is new."""
    array = numpy_helper.to_array(constant)
    key = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
    if key not in kept:
        kept[key] = numpy_helper.from_array(array, f"constant_{len(kept)}")
    return kept[key].name


def _rename(node: onnx.NodeProto, names: dict[str, str], number: int) -> None:
    inputs, outputs = [names[name] for name in node.input], [names[name] for name in node.output]
    del node.input[:], node.output[:]
    node.input.extend(inputs)
    node.output.extend(outputs)
    node.name = f"{node.op_type.lower()}_{number}"
    node.doc_string = ""
    attributes = sorted(node.attribute, key=lambda attribute: attribute.name)
    del node.attribute[:]
    node.attribute.extend(attributes)
