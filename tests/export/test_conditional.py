"""A network whose answer has no weight is not run, and changes nothing where it is."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.conditional import only_where_it_counts
from bimodal.export.errors import GraphError

RANDOM = np.random.default_rng(0)
INPUTS = RANDOM.normal(0, 1, (5, 4)).astype(np.float32)


def two_networks() -> onnx.ModelProto:
    """x [N, 4] → p [N, 3] = first + max(x₀, 0) · log softmax of the second; both share what stands before them."""
    nodes = [
        helper.make_node("Tanh", ["x"], ["shared"]),
        helper.make_node("Gemm", ["shared", "first.w"], ["first"]),
        helper.make_node("Mul", ["shared", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "second.w"], ["second"]),
        helper.make_node("LogSoftmax", ["second"], ["opinion"]),
        helper.make_node("Gather", ["x", "column"], ["picked"], axis=1),
        helper.make_node("Relu", ["picked"], ["weight"]),
        helper.make_node("Mul", ["weight", "opinion"], ["weighted"]),
        helper.make_node("Add", ["first", "weighted"], ["p"]),
    ]
    constants = {
        "first.w": RANDOM.normal(0, 1, (4, 3)).astype(np.float32),
        "second.w": RANDOM.normal(0, 1, (4, 3)).astype(np.float32),
        "scale": np.float32(0.7),
        "column": np.array([0], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answers(model: onnx.ModelProto, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": inputs})[0])


def with_weight(weight: float) -> NDArray[np.float32]:
    inputs = INPUTS.copy()
    inputs[:, 0] = weight
    return inputs


def branch(model: onnx.ModelProto) -> onnx.GraphProto:
    (node,) = (node for node in model.graph.node if node.op_type == "If")
    return next(attribute.g for attribute in node.attribute if attribute.name == "then_branch")


@pytest.mark.parametrize("inputs", [INPUTS, INPUTS[:1], with_weight(-1.0), with_weight(2.0), INPUTS[:0]])
def test_answers_stay_the_same_to_the_last_bit(inputs: NDArray[np.float32]) -> None:
    before = two_networks()
    after = onnx.ModelProto()
    after.CopyFrom(before)
    only_where_it_counts(after, "second.")
    np.testing.assert_array_equal(answers(before, inputs), answers(after, inputs))


def test_one_input_is_answered_alike_alone_and_among_others() -> None:
    model = two_networks()
    only_where_it_counts(model, "second.")
    together = answers(model, INPUTS)
    np.testing.assert_array_equal(together, np.concatenate([answers(model, INPUTS[[row]]) for row in range(5)]))


def test_the_network_runs_only_where_it_has_a_weight() -> None:
    model = two_networks()
    only_where_it_counts(model, "second.")
    inside = branch(model)
    assert [node.op_type for node in inside.node] == ["Mul", "Gemm", "LogSoftmax"]
    assert {value.name for value in inside.initializer} == {"second.w", "scale"}
    weights = next(value for value in inside.initializer if value.name == "second.w")
    weights.CopyFrom(numpy_helper.from_array(np.full((4, 3), np.nan, np.float32), "second.w"))
    assert np.isfinite(answers(model, with_weight(-1.0))).all()
    assert np.isnan(answers(model, with_weight(1.0))).all()


def test_a_network_without_an_answer_or_with_another_use_is_refused() -> None:
    with pytest.raises(GraphError, match=r"no answer of a network whose weights begin with 'third\.'"):
        only_where_it_counts(two_networks(), "third.")
    model = two_networks()
    model.graph.node.append(helper.make_node("Exp", ["opinion"], ["also"]))
    model.graph.output.append(helper.make_tensor_value_info("also", TensorProto.FLOAT, ["batch", 3]))
    with pytest.raises(GraphError, match="another use"):
        only_where_it_counts(model, "second.")
