"""face-api.js's expression network: published weights → the graph of a face-static artifact.

Source: the npm package @vladmandic/face-api 1.7.15 (MIT), folder `model/`: a manifest that names every tensor with its
shape and quantisation, and one file of bytes. uint8 weights are value · scale + minimum.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.export.artifact import Progress, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.real_inputs import faces_of
from bimodal.export.torch.convert import convert, original
from bimodal.export.wheels import verify
from bimodal.models.architectures.face_api_expression import LABELS, SIDE, FaceApiExpression, FaceApiGraph, state_of
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata

PACKAGE = "https://registry.npmjs.org/@vladmandic/face-api/-/face-api-1.7.15.tgz"
MANIFEST, WEIGHTS = "face_expression_model-weights_manifest.json", "face_expression_model.bin"
FILES = {
    MANIFEST: "5b349c17c7836da506e03422cd6461c74085d8bb2713ad4114647dc5d28174c8",
    WEIGHTS: "9a9840f2cf1f4c7eab95f197512569345c00d2426754d4608b92af30e0300f3d",
}
"""sha256 of each file."""

NAME = "face-api-expression"
LICENSE = "MIT (Vincent Mühler; Vladimir Mandic); the pictures it was trained on are not published"
SOURCE = "face_expression_model of @vladmandic/face-api 1.7.15, after face-api.js"
CROP = Crop(scale=1.08, shift_y=-0.054, rotate=True)
"""Measured on FER2013's split `valid`: see the card."""


def export_face_api(
    out: Path,
    progress: Progress,
    *,
    folder: Path | None = None,
    package: Path | None = None,
    pictures: Sequence[Path] = (),
) -> Path:
    """Write `out`/face-api-expression/model.onnx.

    Args:
        folder: with the manifest and the weights.
        package: the npm package as a .tgz file, in place of `folder`; fetched if neither is given.
        pictures: with faces, to measure parity on besides random pixels; by default those of the demo.

    Raises SourceModelError (files), ExportError (parity) or ArtifactError (contract); nothing is written then.
    """
    network = load_network(folder, package)
    metadata = Metadata(
        contract=CONTRACT_VERSION,
        kind="face-static",
        name=NAME,
        version="1",
        license=LICENSE,
        source=SOURCE,
        labels=LABELS,
        embedding_space=f"{NAME}@1",
        crop=CROP,
        temperature=1.0,
    )
    graph = FaceApiGraph(network).eval()
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
    real = faces_of(pictures, CROP, SIDE)
    cases: dict[str, list[NDArray[Any]]] = {"random": [noise[:1], noise], "real": [real[:5]] if len(real) else []}
    model = convert(graph, metadata, noise[:2], {0: "batch"})
    return ship(model, metadata, original(graph, metadata), cases, out, progress)


def load_network(folder: Path | None = None, package: Path | None = None) -> FaceApiExpression:
    """The network with the published weights. Raises SourceModelError as `export_face_api`."""
    with tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            folder = Path(scratch)
            _unpack(package.read_bytes() if package is not None else _fetch(), folder)
        verify(folder, FILES)
        network = FaceApiExpression()
        network.load_state_dict(state_of(read_tensors(folder)))
        return network.eval()


def read_tensors(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Read the tensors of a weights manifest, by name. Raises SourceModelError where the files do not fit."""
    try:
        groups = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        raw = (folder / WEIGHTS).read_bytes()
        return dict(_tensors((entry for group in groups for entry in group["weights"]), raw))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceModelError(f"{folder} holds no weights of face-api: {error}") from error


def _tensors(entries: Iterable[dict[str, Any]], raw: bytes) -> Iterable[tuple[str, NDArray[np.float32]]]:
    place = 0
    for entry in entries:
        count, packed = math.prod(entry["shape"]), entry.get("quantization")
        kind = np.dtype(np.uint8 if packed else "<f4")
        values = np.frombuffer(raw, kind, count, place).astype(np.float32)
        place += count * kind.itemsize
        if packed:
            values = values * np.float32(packed["scale"]) + np.float32(packed["min"])
        yield entry["name"], values.reshape(entry["shape"])
    if place != len(raw):
        raise ValueError(f"the manifest describes {place} bytes, but there are {len(raw)}")


def _fetch() -> bytes:
    try:
        with urllib.request.urlopen(PACKAGE, timeout=60) as answer:
            data: bytes = answer.read()
            return data
    except (urllib.error.URLError, TimeoutError) as error:
        raise SourceModelError(f"{PACKAGE} can't be fetched ({error}): give --folder or --package") from error


def _unpack(package: bytes, folder: Path) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(package), mode="r:gz") as archive:
            for name in FILES:
                member = archive.extractfile(f"package/model/{name}")
                if member is None:
                    raise SourceModelError(f"the package holds no model/{name}")
                (folder / name).write_bytes(member.read())
    except (OSError, tarfile.TarError, KeyError) as error:
        raise SourceModelError(f"this is no npm package of face-api: {error}") from error
