"""One graph, one file: node order and names made a function of the graph alone.

Converters name tensors by counters that differ from run to run, so the same model would never give the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import onnx
from onnx import numpy_helper


def canonicalize(graph: onnx.GraphProto) -> None:
    """Order nodes by their way from the outputs, drop what no output needs, merge equal constants, name in order.

    Changes `graph` in place; names of its inputs and outputs stay. Graphs with subgraphs are not for this function.
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
    """Depth-first from the outputs, so each node comes after what it reads."""
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
    """The name of the constant with this content, added where it is new."""
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
