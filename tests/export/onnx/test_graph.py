"""The same graph gives the same file, however its converter ordered and named things."""

from __future__ import annotations

import random

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.onnx.graph import canonicalize


def _graph(names: dict[str, str], seed: int) -> onnx.GraphProto:
    """(x·2 + 2)·3, with an unused node and the constant 2 given twice; inner names and order are the caller's."""
    n = names
    nodes = [
        helper.make_node("Mul", ["x", n["two"]], [n["doubled"]]),
        helper.make_node("Add", [n["doubled"], n["again"]], [n["sum"]]),
        helper.make_node("Mul", [n["sum"], n["three"]], ["y"]),
        helper.make_node("Neg", ["x"], [n["unused"]]),
    ]
    constants = {"two": 2.0, "again": 2.0, "three": 3.0}
    initializers = [numpy_helper.from_array(np.array([v], np.float32), n[k]) for k, v in constants.items()]
    random.Random(seed).shuffle(nodes)
    random.Random(seed).shuffle(initializers)
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y")]
    return helper.make_graph(nodes, "g", info[:1], info[1:], initializers)


KEYS = ("two", "again", "three", "doubled", "sum", "unused")


@pytest.mark.parametrize("seed", range(5))
def test_names_and_order_do_not_matter(seed: int) -> None:
    plain = _graph({key: key for key in KEYS}, 0)
    other = _graph({key: f"const_fold_opt__{hash((key, seed)) % 1000}_{key}" for key in KEYS}, seed)
    canonicalize(plain)
    canonicalize(other)
    assert plain.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def test_what_it_computes_stays_and_what_is_useless_goes() -> None:
    graph = _graph({key: key for key in KEYS}, 3)
    canonicalize(graph)
    assert [node.op_type for node in graph.node] == ["Mul", "Add", "Mul"]
    assert len(graph.initializer) == 2
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    x = np.array([1, -2, 0.5], np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], (x * 2 + 2) * 3)


def test_empty_optional_names_are_no_tensors() -> None:
    """An LSTM that leaves an input and an output out: both are called ''."""
    value = helper.make_tensor_value_info
    weights = {"W": (1, 8, 3), "R": (1, 8, 2)}
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "W", "R", "", "", "h", "c"], ["", "h2", "c2"], hidden_size=2)],
        "lstm",
        [value("x", TensorProto.FLOAT, [1, 1, 3]), *(value(n, TensorProto.FLOAT, [1, 1, 2]) for n in "hc")],
        [value(n, TensorProto.FLOAT, [1, 1, 2]) for n in ("h2", "c2")],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    canonicalize(graph)
    assert list(graph.node[0].output) == ["", "h2", "c2"]
    assert list(graph.node[0].input)[3:] == ["", "", "h", "c"]
