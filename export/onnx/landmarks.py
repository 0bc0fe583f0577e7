"""Convert a foreign face mesh to a face-landmarks artifact: MediaPipe's 468 points, in pixels of a crop of 192.

Crop, mouth opening, eyes and pose are read off MediaPipe's points by their numbers, so a network with other points
can't be adopted; one of 478 gives its first 468.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from bimodal.export.artifact import Progress, check_name, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.faces import as_numpy, pixel_nodes
from bimodal.export.frontends.pixels import Pixels, Resize
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.feeds import WHOLE, listed
from bimodal.export.onnx.foreign import MakeRun, as_type, session_run
from bimodal.export.onnx.ports import Ports, face_size, find_ports, results_of
from bimodal.export.onnx.wrap import PREFIX, enclose, prefixed, raise_opset
from bimodal.export.real_inputs import faces_of
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.faces.geometry import MeshGeometry

SIDE, POINTS = 192, 468
MOST_POINTS = 478
GEOMETRY = MeshGeometry(size=SIDE, margin=1.5, eye_points=(33, 263))
MESH_CROP = Crop(scale=1.5, shift_y=0.0, rotate=True)

Values = NDArray[Any]


def adopt_landmarks(
    model: onnx.ModelProto,
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    make_run: MakeRun | None = None,
    pictures: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx for a foreign face mesh; nothing is written if anything is wrong.

    Args:
        description: `output` names the points, `presence` what says whether there is a face.
        make_run: makes the reference for parity; by default the model itself in ONNX Runtime.

    Raises ExportError (file, description, parity) or ArtifactError (contract).
    """
    name, version = description.name or path.stem, description.version or "1"
    check_name(name)
    if description.pixels is None:
        raise SourceModelError(f"say what values {path} wants: --colour, --layout, --scale, --mean …")
    points = description.output or _points(model, path)
    chosen = msgspec.structs.replace(
        description, kind="face-static", output=points, embedding=description.presence, size=None, affect="none"
    )
    ports = find_ports(model, chosen, path)
    side = face_size(ports, msgspec.structs.replace(chosen, size=_side(ports, description)), path)
    pixels = description.pixels if side == SIDE else msgspec.structs.replace(description.pixels, resize=Resize(side))
    run = make_run(ports) if make_run else session_run(model, ports, path)
    original = Mesh(run, ports, pixels, side, path)
    random = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    faces = faces_of(pictures, MESH_CROP, SIDE)
    original.settle(faces if len(faces) else random)
    wrapped = _wrap(raise_opset(model, path), pixels, ports, original, name)
    progress(f"its points are {'shares' if original.factor == SIDE else 'pixels'} of its input of {side} × {side}")
    if ports.embedding is None:
        progress(
            "it does not say whether there is a face (--presence names the output that does): presence is always 1"
        )
    for port in ports.left_out:
        progress(f"left out: output {port}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    metadata = Metadata(
        contract=CONTRACT_VERSION,
        kind="face-landmarks",
        name=name,
        version=version,
        license=description.license or "unknown",
        source=f"{description.source or 'converted'} (from {path.name}, sha256 {digest})",
        geometry=msgspec.to_builtins(GEOMETRY),
    )
    cases = {"random": [random[:1], random], "real": [faces[:1], faces[:5]] if len(faces) else []}
    return ship(wrapped, metadata, original, cases, out, progress)


def _side(ports: Ports, description: Description) -> int | None:
    free = len(ports.shape) == 4 and all(size in (None, 1, 3) for size in ports.shape)
    return (description.size or SIDE) if free else None


def _points(model: onnx.ModelProto, path: Path) -> str:
    """The output with 468 or 478 points. Raises SourceModelError if there is none."""
    results = results_of(model)
    fitting = [result for result in results if _count(result.port.shape) in (POINTS, MOST_POINTS)]
    if len(fitting) == 1:
        return fitting[0].tensor
    raise SourceModelError(
        f"{path} gives {listed(results)}: no single one holds the {POINTS} or {MOST_POINTS} points of MediaPipe's "
        "mesh, by "
        "whose numbers bimodal finds eyes and mouth; say which does with --output, or keep facemesh-468"
    )


def _count(shape: Sequence[int | str | None] | None) -> int:
    """Number of points of three values in a declared shape [N, …]."""
    product = 1
    for size in (shape or (0, 0))[1:]:
        product *= size if isinstance(size, int) else 0
    return product // 3


class Mesh:
    """The reference for parity: crops in, `points` and `presence` out, in numpy around the foreign network.

    Attributes:
        factor: from the network's units to pixels of a crop of 192.
        logit: whether presence still needs a sigmoid.
    """

    def __init__(self, run: Any, ports: Ports, pixels: Pixels, side: int, path: Path) -> None:
        self._run, self._ports, self._pixels, self._side, self._path = run, ports, pixels, side, path
        self.factor, self.logit = SIDE / side, False

    def settle(self, faces: NDArray[np.uint8]) -> None:
        """Find the units of points and presence on faces. Raises SourceModelError for another number of points."""
        points, presence = self._raw(faces)
        if points.shape[1] not in (3 * POINTS, 3 * MOST_POINTS):
            raise SourceModelError(
                f"{self._path} gives {points.shape[1]} values, which are not {POINTS} or {MOST_POINTS} points of "
                "three: bimodal "
                "finds eyes and mouth by the numbers of MediaPipe's mesh; keep facemesh-468"
            )
        if np.abs(points[:, : 3 * POINTS].reshape(-1, 3)[:, :2]).max() <= 2:
            self.factor = float(SIDE)
        if presence is not None:
            self.logit = bool(presence.min() < 0 or presence.max() > 1)

    def __call__(self, faces: NDArray[np.uint8]) -> dict[str, Values]:
        """Compute `points` float32 [N, 468, 3] and `presence` [N, 1]."""
        points, presence = self._raw(faces)
        made = points[:, : 3 * POINTS].reshape(-1, POINTS, 3).astype(np.float32) * np.float32(self.factor)
        if presence is None:
            presence = np.ones((len(faces), 1))
        elif self.logit:
            presence = 1 / (1 + np.exp(-presence.astype(np.float64)))
        return {"points": made, "presence": presence.astype(np.float32)}

    def _raw(self, faces: NDArray[np.uint8]) -> tuple[Values, Values | None]:
        found = []
        for face in faces:
            values = as_type(as_numpy(self._pixels, face[None]), self._ports.type)
            answers = dict(zip(self._ports.wanted, self._run(values), strict=True))
            presence = answers[self._ports.embedding].reshape(1, -1)[:, :1] if self._ports.embedding else None
            found.append((answers[self._ports.output].reshape(1, -1), presence))
        points = np.concatenate([each[0] for each in found])
        return points, np.concatenate([each[1] for each in found]) if self._ports.embedding else None


def _wrap(model: onnx.ModelProto, pixels: Pixels, ports: Ports, mesh: Mesh, name: str) -> onnx.ModelProto:
    before, after = Draft("before"), Draft("after")
    before.nodes, before.constants = pixel_nodes(pixels, "faces", "before:pixels")
    last = before.node("Round", "before:pixels") if ports.type in WHOLE else "before:pixels"
    before.nodes.append(helper.make_node("Cast", [last], [PREFIX + ports.input], to=ports.type))
    for feed in ports.feeds:
        feed.nodes(before, "faces", 1, PREFIX + feed.port.name)
    flat = after.node("Reshape", PREFIX + ports.output, after.integers([-1, _width(mesh)]))
    flat = after.node("Slice", flat, after.integers([0]), after.integers([3 * POINTS]), after.integers([1]))
    flat = after.node("Cast", flat, to=TensorProto.FLOAT)
    points = after.node("Reshape", flat, after.integers([-1, POINTS, 3]))
    after.nodes.append(helper.make_node("Mul", [points, after.floats(mesh.factor)], ["points"]))
    if ports.embedding is None:
        count = after.node("Slice", after.node("Shape", "points"), after.integers([0]), after.integers([1]))
        shape = after.node("Concat", count, after.integers([1]), axis=0)
        after.nodes.append(helper.make_node("Expand", [after.floats([[1.0]]), shape], ["presence"]))
    else:
        value = after.node("Cast", PREFIX + ports.embedding, to=TensorProto.FLOAT)
        value = after.node("Reshape", value, after.integers([-1, 1]))
        after.nodes.append(helper.make_node("Sigmoid" if mesh.logit else "Identity", [value], ["presence"]))
    inputs = [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])]
    outputs = [
        helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", POINTS, 3]),
        helper.make_tensor_value_info("presence", TensorProto.FLOAT, ["batch", 1]),
    ]
    return enclose(model, prefixed(model, dynamic=True), before, after, inputs, outputs, name)


def _width(mesh: Mesh) -> int:
    points, _ = mesh._raw(np.zeros((1, SIDE, SIDE, 3), np.uint8))
    return int(points.shape[1])
