"""PRelu rewritten as convolutions answers as PRelu, for every slope."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.pretrained.mediapipe import prelu_as_convolutions

SLOPES = arrays(np.float32, 8, elements=st.floats(-3, 3, width=32))


def _model(slopes: NDArray[np.float32]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("PRelu", ["x", "slopes"], ["y"])],
        "prelu",
        [value("x", TensorProto.FLOAT, ["N", 8, 5, 5])],
        [value("y", TensorProto.FLOAT, ["N", 8, 5, 5])],
        [numpy_helper.from_array(slopes, "slopes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _run(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    onnx.checker.check_model(model, full_check=True)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


@given(SLOPES, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_any_slope_gives_what_prelu_gives(slopes: NDArray[np.float32], seed: int) -> None:
    x = np.random.default_rng(seed).normal(0, 10, (3, 8, 5, 5)).astype(np.float32)
    model = _model(slopes.reshape(1, 8, 1, 1))
    expected = np.where(x < 0, x * slopes[:, None, None], x)
    assert prelu_as_convolutions(model.graph) == 1
    assert {node.op_type for node in model.graph.node} == {"Relu", "Conv", "Add"}
    np.testing.assert_allclose(_run(model, x), expected, atol=2e-5, rtol=1e-5)


def test_slope_without_batch_axis_is_rewritten_too() -> None:
    slopes = np.linspace(-1, 2, 8, dtype=np.float32)
    x = np.random.default_rng(0).normal(0, 1, (2, 8, 5, 5)).astype(np.float32)
    model = _model(slopes.reshape(8, 1, 1))
    before = _run(model, x)
    assert prelu_as_convolutions(model.graph) == 1
    np.testing.assert_allclose(_run(model, x), before, atol=1e-6)


def test_slopes_that_differ_by_place_stay_a_prelu() -> None:
    model = _model(np.random.default_rng(0).normal(size=(1, 8, 5, 5)).astype(np.float32))
    assert prelu_as_convolutions(model.graph) == 0
    assert [node.op_type for node in model.graph.node] == ["PRelu"]
