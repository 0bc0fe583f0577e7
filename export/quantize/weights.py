"""Weights of a graph whose learned layers are 8-bit integers, as floating point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

SUFFIX = "_DequantizeLinear_Output"
"""Suffix that ONNX Runtime's quantizer adds to the name of a weight; a bias keeps its own."""


def weights_of(graph: onnx.GraphProto) -> dict[str, NDArray[Any]]:
    """The constants of a graph and its inner graphs by name; what DequantizeLinear makes float32 under the name of its
    output too."""
    values: dict[str, NDArray[Any]] = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    values |= _dequantised(graph, values)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                values |= weights_of(attribute.g)
    return values


def _dequantised(graph: onnx.GraphProto, values: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    found = {}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in values:
            continue
        array, scale, zero = (values[name] for name in node.input)
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        if scale.size > 1:
            shape = [-1 if place == axis % array.ndim else 1 for place in range(array.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        found[node.output[0]] = ((array.astype(np.float32) - zero.astype(np.float32)) * scale).astype(np.float32)
    return found
