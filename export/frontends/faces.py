"""Pixel preprocessing of face networks as pieces of an ONNX graph (opset 18), and the same in numpy.

Inputs are crops, uint8 [N, H, W, 3] RGB. The worker chooses the square of the frame; the graph processes its values.
"""

from __future__ import annotations

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.frontends.pixels import Pixels, Resize

Nodes = list[onnx.NodeProto]
Constants = list[onnx.TensorProto]

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, as OpenCV and Pillow convert to grey."""


def pixel_nodes(pixels: Pixels, source: str, result: str) -> tuple[Nodes, Constants]:
    """Preprocess `source` uint8 [N, H, W, 3] RGB to `result` float32 [N, C, H, W] or [N, H, W, C], as `pixels` says.

    Names of intermediate tensors begin with `result` and a colon.
    """
    nodes = [helper.make_node("Cast", [source], [f"{result}:float"], to=TensorProto.FLOAT)]
    constants: Constants = []
    last = f"{result}:float"
    for make in (_size_nodes, _colour_nodes, _value_nodes, _layout_nodes):
        more, held, last = make(pixels, last, result)
        nodes += more
        constants += held
    nodes[-1].output[0] = result
    return nodes, constants


def resize_nodes(resize: Resize, source: str, result: str) -> tuple[Nodes, Constants]:
    """Resize float32 [N, H, W, C] to [N, side, side, C], as OpenCV's INTER_LINEAR or INTER_NEAREST."""
    if resize.sampling == "nearest":
        return _nearest_nodes(resize.side, source, result)
    sizes = _constant(f"{result}:sizes", np.array([resize.side, resize.side], np.int64))
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    return [helper.make_node("Resize", [source, "", "", sizes.name], [result], axes=[1, 2], **how)], [sizes]


def _nearest_nodes(side: int, source: str, result: str) -> tuple[Nodes, Constants]:
    """Nearest-neighbour resize in integers: row and column k of the result are k · H // side of the source.

    The operator Resize (and OpenCV, for some sizes) divides floats, and takes the previous pixel if the quotient is a
    whole number.
    """
    numbers = _constant(f"{result}:numbers", np.arange(side, dtype=np.int64))
    whole = _constant(f"{result}:side", np.array([side], np.int64))
    nodes, last = [helper.make_node("Shape", [source], [f"{result}:shape"])], source
    constants = [numbers, whole]
    for axis, name in ((1, "rows"), (2, "columns")):
        place = _constant(f"{result}:{name}-axis", np.array([axis], np.int64))
        constants.append(place)
        taken = f"{result}:{name}"
        nodes += [
            helper.make_node("Gather", [f"{result}:shape", place.name], [f"{taken}-there"]),
            helper.make_node("Mul", [numbers.name, f"{taken}-there"], [f"{taken}-product"]),
            helper.make_node("Div", [f"{taken}-product", whole.name], [f"{taken}-index"]),
            helper.make_node("Gather", [last, f"{taken}-index"], [taken], axis=axis),
        ]
        last = taken
    nodes[-1].output[0] = result
    return nodes, constants


def grey_nodes(source: str, result: str) -> tuple[Nodes, Constants]:
    """Convert float32 [N, H, W, 3] RGB to grey [N, H, W, 1] of the same range."""
    luma = _constant(f"{result}:luma", np.array(LUMA, np.float32)[:, None])
    return [helper.make_node("MatMul", [source, luma.name], [result])], [luma]


def flip_nodes(source: str, result: str) -> tuple[Nodes, Constants]:
    """Swap RGB and BGR, [N, H, W, 3]."""
    order = _constant(f"{result}:order", np.array([2, 1, 0], np.int64))
    return [helper.make_node("Gather", [source, order.name], [result], axis=3)], [order]


def affine_nodes(
    factor: NDArray[np.float32], shift: NDArray[np.float32], source: str, result: str
) -> tuple[Nodes, Constants]:
    """Compute source · factor + shift, both broadcast over the last axis; a step without effect is left out."""
    nodes, constants, last = [], [], source
    for op_type, values, neutral in (("Mul", factor, 1.0), ("Add", shift, 0.0)):
        if np.all(values == neutral):
            continue
        constants.append(_constant(f"{result}:{op_type.lower()}", values))
        nodes.append(helper.make_node(op_type, [last, constants[-1].name], [f"{result}:{op_type.lower()}ed"]))
        last = nodes[-1].output[0]
    if not nodes:
        nodes = [helper.make_node("Identity", [source], [result])]
    nodes[-1].output[0] = result
    return nodes, constants


def channels_first_nodes(source: str, result: str) -> tuple[Nodes, Constants]:
    """Transpose [N, H, W, C] to [N, C, H, W]."""
    return [helper.make_node("Transpose", [source], [result], perm=[0, 3, 1, 2])], []


def factor_and_shift(pixels: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Combine the arithmetic of `pixels` into (factor, shift), float32 [1 or C] each."""
    mean = np.array(pixels.mean or (0.0,), np.float64)
    deviation = np.array(pixels.deviation or (1.0,), np.float64)
    factor, shift = pixels.scale / deviation, (pixels.offset - mean) / deviation
    return factor.astype(np.float32), shift.astype(np.float32)


def as_numpy(pixels: Pixels, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Preprocess in numpy, step by step in float64: the reference for parity.

    uint8 [N, H, W, 3] RGB → float32 [N, C, H, W] or [N, H, W, C].
    """
    values = faces.astype(np.float64)
    if pixels.resize is not None:
        values = _resized(pixels.resize, values)
    if pixels.colour == "bgr":
        values = values[..., ::-1]
    elif pixels.colour == "grey":
        values = (values * LUMA).sum(axis=3, keepdims=True)
    values = values * pixels.scale + pixels.offset
    values = (values - np.array(pixels.mean or (0.0,))) / np.array(pixels.deviation or (1.0,))
    if pixels.layout == "nchw":
        values = values.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(values, np.float32)


def _resized(resize: Resize, values: NDArray[np.float64]) -> NDArray[np.float64]:
    side = resize.side
    if resize.sampling == "nearest":
        rows, columns = (np.arange(side) * size // side for size in values.shape[1:3])
        return values[:, rows][:, :, columns]
    return np.stack([cv2.resize(face, (side, side), interpolation=cv2.INTER_LINEAR) for face in values])


def _size_nodes(pixels: Pixels, source: str, result: str) -> tuple[Nodes, Constants, str]:
    if pixels.resize is None:
        return [], [], source
    nodes, constants = resize_nodes(pixels.resize, source, f"{result}:sized")
    return nodes, constants, f"{result}:sized"


def _colour_nodes(pixels: Pixels, source: str, result: str) -> tuple[Nodes, Constants, str]:
    if pixels.colour == "rgb":
        return [], [], source
    make = flip_nodes if pixels.colour == "bgr" else grey_nodes
    nodes, constants = make(source, f"{result}:colour")
    return nodes, constants, f"{result}:colour"


def _value_nodes(pixels: Pixels, source: str, result: str) -> tuple[Nodes, Constants, str]:
    factor, shift = factor_and_shift(pixels)
    if np.all(factor == 1.0) and np.all(shift == 0.0):
        return [], [], source
    nodes, constants = affine_nodes(factor, shift, source, f"{result}:values")
    return nodes, constants, f"{result}:values"


def _layout_nodes(pixels: Pixels, source: str, result: str) -> tuple[Nodes, Constants, str]:
    if pixels.layout == "nhwc":
        return [], [], source
    nodes, constants = channels_first_nodes(source, f"{result}:layout")
    return nodes, constants, f"{result}:layout"


def _constant(name: str, values: NDArray[np.generic]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
