"""Further inputs are fed by what they are, alike in numpy and in the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.onnx.feeds import Feed, Fill, Port, check_fed, guessed, parse_feed

I64, F32, BOOL = TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL


@pytest.mark.parametrize(
    ("kind", "shape", "value", "expected"),
    [
        (I64, ("N", "S"), "ones", np.ones((2, 50), np.int64)),
        (I64, ("N",), "length", np.full(2, 50, np.int64)),
        (I64, (), (16_000.0,), np.array(16_000, np.int64)),
        (I64, (), "length", np.array(50, np.int64)),
        (BOOL, (), (0.0,), np.array(False)),
        (F32, (1,), (0.5,), np.array([0.5], np.float32)),
        (F32, (2, "N", 8), "zeros", np.zeros((2, 2, 8), np.float32)),
        (F32, ("N", 3), (1.0, 2.0, 3.0), np.array([[1, 2, 3], [1, 2, 3]], np.float32)),
    ],
)
def test_numpy_and_graph_feed_the_same(
    kind: int, shape: tuple[int | str, ...], value: Fill | tuple[float, ...], expected: np.ndarray
) -> None:
    feed = Feed(Port("other", kind, shape, ""), value, batch="N", length="S")
    found = feed.array(2, 50)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    draft = Draft()
    feed.nodes(draft, "x", -1, "fed")
    ends = [helper.make_tensor_value_info("x", F32, ["N", "S"]), helper.make_tensor_value_info("fed", kind, None)]
    model = helper.make_model(draft.graph("g", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"x": np.zeros((2, 50), np.float32)})[0], expected)


def test_names_that_say_what_they_are() -> None:
    def guess(name: str, kind: int = I64) -> object:
        return guessed(Port(name, kind, ("N",), ""), "speech", 16_000)

    assert guess("attention_mask") == "ones"
    assert guess("input_lengths") == "length"
    assert guess("wav_lens", F32) == "ones"
    assert guess("keras_learning_phase:0", BOOL) == (0.0,)
    assert guess("sr") == (16_000.0,)
    assert guess("keep_prob", F32) == (1.0,)
    assert guess("padding_mask", BOOL) is None, "true may mean padded or not: it is asked for"
    assert guess("age", F32) is None


def test_what_can_not_be_fed_is_said_first() -> None:
    with pytest.raises(SourceModelError, match=r"can't be adopted as it is: its input 'text' string \[N\]"):
        check_fed(Port("text", TensorProto.STRING, ("N",), "string"), "ones", Path("a.onnx"))
    with pytest.raises(SourceModelError, match="--feed takes NAME=length"):
        parse_feed("nothing")
    assert parse_feed("a=b=ones") == ("a=b", "ones")
