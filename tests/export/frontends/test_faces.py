"""Face front ends as graph pieces answer as numpy does, for every way to describe pixels."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bimodal.export.frontends.faces import as_numpy, pixel_nodes
from bimodal.export.frontends.pixels import Pixels, Resize, Sampling

NUMBERS = st.floats(-300, 300, width=32)
DEVIATIONS = st.floats(0.125, 300, width=32)


@st.composite
def _pixels(draw: st.DrawFn) -> Pixels:
    colour = draw(st.sampled_from(["rgb", "bgr", "grey"]))
    sizes = st.sampled_from([0, 1, 1 if colour == "grey" else 3])
    mean, deviation = (
        tuple(draw(st.lists(values, min_size=n, max_size=n))) for values in (NUMBERS, DEVIATIONS) for n in [draw(sizes)]
    )
    return Pixels(
        colour=colour,
        layout=draw(st.sampled_from(["nchw", "nhwc"])),
        scale=draw(st.sampled_from([1.0, 1 / 255, 2 / 255])),
        offset=draw(st.sampled_from([0.0, -1.0, -127.5])),
        mean=mean,
        deviation=deviation,
    )


def _run(pixels: Pixels, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    nodes, constants = pixel_nodes(pixels, "faces", "values")
    graph = helper.make_graph(
        nodes,
        "pixels",
        [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", None, None, 3])],
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, [None] * 4)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"faces": faces})[0]


@given(_pixels(), st.integers(1, 5), st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_graph_equals_numpy(pixels: Pixels, count: int, height: int, width: int, seed: int) -> None:
    faces = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    expected = as_numpy(pixels, faces)
    found = _run(pixels, faces)
    assert found.shape == expected.shape
    reach = float(np.abs(expected).max()) + 300 * max(1.0, *(1 / d for d in pixels.deviation or (1.0,)))
    np.testing.assert_allclose(found, expected, atol=1e-6 * reach)


@pytest.mark.parametrize("sampling", ["linear", "nearest"])
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_resizing_equals_opencv_and_whole_numbers(
    sampling: Sampling, count: int, before: int, after: int, seed: int
) -> None:
    faces = np.random.default_rng(seed).integers(0, 256, (count, before, before, 3), dtype=np.uint8)
    pixels = Pixels(colour="bgr", scale=1 / 255, resize=Resize(after, sampling))
    found = _run(pixels, faces)
    assert found.shape == (count, 3, after, after)
    np.testing.assert_allclose(found, as_numpy(pixels, faces), atol=2e-4)


def test_a_side_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="side must be from 1"):
        Resize(0)


def test_imagenet_by_hand() -> None:
    pixels = Pixels(scale=1 / 255, mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225))
    faces = np.array([[[[255, 0, 51]]]], np.uint8)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(_run(pixels, faces)[0, :, 0, 0], expected, rtol=1e-5)


def test_blue_comes_first_in_bgr_and_its_mean_too() -> None:
    faces = np.array([[[[10, 20, 30]]]], np.uint8)
    found = _run(Pixels(colour="bgr", mean=(1.0, 2.0, 3.0)), faces)
    assert found[0, :, 0, 0].tolist() == [29.0, 18.0, 7.0]


def test_nothing_to_do_still_gives_floats() -> None:
    faces = np.array([[[[10, 20, 30]]]], np.uint8)
    assert _run(Pixels(layout="nhwc"), faces).tolist() == [[[[10.0, 20.0, 30.0]]]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mean": (1.0, 2.0)}, "mean has 2 values"),
        ({"colour": "grey", "mean": (1.0, 2.0, 3.0)}, "colour 'grey' 1"),
        ({"deviation": (0.0,)}, "above 0"),
        ({"scale": float("nan")}, "finite"),
    ],
)
def test_wrong_descriptions_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Pixels(**fields)  # type: ignore[arg-type]
