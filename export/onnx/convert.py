"""`bimodal export onnx`: convert a foreign .onnx file to an artifact that includes its preprocessing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from bimodal.export.artifact import Progress, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.detectors import adopt_detector
from bimodal.export.onnx.foreign import LARGEST_MB, ForeignOriginal, Run, read_foreign, session_run
from bimodal.export.onnx.ports import Ports, face_size, find_ports, window_size
from bimodal.export.onnx.wrap import Shell, raise_opset, wrap
from bimodal.export.real_inputs import faces_of, sounds_of
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import LabelMap
from bimodal.models.errors import LabelError

STEPS, DIMENSIONS = 10, 512
"""Number of steps for testing a dynamic model whose graph takes any."""
PROBABLE = 1e-3
"""Greatest deviation of the sum of probabilities from 1."""


def export_onnx(
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    largest_mb: int = LARGEST_MB,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx; nothing is written if anything is wrong.

    Args:
        path: the foreign file.
        description: its inputs, outputs and preprocessing.
        largest_mb: larger files are not read.
        pictures, sounds: real inputs to measure parity on, besides random ones; by default those of the demo.

    Raises ExportError (file, description, parity) or ArtifactError (contract).
    """
    model = read_foreign(path, largest_mb)
    if description.kind == "face-detector":
        return adopt_detector(model, path, description, out, progress, pictures=pictures)
    return adopt(model, path, description, out, progress, pictures=pictures, sounds=sounds)


def adopt(
    model: onnx.ModelProto,
    path: Path,
    description: Description,
    out: Path,
    progress: Progress,
    *,
    run: Run | None = None,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Convert as `export_onnx`, a model that is already read.

    Args:
        run: the reference for parity; by default the model itself in ONNX Runtime.
    """
    description = _complete(description, path)
    ports = find_ports(model, description, path)
    description, shape = _shape(description, ports, path)
    original = ForeignOriginal(run or session_run(model, ports, path), description, ports)
    cases = _cases(description, shape, pictures, sounds)
    classes, *embedding = original.raw(cases["random"][1])
    _check_answers(classes, description, path)
    shell = Shell(shape, classes.shape[1], embedding[0].shape[1] if embedding else None, dynamic=True)
    raised = raise_opset(model, path)
    wrapped = wrap(raised, description, ports, shell)
    if not _takes_batches(wrapped, original, cases["random"][1][:2]):
        if description.kind != "speech":
            raise SourceModelError(f"{path} takes one input at a time: export it again with a dynamic batch axis")
        wrapped = wrap(raised, description, ports, replace(shell, dynamic=False))
        cases = {name: [batch[:1] for batch in batches] for name, batches in cases.items()}
    return ship(wrapped, _metadata(description, path), original, cases, out, progress)


def _complete(description: Description, path: Path) -> Description:
    """Fill in defaults. Raises SourceModelError for missing fields that have none."""
    if description.kind is None:
        raise SourceModelError(
            f"say what {path} is: --kind face-static, speech, face-dynamic or face-detector, or a --preset"
        )
    if not description.labels:
        raise SourceModelError(f"say what the classes of {path} are, in the order of its output: --labels")
    try:
        LabelMap(description.labels)
    except LabelError as error:
        raise SourceModelError(f"{path}: {error}") from error
    if description.kind == "face-dynamic" and (description.embedding_space is None or description.interval_s is None):
        raise SourceModelError(f"say which embeddings {path} takes, and how often: --embedding-space and --interval")
    if description.kind == "speech" and description.sample_rate is None:
        raise SourceModelError(f"say at which rate {path} hears: --sample-rate")
    return msgspec.structs.replace(description, name=description.name or path.stem, version=description.version or "1")


def _shape(description: Description, ports: Ports, path: Path) -> tuple[Description, tuple[int | str, ...]]:
    """(the description with what the graph fixes, shape of the artifact's input without the batch)."""
    if description.kind == "face-static":
        size = face_size(ports, description, path)
        return msgspec.structs.replace(description, size=size, crop=description.crop or Crop()), (size, size, 3)
    if description.kind == "speech":
        samples = window_size(ports, path)
        rate = cast("int", description.sample_rate)
        window = samples / rate if samples else description.window_s or 3.0
        shortest = window if samples else min(window, description.minimum_window_s or 1.0)
        return msgspec.structs.replace(description, window_s=window, minimum_window_s=shortest), (samples or "samples",)
    if len(ports.shape) != 3:
        raise SourceModelError(f"{path}: input '{ports.input}' has {len(ports.shape)} axes, but [N, steps, D] has 3")
    steps, dimensions = ports.shape[1:]
    if steps is None and description.window_s is None:
        raise SourceModelError(
            f"{path} takes any number of steps: say how long it looks back with --window, in seconds"
        )
    return description, (steps or "steps", dimensions or "dimensions")


def _cases(
    description: Description, shape: Sequence[int | str], pictures: Sequence[Path], sounds: Sequence[Path]
) -> dict[str, list[NDArray[Any]]]:
    """Make random inputs, one and five at a time, and real ones from the named files."""
    random = np.random.default_rng(0)
    if description.kind == "face-static":
        size = cast("int", description.size)
        noise = [random.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for count in (1, 5)]
        faces = faces_of(pictures, description.crop or Crop(), size)
        return {"random": noise, "real": [faces[:1], faces[:5]] if len(faces) else []}
    if description.kind == "speech":
        rate, window = cast("int", description.sample_rate), cast("float", description.window_s)
        samples = round(rate * window)
        hiss = [random.normal(0, 0.1, (count, samples)).astype(np.float32) for count in (1, 5)]
        real = [np.resize(sound, samples)[None] for sound in sounds_of(sounds, rate)]
        return {"random": hiss, "real": real}
    sizes = [
        size if isinstance(size, int) else free
        for size, free in zip(shape, (_steps(description), DIMENSIONS), strict=True)
    ]
    return {"random": [random.normal(0, 1, (count, *sizes)).astype(np.float32) for count in (1, 5)]}


def _steps(description: Description) -> int:
    return (
        max(1, round(description.window_s / description.interval_s))
        if description.window_s and description.interval_s
        else STEPS
    )


def _check_answers(classes: NDArray[Any], description: Description, path: Path) -> None:
    """Check the outputs. Raises SourceModelError if classes and labels differ in number, or the softmax is wrong."""
    count, labels = classes.shape[1], description.labels or ()
    if count != len(labels):
        raise SourceModelError(
            f"{path} gives {count} values, but {len(labels)} labels are named: {', '.join(labels)}"
            + ("; --take says how many of the values are classes" if count > len(labels) else "")
        )
    if not np.isfinite(classes).all():
        raise SourceModelError(f"{path} gives values that are no finite numbers")
    sums = classes.astype(np.float64).sum(axis=1)
    probable = bool((classes >= -PROBABLE).all() and (np.abs(sums - 1) < PROBABLE).all())
    if description.logits and probable and count > 1:
        raise SourceModelError(f"{path} already gives probabilities: leave --logits out, a second softmax blurs them")
    if not description.logits and not probable:
        raise SourceModelError(f"{path} gives no probabilities (a row sums to {sums[0]:.3g}): say --logits")
    if not description.logits and description.temperature not in (None, 1.0):
        raise SourceModelError(f"{path} gives probabilities: a temperature applies to --logits only")


def _takes_batches(wrapped: onnx.ModelProto, original: ForeignOriginal, batch: NDArray[Any]) -> bool:
    """True if outputs of a batch equal those of its inputs alone."""
    try:
        session = ort.InferenceSession(wrapped.SerializeToString(), providers=["CPUExecutionProvider"])
        together = session.run(["probabilities"], {session.get_inputs()[0].name: batch})[0]
    except Exception:  # whatever ONNX Runtime raises: it does not take them
        return False
    alone = np.concatenate([original(batch[n : n + 1])["probabilities"] for n in range(len(batch))])
    return together.shape == alone.shape and float(np.abs(together - alone).max()) < PROBABLE


def _metadata(description: Description, path: Path) -> Metadata:
    name, version = cast("str", description.name), cast("str", description.version)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Metadata(
        contract=CONTRACT_VERSION,
        kind=cast("Any", description.kind),
        name=name,
        version=version,
        license=description.license or "unknown",
        source=f"{description.source or 'converted'} (from {path.name}, sha256 {digest})",
        labels=description.labels,
        embedding_space=_space(description),
        sample_rate=description.sample_rate if description.kind == "speech" else None,
        window_s=description.window_s,
        minimum_window_s=description.minimum_window_s if description.kind == "speech" else None,
        interval_s=description.interval_s,
        crop=description.crop if description.kind == "face-static" else None,
        temperature=description.temperature or 1.0,
    )


def _space(description: Description) -> str | None:
    """The embedding space that a dynamic model takes or a static one outputs, if any."""
    if description.kind == "face-static" and description.embedding is not None:
        return description.embedding_space or f"{description.name}@{description.version}"
    return description.embedding_space if description.kind == "face-dynamic" else None
