"""Convert MediaPipe's short-range face detector and face mesh (TFLite) to artifacts.

The model files are in the wheel mediapipe==0.10.21 (Apache-2.0), the last with them. TensorFlow and tf2onnx are only
imported when something is converted.
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
from bimodal.export.parity import Difference, measure
from bimodal.models.contract import CONTRACT_VERSION, Kind, Metadata
from bimodal.models.faces.geometry import AnchorLayer, MeshGeometry, SsdGeometry
from bimodal.models.faces.units import BLENDSHAPES
from bimodal.models.session import Artifact

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
DETECTOR_GEOMETRY = SsdGeometry(
    size=128,
    scale=128.0,
    anchors=(AnchorLayer(cells=16, repeats=2), AnchorLayer(cells=8, repeats=6)),
    score_clip=100.0,
    suppression=0.3,
    keypoints=("right_eye", "left_eye", "nose_tip", "mouth_centre", "right_ear", "left_ear"),
)
# mediapipe/modules/face_landmark/face_detection_front_detection_to_roi.pbtxt and face_landmark_landmarks_to_roi.pbtxt
MESH_GEOMETRY = MeshGeometry(size=192, margin=1.5, eye_points=(33, 263))


# face_landmarker.task (Apache-2.0): a mesh with irises, and blendshapes from it.
TASK = "face_landmarker.task"
IRIS_FILE, BLENDSHAPES_FILE = "face_landmarks_detector.tflite", "face_blendshapes.tflite"
TASK_FILES: Mapping[str, str] = {
    IRIS_FILE: "c7d54204ce0448474c7f3fa9af494787c0965cbdd6f20fc72867e43046bd43d5",
    BLENDSHAPES_FILE: "4f36dded049db18d76048567439b2a7f58f1daabc00d78bfe8f3ad396a2d2082",
}
# mediapipe/tasks/cc/vision/face_landmarker/face_landmarker_graph.cc
IRIS_GEOMETRY = MeshGeometry(size=256, margin=1.5, eye_points=(33, 263))
# face_blendshapes_graph.cc: the points that the model takes, and what its outputs are.
BLENDSHAPE_POINTS = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249,
    251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314,
    317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382,
    384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)  # fmt: skip
BLENDSHAPE_NAMES = ("_neutral", *BLENDSHAPES)


class Values(NamedTuple):
    """Scaling of pixels for a network: value × scale + shift."""

    scale: float
    shift: float

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scale uint8 pixels to float32 of the same shape, as the graph does."""
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

    z has the scale of x; smaller is nearer. The original takes one face per run; here any number.
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


def convert_iris_mesh(tflite: Path) -> onnx.GraphProto:
    """`faces` uint8 [N, 256, 256, 3] → `points` float32 [N, 478, 3] in pixels, `presence` float32 [N, 1] in 0…1.

    The last ten points are the irises: centre and four points around it of the person's right, then of the left.
    """
    graph = _convert(tflite)
    _take_pixels(graph, "faces", "N", IRIS_GEOMETRY.size, MESH_VALUES)
    _reshape_output(graph, "Identity", "points", [-1, 478, 3])
    _reshape_output(graph, "Identity_1", "presence_logit", [-1, 1])
    graph.node.append(helper.make_node("Sigmoid", ["presence_logit"], ["presence"]))
    _set_outputs(graph, {"points": ["N", 478, 3], "presence": ["N", 1]})
    if prelu_as_convolutions(graph) == 0:
        raise SourceModelError(f"{tflite} holds no PRelu, so it is not the landmark model that the exporter knows")
    return graph


def convert_blendshapes(tflite: Path) -> onnx.GraphProto:
    """`points` float32 [1, 478, 3] in any unit → `blendshapes` float32 [1, 52] in 0…1.

    tf2onnx's optimisers break its layer norms, so it is converted without them.
    """
    from tf2onnx.tfonnx import process_tf_graph

    graph: onnx.GraphProto = (
        process_tf_graph(None, tflite_path=str(tflite), opset=OPSET).make_model("blendshapes").graph
    )
    taken, given = graph.input[0].name, graph.output[0].name
    constants = {
        "taken_points": np.array(BLENDSHAPE_POINTS, np.int64),
        "flat_places": np.array((0, 1), np.int64),
        "one_face": np.array((1, len(BLENDSHAPE_NAMES)), np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    nodes = [
        helper.make_node("Gather", ["points", "taken_points"], ["taken"], axis=1),
        helper.make_node("Gather", ["taken", "flat_places"], [taken], axis=2),
        *graph.node,
        helper.make_node("Reshape", [given, "one_face"], ["blendshapes"]),
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info("points", TensorProto.FLOAT, [1, 478, 3]))
    _set_outputs(graph, {"blendshapes": [1, len(BLENDSHAPE_NAMES)]})
    del graph.value_info[:]
    return graph


def task_metadata(kind: Kind, metrics: dict[str, object] | None = None) -> Metadata:
    """Metadata of the artifacts out of face_landmarker.task ("face-landmarks" or "face-blendshapes")."""
    mesh = kind == "face-landmarks"
    file = IRIS_FILE if mesh else BLENDSHAPES_FILE
    return Metadata(
        contract=CONTRACT_VERSION,
        kind=kind,
        name="facemesh-478" if mesh else "face-blendshapes",
        version="1",
        license="Apache-2.0",
        source=f"{file} in MediaPipe's {TASK}, sha256 {TASK_FILES[file]}",
        geometry=msgspec.to_builtins(IRIS_GEOMETRY) if mesh else None,
        labels=None if mesh else BLENDSHAPE_NAMES,
        metrics=metrics,
    )


def metadata(kind: Kind, metrics: dict[str, object] | None = None) -> Metadata:
    """Metadata of the artifact of `kind` ("face-detector" or "face-landmarks")."""
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
    """Replace the float input with uint8 pixels: transpose to channels first as uint8, then scale."""
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
    """Change the last Reshape, fixed to one face, to any number of faces."""
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


# Parity of the converted detector and mesh with the original files in LiteRT's interpreter.

Pictures = NDArray[np.uint8]

BOX_TOLERANCE = 2e-3  # of values up to ±300, in pixels of the 128 input
SCORE_TOLERANCE = 2e-3  # of raw scores up to ±100
POINT_TOLERANCE = 2e-3  # in pixels of the 192 input
PRESENCE_TOLERANCE = 1e-4  # of a probability

Floats = NDArray[np.float32]


class Original:
    """A TFLite model, one picture per run, on one thread."""

    def __init__(self, tflite: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(tflite), num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]

    def __call__(self, values: Floats) -> dict[int, Floats]:
        """Run on float32 [1, H, W, 3]. Returns flat outputs by their number of values."""
        self._interpreter.set_tensor(self._input, values)
        self._interpreter.invoke()
        found = (self._interpreter.get_tensor(o["index"]) for o in self._interpreter.get_output_details())
        return {value.size: value.ravel().copy() for value in found}


def detector_parity(artifact: Artifact, tflite: Path, inputs: str, pictures: Pictures) -> list[Difference]:
    """Measure differences of `boxes` and `scores` on uint8 [N, 128, 128, 3]; empty for no pictures."""
    if len(pictures) == 0:
        return []
    original = Original(tflite)
    theirs = [original(DETECTOR_VALUES(picture[None])) for picture in pictures]
    ours = [artifact.run(image=picture[None]) for picture in pictures]
    return [
        _measure("boxes", inputs, ours, [found[896 * 16] for found in theirs], BOX_TOLERANCE),
        _measure("scores", inputs, ours, [found[896] for found in theirs], SCORE_TOLERANCE),
    ]


def mesh_parity(artifact: Artifact, tflite: Path, inputs: str, pictures: Pictures) -> list[Difference]:
    """Measure differences of `points` and `presence` on uint8 [N, 192, 192, 3]; ours also on all in one run."""
    if len(pictures) == 0:
        return []
    original = Original(tflite)
    theirs = [original(MESH_VALUES(picture[None])) for picture in pictures]
    points = [found[468 * 3] for found in theirs]
    presence = [(1 / (1 + np.exp(-found[1]))).astype(np.float32) for found in theirs]
    single = [artifact.run(faces=picture[None]) for picture in pictures]
    together = artifact.run(faces=pictures)
    batch = [{name: values[n : n + 1] for name, values in together.items()} for n in range(len(pictures))]
    return [
        _measure("points", inputs, single, points, POINT_TOLERANCE),
        _measure("presence", inputs, single, presence, PRESENCE_TOLERANCE),
        _measure("points", f"{inputs}_in_one_run", batch, points, POINT_TOLERANCE),
        _measure("presence", f"{inputs}_in_one_run", batch, presence, PRESENCE_TOLERANCE),
    ]


def iris_parity(artifact: Artifact, tflite: Path, inputs: str, pictures: Pictures) -> list[Difference]:
    """Measure differences of `points` and `presence` on uint8 [N, 256, 256, 3]."""
    if len(pictures) == 0:
        return []
    original = Original(tflite)
    theirs = [original(MESH_VALUES(picture[None])) for picture in pictures]
    single = [artifact.run(faces=picture[None]) for picture in pictures]
    together = artifact.run(faces=pictures)
    batch = [{name: values[n : n + 1] for name, values in together.items()} for n in range(len(pictures))]
    points = [found[478 * 3] for found in theirs]
    return [
        _measure("points", inputs, single, points, POINT_TOLERANCE),
        _measure("points", f"{inputs}_in_one_run", batch, points, POINT_TOLERANCE),
    ]


BLENDSHAPE_TOLERANCE = 1e-4


def blendshape_parity(artifact: Artifact, tflite: Path, inputs: str, meshes: Floats) -> list[Difference]:
    """Measure differences of `blendshapes` on meshes float32 [N, 478, 3]."""
    if len(meshes) == 0:
        return []
    original = Original(tflite)
    theirs = [original(mesh[None, list(BLENDSHAPE_POINTS), :2])[len(BLENDSHAPE_NAMES)] for mesh in meshes]
    ours = [artifact.run(points=mesh[None]) for mesh in meshes]
    return [_measure("blendshapes", inputs, ours, theirs, BLENDSHAPE_TOLERANCE)]


def noise(count: int, size: int) -> Pictures:
    """Make random pictures, the same ones every time."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def _measure(
    output: str, inputs: str, ours: Sequence[dict[str, Floats]], theirs: Sequence[Floats], tolerance: float
) -> Difference:
    return measure(output, inputs, [found[output].ravel() for found in ours], theirs, tolerance)


# PRelu as convolutions: ONNX Runtime then keeps its blocked memory layout, and the face mesh runs 3× faster.
#
# PRelu(x) = s·x + (1 − s)·Relu(x) for every slope s, also above 1 and below 0, where Max(x, s·x) would be wrong.
# Each product with a channel's constant is a depthwise 1×1 Conv.


def prelu_as_convolutions(graph: onnx.GraphProto) -> int:
    """Replace every PRelu with one constant slope a channel ([C, 1, 1] or [1, C, 1, 1]) in place.

    Returns the number of nodes replaced; any other PRelu stays.
    """
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    replaced = 0
    for node in graph.node:
        slopes = constants.get(node.input[1]) if node.op_type == "PRelu" else None
        if slopes is None or not _one_a_channel(slopes):
            nodes.append(node)
            continue
        nodes += _rewritten(graph, node, slopes.reshape(-1))
        replaced += 1
    del graph.node[:]
    graph.node.extend(nodes)
    return replaced


def _one_a_channel(slopes: NDArray[np.float32]) -> bool:
    shape = slopes.shape[1:] if slopes.ndim == 4 and slopes.shape[0] == 1 else slopes.shape
    return len(shape) == 3 and shape[1:] == (1, 1)


def _rewritten(graph: onnx.GraphProto, node: onnx.NodeProto, slopes: NDArray[np.float32]) -> list[onnx.NodeProto]:
    source, result = node.input[0], node.output[0]
    weights = {f"{result}:slope": slopes, f"{result}:rest": 1 - slopes}
    for name, values in weights.items():
        graph.initializer.append(numpy_helper.from_array(values.reshape(-1, 1, 1, 1).astype(np.float32), name))
    slope, rest = weights
    return [
        helper.make_node("Relu", [source], [f"{result}:relu"]),
        _per_channel(source, slope, f"{result}:sloped", slopes.size),
        _per_channel(f"{result}:relu", rest, f"{result}:rectified", slopes.size),
        helper.make_node("Add", [f"{result}:sloped", f"{result}:rectified"], [result]),
    ]


def _per_channel(source: str, weights: str, result: str, channels: int) -> onnx.NodeProto:
    return helper.make_node("Conv", [source, weights], [result], kernel_shape=[1, 1], group=channels)
