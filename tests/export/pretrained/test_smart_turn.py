"""The encoder of Smart Turn, read out of its INT8 graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.errors import SourceModelError
from bimodal.export.pretrained.smart_turn import PREFIX, encoder_weights, read_encoder

RANDOM = np.random.default_rng(0)


def graph(bias: str = "layers.0.fc1.bias") -> onnx.ModelProto:
    """A convolution, keys without bias, and a dense layer with one, with INT8 weights per channel as in the file."""
    dense = RANDOM.integers(-127, 128, (4, 6)).astype(np.int8)
    keys = RANDOM.integers(-127, 128, (4, 4)).astype(np.int8)
    values = {
        "dense_q": dense, "dense_s": np.linspace(0.01, 0.06, 6, dtype=np.float32), "dense_z": np.zeros(6, np.int8),
        "keys_q": keys, "keys_s": np.full(4, 0.02, np.float32), "keys_z": np.zeros(4, np.int8),
        f"{PREFIX}conv1.weight_x": RANDOM.normal(size=(4, 2, 3)).astype(np.float32),
        f"{PREFIX}conv1.bias": np.ones(4, np.float32), f"{PREFIX}{bias}": np.ones(6, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["dense_q", "dense_s", "dense_z"], ["dense"], axis=1),
        helper.make_node("DequantizeLinear", ["keys_q", "keys_s", "keys_z"], ["keys"], axis=1),
        helper.make_node("Conv", ["x", f"{PREFIX}conv1.weight_x", f"{PREFIX}conv1.bias"], ["c"]),
        helper.make_node("MatMul", ["c", "keys"], ["k"]),
        helper.make_node("Relu", ["k"], ["r"]),
        helper.make_node("MatMul", ["r", "dense"], ["d"]),
        helper.make_node("Add", ["d", f"{PREFIX}{bias}"], ["y"]),
    ]
    float_ = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(array, name) for name, array in values.items()]
    return helper.make_model(helper.make_graph(nodes, "g", float_[:1], float_[1:], tensors))


def test_weights_become_float_again_under_whispers_names() -> None:
    model = graph()
    found = read_encoder(model)
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    assert np.allclose(found["layers.0.fc1.weight"], (values["dense_q"] * values["dense_s"]).T)
    assert np.allclose(found["layers.0.self_attn.k_proj.weight"], values["keys_q"].T * 0.02)
    assert {"conv1.weight", "conv1.bias", "layers.0.fc1.bias"} <= set(found)
    assert all(array.dtype == np.float32 for array in found.values())


def test_another_graph_is_refused() -> None:
    with pytest.raises(SourceModelError, match="no encoder of Whisper's form"):
        read_encoder(graph(bias="somewhere.bias"))


def test_a_wheel_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"no wheel")
    with pytest.raises(SourceModelError, match="is no archive with models in it"):
        encoder_weights(tmp_path / "other.whl")
