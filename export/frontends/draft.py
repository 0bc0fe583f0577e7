"""A graph under construction: pieces add nodes and constants to it and pass on names of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper


class Draft:
    """Nodes and constants, whose names are unique among drafts of different `prefix`.

    Attributes:
        nodes: in topological order.
        constants: initializers.
    """

    def __init__(self, prefix: str = "frontend") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._prefix = prefix

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output. Returns the output's name."""
        name = f"{self._prefix}:{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def floats(self, values: ArrayLike) -> str:
        """Add a float32 constant. Returns its name."""
        return self._constant(np.asarray(values, np.float32))

    def integers(self, values: ArrayLike) -> str:
        """Add an int64 constant (shapes, axes, indices). Returns its name."""
        return self._constant(np.asarray(values, np.int64))

    def graph(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """Make the graph."""
        return helper.make_graph(self.nodes, name, list(inputs), list(outputs), self.constants)

    def _constant(self, values: np.ndarray[Any, Any]) -> str:
        name = f"{self._prefix}:constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name
