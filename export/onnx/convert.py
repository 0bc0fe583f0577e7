"""`bimodal export onnx`: someone else's .onnx file → an artifact with its preprocessing inside."""

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

from bimodal.export.artifact import Say, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.foreign import LARGEST_MB, ForeignOriginal, Run, read_foreign, session_run
from bimodal.export.onnx.ports import Ports, face_size, find_ports, window_size
from bimodal.export.onnx.wrap import Shell, raise_opset, wrap
from bimodal.export.real_inputs import faces_of, sounds_of
from bimodal.models.contract import CONTRACT_VERSION, Crop, Metadata
from bimodal.models.emotions import LabelMap
from bimodal.models.errors import LabelError

STEPS, DIMENSIONS = 10, 512
"""What a dynamic model is asked with where its graph takes any."""
PROBABLE = 1e-3
"""So far from 1 may the sum of probabilities be."""


def export_onnx(
    path: Path,
    said: Description,
    out: Path,
    say: Say,
    *,
    largest_mb: int = LARGEST_MB,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """Write `out`/<name>/model.onnx; nothing is written where anything is wrong.

    Args:
        path: the foreign file.
        said: what it wants and gives.
        largest_mb: larger files are not read.
        pictures, sounds: real inputs to measure parity on, beside random ones;
            without any, what ships with the demo.

    Raises ExportError (file, description, parity) or ArtifactError (contract).
    """
    model = read_foreign(path, largest_mb)
    return adopt(model, path, said, out, say, pictures=pictures, sounds=sounds)


def adopt(
    model: onnx.ModelProto,
    path: Path,
    said: Description,
    out: Path,
    say: Say,
    *,
    run: Run | None = None,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
) -> Path:
    """As `export_onnx`, for a model that is read already.

    Args:
        run: what answers are measured against; the model itself in ONNX Runtime where left out.
    """
    said = _complete(said, path)
    ports = find_ports(model, said, path)
    said, shape = _shape(said, ports, path)
    original = ForeignOriginal(run or session_run(model, ports, path), said, ports)
    cases = _cases(said, shape, pictures, sounds)
    classes, *embedding = original.raw(cases["random"][1])
    _check_answers(classes, said, path)
    shell = Shell(shape, classes.shape[1], embedding[0].shape[1] if embedding else None, dynamic=True)
    raised = raise_opset(model, path)
    wrapped = wrap(raised, said, ports, shell)
    if not _takes_batches(wrapped, original, cases["random"][1][:2]):
        if said.kind != "speech":
            raise SourceModelError(f"{path} takes one input at a time: export it again with a dynamic batch axis")
        wrapped = wrap(raised, said, ports, replace(shell, dynamic=False))
        cases = {name: [batch[:1] for batch in batches] for name, batches in cases.items()}
    return ship(wrapped, _metadata(said, path), original, cases, out, say)


def _complete(said: Description, path: Path) -> Description:
    """With what can be filled in for the user; raises SourceModelError for what can't."""
    if said.kind is None:
        raise SourceModelError(f"say what {path} is: --kind face-static, speech or face-dynamic, or a --preset")
    if not said.labels:
        raise SourceModelError(f"say what the classes of {path} are, in the order of its output: --labels")
    try:
        LabelMap(said.labels)
    except LabelError as error:
        raise SourceModelError(f"{path}: {error}") from error
    if said.kind == "face-dynamic" and (said.embedding_space is None or said.interval_s is None):
        raise SourceModelError(f"say which embeddings {path} takes, and how often: --embedding-space and --interval")
    if said.kind == "speech" and said.sample_rate is None:
        raise SourceModelError(f"say at which rate {path} hears: --sample-rate")
    return msgspec.structs.replace(said, name=said.name or path.stem, version=said.version or "1")


def _shape(said: Description, ports: Ports, path: Path) -> tuple[Description, tuple[int | str, ...]]:
    """Shape of the artifact's input without the batch, and the description with what the graph fixes."""
    if said.kind == "face-static":
        size = face_size(ports, said, path)
        return msgspec.structs.replace(said, size=size, crop=said.crop or Crop()), (size, size, 3)
    if said.kind == "speech":
        samples = window_size(ports, path)
        rate = cast("int", said.sample_rate)
        window = samples / rate if samples else said.window_s or 3.0
        shortest = window if samples else min(window, said.minimum_window_s or 1.0)
        return msgspec.structs.replace(said, window_s=window, minimum_window_s=shortest), (samples or "samples",)
    if len(ports.shape) != 3:
        raise SourceModelError(f"{path}: input '{ports.input}' has {len(ports.shape)} axes, but [N, steps, D] has 3")
    steps, dimensions = ports.shape[1:]
    if steps is None and said.window_s is None:
        raise SourceModelError(
            f"{path} takes any number of steps: say how long it looks back with --window, in seconds"
        )
    return said, (steps or "steps", dimensions or "dimensions")


def _cases(
    said: Description, shape: Sequence[int | str], pictures: Sequence[Path], sounds: Sequence[Path]
) -> dict[str, list[NDArray[Any]]]:
    """Random inputs, one and five at a time, and real ones where files were named."""
    random = np.random.default_rng(0)
    if said.kind == "face-static":
        size = cast("int", said.size)
        noise = [random.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for count in (1, 5)]
        faces = faces_of(pictures, said.crop or Crop(), size)
        return {"random": noise, "real": [faces[:1], faces[:5]] if len(faces) else []}
    if said.kind == "speech":
        rate, window = cast("int", said.sample_rate), cast("float", said.window_s)
        samples = round(rate * window)
        hiss = [random.normal(0, 0.1, (count, samples)).astype(np.float32) for count in (1, 5)]
        real = [np.resize(sound, samples)[None] for sound in sounds_of(sounds, rate)]
        return {"random": hiss, "real": real}
    sizes = [
        size if isinstance(size, int) else free for size, free in zip(shape, (_steps(said), DIMENSIONS), strict=True)
    ]
    return {"random": [random.normal(0, 1, (count, *sizes)).astype(np.float32) for count in (1, 5)]}


def _steps(said: Description) -> int:
    return max(1, round(said.window_s / said.interval_s)) if said.window_s and said.interval_s else STEPS


def _check_answers(classes: NDArray[Any], said: Description, path: Path) -> None:
    """Raises SourceModelError where the number of classes is another than that of labels, or a softmax is wrong."""
    count, labels = classes.shape[1], said.labels or ()
    if count != len(labels):
        raise SourceModelError(
            f"{path} gives {count} values, but {len(labels)} labels are named: {', '.join(labels)}"
            + ("; --take says how many of the values are classes" if count > len(labels) else "")
        )
    if not np.isfinite(classes).all():
        raise SourceModelError(f"{path} gives values that are no finite numbers")
    sums = classes.astype(np.float64).sum(axis=1)
    probable = bool((classes >= -PROBABLE).all() and (np.abs(sums - 1) < PROBABLE).all())
    if said.logits and probable and count > 1:
        raise SourceModelError(f"{path} already gives probabilities: leave --logits out, a second softmax blurs them")
    if not said.logits and not probable:
        raise SourceModelError(f"{path} gives no probabilities (a row sums to {sums[0]:.3g}): say --logits")
    if not said.logits and said.temperature not in (None, 1.0):
        raise SourceModelError(f"{path} gives probabilities: a temperature applies to --logits only")


def _takes_batches(wrapped: onnx.ModelProto, original: ForeignOriginal, batch: NDArray[Any]) -> bool:
    """Whether the graph really answers several inputs at once as it answers each alone."""
    try:
        session = ort.InferenceSession(wrapped.SerializeToString(), providers=["CPUExecutionProvider"])
        together = session.run(["probabilities"], {session.get_inputs()[0].name: batch})[0]
    except Exception:  # whatever ONNX Runtime raises: it does not take them
        return False
    alone = np.concatenate([original(batch[n : n + 1])["probabilities"] for n in range(len(batch))])
    return together.shape == alone.shape and float(np.abs(together - alone).max()) < PROBABLE


def _metadata(said: Description, path: Path) -> Metadata:
    name, version = cast("str", said.name), cast("str", said.version)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Metadata(
        contract=CONTRACT_VERSION,
        kind=cast("Any", said.kind),
        name=name,
        version=version,
        license=said.license or "unknown",
        source=f"{said.source or 'converted'} (from {path.name}, sha256 {digest})",
        labels=said.labels,
        embedding_space=_space(said),
        sample_rate=said.sample_rate if said.kind == "speech" else None,
        window_s=said.window_s,
        minimum_window_s=said.minimum_window_s if said.kind == "speech" else None,
        interval_s=said.interval_s,
        crop=said.crop if said.kind == "face-static" else None,
        temperature=said.temperature or 1.0,
    )


def _space(said: Description) -> str | None:
    """Which embeddings a dynamic model takes, or a static one gives."""
    if said.kind == "face-static" and said.embedding is not None:
        return said.embedding_space or f"{said.name}@{said.version}"
    return said.embedding_space if said.kind == "face-dynamic" else None
