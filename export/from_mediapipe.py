"""MediaPipe's short-range face detector and face mesh (TFLite) → artifacts.

The model files come out of the wheel mediapipe==0.10.21 (Apache-2.0), the last that carries them. TensorFlow and
tf2onnx are only imported when something is converted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from bimodal.export.artifact import OPSET
from bimodal.export.errors import SourceModelError
from bimodal.export.prelu import prelu_as_convolutions
from bimodal.models.contract import CONTRACT_VERSION, Kind, Metadata
from bimodal.models.faces.detector import AnchorLayer, DetectorGeometry, MeshGeometry

WHEEL = "mediapipe==0.10.21"
VERSION = "0.10.21"
DETECTOR_FILE = "mediapipe/modules/face_detection/face_detection_short_range.tflite"
MESH_FILE = "mediapipe/modules/face_landmark/face_landmark.tflite"
FILES: Mapping[str, str] = {
    DETECTOR_FILE: "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
    MESH_FILE: "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
}

# mediapipe/modules/face_detection/face_detection_short_range.pbtxt: strides 8, 16, 16, 16 of 128 pixels, two anchors
# a layer, layers of one stride share a grid.
DETECTOR_GEOMETRY = DetectorGeometry(
    size=128,
    scale=128.0,
    anchors=(AnchorLayer(cells=16, repeats=2), AnchorLayer(cells=8, repeats=6)),
    score_clip=100.0,
    suppression=0.3,
    keypoints=("right_eye", "left_eye", "nose_tip", "mouth_centre", "right_ear", "left_ear"),
)
# mediapipe/modules/face_landmark/face_detection_front_detection_to_roi.pbtxt and face_landmark_landmarks_to_roi.pbtxt
MESH_GEOMETRY = MeshGeometry(size=192, margin=1.5, eye_points=(33, 263))


class Values(NamedTuple):
    """What a network wants of a pixel: value × scale + shift."""

    scale: float
    shift: float

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 pixels → float32 of the same shape, as the graph computes it."""
        scaled = pixels.astype(np.float32) * np.float32(self.scale)
        return (scaled + np.float32(self.shift)).astype(np.float32)


DETECTOR_VALUES = Values(2 / 255, -1.0)
MESH_VALUES = Values(1 / 255, 0.0)


def convert_detector(tflite: Path) -> onnx.GraphProto:
    """`image` uint8 [1, 128, 128, 3] → `boxes` float32 [1, 896, 16], `scores` float32 [1, 896, 1] (raw)."""
    graph = _convert(tflite)
    size = DETECTOR_GEOMETRY.size
    _take_pixels(graph, "image", 1, size, DETECTOR_VALUES)
    _rename_output(graph, "regressors", "boxes")
    _rename_output(graph, "classificators", "scores")
    _set_outputs(graph, {"boxes": [1, 896, 16], "scores": [1, 896, 1]})
    return graph


def convert_mesh(tflite: Path) -> onnx.GraphProto:
    """`faces` uint8 [N, 192, 192, 3] → `points` float32 [N, 468, 3] in pixels, `presence` float32 [N, 1] in 0…1.

    z has the scale of x and is nearer the smaller it is. The original takes one face a run; here any number.
    """
    graph = _convert(tflite)
    _take_pixels(graph, "faces", "N", MESH_GEOMETRY.size, MESH_VALUES)
    _reshape_output(graph, "conv2d_21", "points", [-1, 468, 3])
    _reshape_output(graph, "conv2d_31", "presence_logit", [-1, 1])
    graph.node.append(helper.make_node("Sigmoid", ["presence_logit"], ["presence"]))
    _set_outputs(graph, {"points": ["N", 468, 3], "presence": ["N", 1]})
    if prelu_as_convolutions(graph) == 0:
        raise SourceModelError(f"{tflite} holds no PRelu, so it is not the face mesh that the exporter knows")
    return graph


def metadata(kind: Kind, metrics: dict[str, object] | None = None) -> Metadata:
    """What the artifact of `kind` ("face-detector" or "face-landmarks") says of itself."""
    detector = kind == "face-detector"
    file = DETECTOR_FILE if detector else MESH_FILE
    geometry = DETECTOR_GEOMETRY if detector else MESH_GEOMETRY
    return Metadata(
        contract=CONTRACT_VERSION,
        kind=kind,
        name="blazeface-short" if detector else "facemesh-468",
        version=VERSION,
        license="Apache-2.0",
        source=f"{file} in the wheel {WHEEL}, sha256 {FILES[file]}",
        geometry=msgspec.to_builtins(geometry),
        metrics=metrics,
    )


def _convert(tflite: Path) -> onnx.GraphProto:
    import tf2onnx.convert

    model, _ = tf2onnx.convert.from_tflite(str(tflite), opset=OPSET)
    return model.graph  # type: ignore[no-any-return]


def _take_pixels(graph: onnx.GraphProto, name: str, batch: int | str, size: int, values: Values) -> None:
    """Replace the float input with uint8 pixels; moved to channels first while they are small, then scaled."""
    old = graph.input[0].name
    transpose = next(node for node in graph.node if old in node.input)
    channels_first = transpose.output[0]
    transpose.input[0], transpose.output[0] = name, "pixels"
    constants = {"pixel_scale": values.scale, "pixel_shift": values.shift}
    graph.initializer.extend(numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items())
    scaled = "scaled" if values.shift else channels_first
    steps = [
        helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["values", "pixel_scale"], [scaled]),
    ]
    if values.shift:
        steps.append(helper.make_node("Add", [scaled, "pixel_shift"], [channels_first]))
    graph.node.extend(steps)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(name, TensorProto.UINT8, [batch, size, size, 3]))


def _rename_output(graph: onnx.GraphProto, old: str, new: str) -> None:
    node = _maker(graph, old)
    node.output[list(node.output).index(old)] = new


def _reshape_output(graph: onnx.GraphProto, old: str, new: str, shape: Sequence[int]) -> None:
    """Turn the last Reshape, which fixes one face, into one for any number."""
    node = _maker(graph, old)
    if node.op_type != "Reshape":
        raise SourceModelError(f"'{old}' comes from a {node.op_type} where the exporter knows a Reshape")
    graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), f"{new}_shape"))
    node.input[1], node.output[0] = f"{new}_shape", new


def _maker(graph: onnx.GraphProto, name: str) -> onnx.NodeProto:
    for node in graph.node:
        if name in node.output:
            assert isinstance(node, onnx.NodeProto)
            return node
    raise SourceModelError(f"the converted graph has no tensor '{name}'")


def _set_outputs(graph: onnx.GraphProto, shapes: Mapping[str, Sequence[int | str]]) -> None:
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(k, TensorProto.FLOAT, list(v)) for k, v in shapes.items())
