"""Convert a foreign face detector to an artifact: its outputs become rows and scores, as its geometry reads them.

The graph makes `boxes` [1, K, 4 + 2P] and `scores` [1, K, 1] of whatever outputs the detector has, and holds the
preprocessing of values; the worker scales frames and decodes rows (models/faces/decoding.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper

from bimodal.export.artifact import IR_VERSION, Progress, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.faces import as_numpy, factor_and_shift
from bimodal.export.frontends.pixels import Pixels
from bimodal.export.onnx.description import Description, DetectorOutputs, Part
from bimodal.export.onnx.feeds import FLOATS, WHOLE, port_of
from bimodal.export.onnx.foreign import as_type, opset
from bimodal.export.onnx.graph import canonicalize, has_inner_graphs
from bimodal.export.onnx.wrap import NEWEST_OF_IR_10, PREFIX, hold_constants, raise_opset
from bimodal.export.real_inputs import pictures_of
from bimodal.models.contract import CONTRACT_VERSION, Metadata
from bimodal.models.faces.decoding import make_cells
from bimodal.models.faces.geometry import GridGeometry

TRIED = (128, 160)
"""Height and width of the random input of a detector that takes any size, in its largest multiples of 32 or more."""
PROBABLE = 1e-3
"""Greatest distance of a score from 0…1."""

Values = NDArray[Any]


def adopt_detector(
    model: onnx.ModelProto,
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    pictures: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx for a foreign face detector; nothing is written if anything is wrong.

    Args:
        description: with `geometry` and `outputs`.
        pictures: real ones to measure parity on, besides random pixels; by default the demo's.

    Raises ExportError (file, description, parity) or ArtifactError (contract).
    """
    geometry, outputs = description.geometry, description.outputs
    if geometry is None or outputs is None:
        raise SourceModelError(
            f"say how the rows of {path} are read: a --preset such as yunet, scrfd, retinaface, yolov5-face or "
            "yolov8-face, or 'geometry' and 'outputs' in a --config file (docs/export-onnx.md)"
        )
    if description.labels:
        raise SourceModelError(f"{path}: a face-detector has no labels")
    pixels = description.pixels or Pixels()
    network = Network(model, path, description.input, pixels)
    cases = {
        "random": [_noise(network)],
        "real": [_fitted(picture, network, geometry) for picture in pictures_of(pictures)],
    }
    original = Original(network, outputs, geometry)
    _check_rows(original(cases["random"][0]), geometry, network, path)
    wrapped = _wrap(raise_opset(model, path), network, outputs, original.widths, 4 + 2 * len(geometry.keypoints))
    return ship(wrapped, _metadata(description, geometry, path), original, cases, out, progress)


class Network:
    """The foreign graph in ONNX Runtime, unchanged.

    Attributes:
        name, type: of its only fed input.
        size: height and width, where the graph fixes them.
        outputs: their names, in order.

    Raises SourceModelError if it does not take one picture.
    """

    def __init__(self, model: onnx.ModelProto, path: Path, chosen: str | None, pixels: Pixels) -> None:
        constants = {value.name for value in model.graph.initializer}
        inputs = [value for value in model.graph.input if value.name not in constants]
        named = [value for value in inputs if chosen in (None, value.name)]
        if len(inputs) != 1 or not named:
            listed = ", ".join(f"'{value.name}'" for value in inputs)
            raise SourceModelError(f"{path} has the inputs {listed}, but a detector takes one picture")
        tensor = inputs[0].type.tensor_type
        if tensor.elem_type not in (*FLOATS, *WHOLE):
            raise SourceModelError(f"{path}: input {port_of(inputs[0])} takes no numbers that a picture could give")
        shape = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
        channel = 1 if pixels.layout == "nchw" else 3
        if len(shape) != 4 or shape[channel] not in (None, pixels.channels):
            raise SourceModelError(
                f"{path}: input '{inputs[0].name}' has shape {shape}, which is not {pixels.layout} with "
                f"{pixels.channels} channels: say --layout or --colour"
            )
        self.name: str = inputs[0].name
        self.type: int = tensor.elem_type
        sides = [size for axis, size in enumerate(shape) if axis not in (0, channel)]
        self.size = None if None in sides else cast("tuple[int, int]", tuple(sides))
        self.outputs: list[str] = [value.name for value in model.graph.output]
        self.pixels = pixels
        self.path = path
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own, undocumented exception classes
            raise SourceModelError(f"{path} can't be opened by ONNX Runtime: {str(error)[:200]}") from error

    def __call__(self, image: NDArray[np.uint8]) -> list[Values]:
        """All outputs for uint8 [1, H, W, 3] RGB."""
        values: Values = as_type(as_numpy(self.pixels, image), self.type)
        try:
            return list(self._session.run(self.outputs, {self.name: values}))
        except Exception as error:
            raise SourceModelError(f"{self.path} can't be run by ONNX Runtime: {str(error)[:200]}") from error


class Original:
    """The reference for parity: `image` in, `boxes` and `scores` out, in numpy around the foreign network.

    Attributes:
        widths: columns of each foreign output, by name.
    """

    def __init__(self, network: Network, outputs: DetectorOutputs, geometry: GridGeometry) -> None:
        self._network, self._outputs, self._geometry = network, outputs, geometry
        self.widths: dict[str, int] = {}

    def __call__(self, image: NDArray[np.uint8]) -> dict[str, Values]:
        """Compute `boxes` float32 [1, K, 4 + 2P] and `scores` [1, K, 1]."""
        found = dict(zip(self._network.outputs, self._network(image), strict=True))
        outputs = self._outputs

        def pick(parts: Sequence[Part]) -> NDArray[np.float32]:
            return self._rows(parts, found)

        scores = pick(outputs.scores)
        if outputs.objectness:
            scores = scores * pick(outputs.objectness)
            scores = np.sqrt(scores) if outputs.root else scores
        rows = [pick(outputs.boxes)] + ([pick(outputs.keypoints)] if outputs.keypoints else [])
        return {"boxes": np.concatenate(rows, axis=1)[None], "scores": scores[None]}

    def _rows(self, parts: Sequence[Part], found: dict[str, Values]) -> NDArray[np.float32]:
        rows = []
        for part in parts:
            name = output_name(part, self._network)
            values: NDArray[np.float32] = found[name].astype(np.float32)
            values = np.swapaxes(values, -1, -2) if self._outputs.transposed else values
            self.widths[name] = values.shape[-1]
            values = values.reshape(-1, values.shape[-1])
            if part.columns and max(part.columns) >= values.shape[1]:
                raise SourceModelError(f"{self._network.path}: output '{name}' has only {values.shape[1]} columns")
            rows.append(values[:, list(part.columns)] if part.columns else values)
        return np.concatenate(rows)


def output_name(part: Part, network: Network) -> str:
    """The foreign output that a part names. Raises SourceModelError, listing the outputs, if there is none."""
    if isinstance(part.output, str) and part.output in network.outputs:
        return part.output
    if isinstance(part.output, int) and part.output < len(network.outputs):
        return network.outputs[part.output]
    raise SourceModelError(
        f"{network.path} has no output {part.output!r}; its outputs are {', '.join(network.outputs)}: name them in "
        "'outputs' of a --config file"
    )


def _check_rows(found: dict[str, Values], geometry: GridGeometry, network: Network, path: Path) -> None:
    """Raise SourceModelError unless the outputs hold as many rows, columns and probabilities as described."""
    boxes, scores = found["boxes"][0], found["scores"][0]
    columns = 4 + 2 * len(geometry.keypoints)
    if boxes.shape[1] != columns or scores.shape[1] != 1:
        raise SourceModelError(
            f"{path} gives {boxes.shape[1]} values and {scores.shape[1]} scores a row, but {len(geometry.keypoints)} "
            f"keypoints need {columns} values and 1 score: check 'outputs' and 'keypoints'"
        )
    if len(scores) != len(boxes):
        raise SourceModelError(f"{path} gives {len(boxes)} boxes, but {len(scores)} scores: check 'outputs'")
    height, width = network.size or TRIED
    cells = len(make_cells(geometry, width, height).x) if geometry.grids else len(boxes)
    if cells != len(boxes):
        raise SourceModelError(
            f"{path} gives {len(boxes)} boxes for {width}×{height} pixels, but the grids of 'geometry' have {cells}"
        )
    if not np.isfinite(boxes).all() or scores.min() < -PROBABLE or scores.max() > 1 + PROBABLE:
        raise SourceModelError(
            f"{path} gives scores from {scores.min():.3g} to {scores.max():.3g}, but probabilities are needed: "
            "export it with its sigmoid or softmax"
        )


def _wrap(
    model: onnx.ModelProto, network: Network, outputs: DetectorOutputs, widths: dict[str, int], columns: int
) -> onnx.ModelProto:
    foreign = compose.add_prefix(model, PREFIX).graph
    hold_constants(foreign)
    before, after = Draft("before"), Draft("after")
    _feed(before, network, foreign)

    def pick(parts: Sequence[Part]) -> str:
        return _rows(after, parts, network, outputs, widths)

    scores = pick(outputs.scores)
    if outputs.objectness:
        scores = after.node("Mul", scores, pick(outputs.objectness))
        scores = after.node("Sqrt", scores) if outputs.root else scores
    rows = [pick(outputs.boxes)] + ([pick(outputs.keypoints)] if outputs.keypoints else [])
    boxes = after.node("Concat", *rows, axis=2) if len(rows) > 1 else rows[0]
    after.nodes += [
        helper.make_node("Identity", [boxes], ["boxes"]),
        helper.make_node("Identity", [scores], ["scores"]),
    ]
    height, width = network.size or ("height", "width")
    made = helper.make_graph(
        [*before.nodes, *foreign.node, *after.nodes],
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, height, width, 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, "rows", columns]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, "rows", 1]),
        ],
        [*foreign.initializer, *before.constants, *after.constants],
    )
    if not has_inner_graphs(made):
        canonicalize(made)
    wrapped = helper.make_model(made, producer_name="bimodal", opset_imports=list(model.opset_import))
    wrapped.ir_version = IR_VERSION if opset(model) <= NEWEST_OF_IR_10 else max(IR_VERSION, model.ir_version)
    return wrapped


def _feed(draft: Draft, network: Network, foreign: onnx.GraphProto) -> None:
    """Feed `image`; bytes are moved before they become floats, which are four times as many."""
    pixels = network.pixels
    factor, shift = factor_and_shift(pixels)
    first = pixels.layout == "nchw"
    last = draft.node("Transpose", "image", perm=[0, 3, 1, 2]) if first else "image"
    if pixels.colour == "bgr":
        last = draft.node("Gather", last, draft.integers([2, 1, 0]), axis=1 if first else 3)
    last = draft.node("Cast", last, to=TensorProto.FLOAT)
    for operator, values, neutral in (("Mul", factor, 1.0), ("Add", shift, 0.0)):
        if not np.all(values == neutral):
            last = draft.node(operator, last, draft.floats(values.reshape(-1, 1, 1) if first else values))
    last = draft.node("Round", last) if network.type in WHOLE else last
    draft.nodes.append(helper.make_node("Cast", [last], [PREFIX + network.name], to=network.type))
    del foreign.input[:]


def _rows(
    draft: Draft, parts: Sequence[Part], network: Network, outputs: DetectorOutputs, widths: dict[str, int]
) -> str:
    """Join parts to rows [1, K, columns]."""
    joined = []
    for part in parts:
        name = output_name(part, network)
        last = draft.node("Cast", PREFIX + name, to=TensorProto.FLOAT)
        if outputs.transposed:
            last = draft.node("Transpose", last, perm=[0, 2, 1])
        last = draft.node("Reshape", last, draft.integers([1, -1, widths[name]]))
        joined.append(draft.node("Gather", last, draft.integers(part.columns), axis=2) if part.columns else last)
    return draft.node("Concat", *joined, axis=1) if len(joined) > 1 else joined[0]


def _metadata(description: Description, geometry: GridGeometry, path: Path) -> Metadata:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="face-detector",
        name=description.name or path.stem,
        version=description.version or "1",
        license=description.license or "unknown",
        source=f"{description.source or 'converted'} (from {path.name}, sha256 {digest})",
        geometry=msgspec.to_builtins(geometry),
    )


def _noise(network: Network) -> NDArray[np.uint8]:
    height, width = network.size or TRIED
    return np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)


def _fitted(picture: NDArray[np.uint8], network: Network, geometry: GridGeometry) -> NDArray[np.uint8]:
    """The upper left of a picture, black beyond, at a size that the network takes."""
    height, width = network.size or (
        max(geometry.multiple, side // geometry.multiple * geometry.multiple) for side in picture.shape[:2]
    )
    made = np.zeros((1, height, width, 3), np.uint8)
    part = picture[:height, :width]
    made[0, : part.shape[0], : part.shape[1]] = part
    return made
