"""`bimodal export onnx`: convert a foreign .onnx file to an artifact that includes its preprocessing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto

from bimodal.export.artifact import Progress, check_name, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.levels import Fit
from bimodal.export.labels import Classes, carried_by, label_sums, settle_classes
from bimodal.export.onnx.description import Description
from bimodal.export.onnx.detectors import adopt_detector
from bimodal.export.onnx.feeds import FLOATS, WHOLE
from bimodal.export.onnx.foreign import LARGEST_MB, ForeignOriginal, MakeRun, read_foreign, session_run
from bimodal.export.onnx.graph import last_operator
from bimodal.export.onnx.landmarks import adopt_landmarks
from bimodal.export.onnx.ports import Ports, face_size, find_ports, window_size
from bimodal.export.onnx.voice_activity import adopt_voice_activity
from bimodal.export.onnx.wrap import Shell, raise_opset, wrap
from bimodal.export.real_inputs import example_faces, example_windows, faces_of, sounds_of
from bimodal.export.scores import Judgement, Treatment, judge, settle
from bimodal.models.contract import CONTRACT_KEY, CONTRACT_VERSION, Crop, Metadata

STEPS, DIMENSIONS = 10, 512
"""Number of steps for testing a dynamic model whose graph takes any."""
PROBABLE = 1e-3
"""Greatest deviation of the sum of probabilities from 1."""
FEW = 4
"""An output of fewer columns may hold dimensions of affect; of more, an embedding."""


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
    make_run: MakeRun | None = None,
    pictures: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
    tolerance: float = 1e-4,
) -> Path:
    """Convert as `export_onnx`, a model that is already read.

    Args:
        make_run: makes the reference for parity; by default the model itself in ONNX Runtime.
        tolerance: of probabilities.
    """
    if description.kind == "face-landmarks":
        return adopt_landmarks(model, path, description, out, progress, make_run=make_run, pictures=pictures)
    if description.kind == "voice-activity":
        return adopt_voice_activity(model, path, description, out, progress, sounds=sounds)
    description = _complete(description, path)
    check_name(description.name or "")
    carried = carried_by({entry.key: entry.value for entry in model.metadata_props}, (), path)
    given = description.labels or (carried.names if carried else ())
    ports = find_ports(model, description, path, classes=len(given) or None)
    named = settle_classes(
        description.labels,
        carried or carried_by({}, ports.names, path),
        path,
        aliases=description.aliases,
        categories=description.categories or (),
    )
    description, shape = _shape(description, ports, path)
    original = ForeignOriginal((make_run or partial(session_run, model, path=path))(ports), description, ports)
    cases, examples = _cases(description, shape, pictures, sounds)
    seen = [*cases["random"], *examples]
    classes = np.concatenate([original.classes(original.raw(batch)) for batch in seen])
    _check_count(named.named, classes.shape[1], description, path)
    treatment = settle(
        classes,
        description.scores,
        path,
        proof=last_operator(model, ports.output),
        temperature=description.temperature,
        labels=len(named.named),
        whole=ports.whole,
    )
    _check_kept(description, treatment, named, path)
    original.treatment = treatment
    original.sums = label_sums(named.named) if len(named.labels) < len(named.named) else None
    random = cases["random"][1]
    embedding = original(random)["embedding"].shape[1] if ports.embedding else None
    shell = Shell(shape, classes.shape[1], embedding, dynamic=True, treatment=treatment, sums=original.sums)
    raised = raise_opset(model, path)
    wrapped = wrap(raised, description, ports, shell)
    if not _takes_batches(wrapped, random[:2]):
        if description.kind != "speech":
            raise SourceModelError(f"{path} takes one input at a time: export it again with a dynamic batch axis")
        wrapped = wrap(raised, description, ports, replace(shell, dynamic=False))
        cases = {name: [batch[:1] for batch in batches] for name, batches in cases.items()}
    if any(entry.key == CONTRACT_KEY for entry in model.metadata_props):
        progress(f"it is an artifact of bimodal already: {path} itself can be named in config.yaml")
    told = _told(description, ports, named, treatment)
    for sentence in told:
        progress(sentence)
    verdict = judge(
        np.concatenate([original(batch)["probabilities"] for batch in seen]), named.labels, treatment.scores
    )
    for warning in verdict.warnings:
        progress(f"warning: {warning}")
    metadata = _metadata(description, named, treatment, verdict, path)
    notes = [*told, *([] if str(treatment) in told else [str(treatment)])]
    notes += [f"warning: {warning}" for warning in verdict.warnings]
    return ship(wrapped, metadata, original, cases, out, progress, tolerance=tolerance, notes=notes)


def _complete(description: Description, path: Path) -> Description:
    """Fill in defaults. Raises SourceModelError for missing fields that have none."""
    if description.kind is None:
        raise SourceModelError(
            f"say what {path} is: --kind face-static, speech, face-dynamic, face-detector, face-landmarks or "
            "voice-activity, or a --preset "
            f"('bimodal models inspect {path}' says what it looks like)"
        )
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
        return _speech_shape(description, ports, path)
    if len(ports.shape) != 3:
        raise SourceModelError(f"{path}: input '{ports.input}' has {len(ports.shape)} axes, but [N, steps, D] has 3")
    steps, dimensions = ports.shape[1:]
    if steps is None and description.window_s is None:
        raise SourceModelError(
            f"{path} takes any number of steps: say how long it looks back with --window, in seconds"
        )
    return description, (steps or "steps", dimensions or "dimensions")


def _speech_shape(description: Description, ports: Ports, path: Path) -> tuple[Description, tuple[int | str, ...]]:
    rate = cast("int", description.sample_rate)
    samples = None if description.steps else window_size(ports, path)
    window = samples / rate if samples else description.window_s or 3.0
    fixed = bool(samples) or bool(
        description.steps
        and ports.shape[1] is not None
        and not any(isinstance(step, Fit) for step in description.steps)
    )
    shortest = window if fixed else min(window, description.minimum_window_s or 1.0)
    gain = description.gain
    if gain is None and ports.type in WHOLE and not description.steps:
        if ports.type != TensorProto.INT16:
            raise SourceModelError(
                f"{path}: input '{ports.input}' takes whole numbers: say what a sample of 1.0 is with --gain, such as "
                "32768 for the scale of 16 bits"
            )
        gain = 32768.0
    found = msgspec.structs.replace(description, window_s=window, minimum_window_s=shortest, gain=gain)
    return found, (samples or "samples",)


def _check_count(labels: Sequence[str], columns: int, description: Description, path: Path) -> None:
    """Raise SourceModelError unless there is a label for every column, or two for one."""
    count = len(labels)
    if count == columns or (columns == 1 and count == 2):
        return
    way = f": name all {columns} (other for each that is left out)"
    if columns == 1:
        way = ": name two where it is the probability of the first, such as --labels happy,other"
    elif columns > count:
        way += f", or say --take {count} where only the first {count} values are classes"
        if columns - count == 2 and description.kind == "face-static":
            way += f", with --affect {count},{count + 1} where the last two are valence and arousal"
    raise SourceModelError(f"{path} gives {columns} values, but {count} labels are named: {', '.join(labels)}{way}")


def _check_kept(description: Description, treatment: Treatment, named: Classes, path: Path) -> None:
    if description.independent and treatment.scores != "sigmoid":
        raise SourceModelError(f"{path}: --independent keeps scores of a sigmoid, but {treatment}: leave it out")
    if description.independent and len(named.labels) < len(named.named):
        raise SourceModelError(f"{path}: --independent can't keep the scores of classes of one name: leave it out")


def _told(description: Description, ports: Ports, named: Classes, treatment: Treatment) -> list[str]:
    """Sentences about what was found out, and what is left out."""
    sentences = list(named.notes)
    if description.scores is None or str(treatment) != str(Treatment(description.scores)):
        sentences.append(str(treatment))
    if ports.names and list(ports.names) != [str(number) for number in range(len(ports.names))]:
        sentences.append(f"its columns are the classes {', '.join(ports.names)} of its training")
    if ports.feeds:
        sentences.append(f"fed: {', '.join(map(str, ports.feeds))}")
    if description.take is not None:
        taken = [each.column for each in ports.affect if each.tensor == ports.output]
        sentences.append(
            f"columns from {description.take} on are no classes"
            + (f"; {', '.join(map(str, taken))} are kept as valence and arousal" if taken else ", and left out")
        )
    for port in ports.left_out:
        way = f"--affect {port.name}" if (port.columns or FEW) < FEW else f"--embedding {port.name}"
        numbers = port.type in FLOATS
        sentences.append(f"left out: output {port}" + (f"; {way} keeps it" if numbers else ""))
    return sentences


def _cases(
    description: Description, shape: Sequence[int | str], pictures: Sequence[Path], sounds: Sequence[Path]
) -> tuple[dict[str, list[NDArray[Any]]], list[NDArray[Any]]]:
    """(random inputs, one and five at a time, and real ones from the named files; examples to judge by)."""
    random = np.random.default_rng(0)
    if description.kind == "face-static":
        size = cast("int", description.size)
        noise = [random.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for count in (1, 5)]
        faces = faces_of(pictures, description.crop or Crop(), size)
        return {"random": noise, "real": [faces[:1], faces[:5]] if len(faces) else []}, [example_faces(faces, size)]
    if description.kind == "speech":
        rate, window = cast("int", description.sample_rate), cast("float", description.window_s)
        samples = round(rate * window)
        hiss = [random.normal(0, 0.1, (count, samples)).astype(np.float32) for count in (1, 5)]
        heard = sounds_of(sounds, rate)
        real = [np.resize(sound, samples)[None] for sound in heard if sound.size]
        return {"random": hiss, "real": real}, [example_windows(heard, samples)]
    sizes = [
        size if isinstance(size, int) else free
        for size, free in zip(shape, (_steps(description), DIMENSIONS), strict=True)
    ]
    drawn = [random.normal(0, 1, (count, *sizes)).astype(np.float32) for count in (1, 5)]
    return {"random": drawn}, [np.stack([np.zeros(sizes), np.ones(sizes), np.full(sizes, -1.0)]).astype(np.float32)]


def _steps(description: Description) -> int:
    return (
        max(1, round(description.window_s / description.interval_s))
        if description.window_s and description.interval_s
        else STEPS
    )


def _takes_batches(wrapped: onnx.ModelProto, batch: NDArray[Any]) -> bool:
    """True if outputs of a batch equal those of its inputs alone."""
    try:
        session = ort.InferenceSession(wrapped.SerializeToString(), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        together = session.run(["probabilities"], {name: batch})[0]
        alone = np.concatenate([session.run(["probabilities"], {name: row[None]})[0] for row in batch])
    except Exception:  # whatever ONNX Runtime raises: it does not take them
        return False
    return together.shape == alone.shape and float(np.abs(together - alone).max()) < PROBABLE


def _metadata(
    description: Description, named: Classes, treatment: Treatment, verdict: Judgement, path: Path
) -> Metadata:
    name, version = cast("str", description.name), cast("str", description.version)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Metadata(
        contract=CONTRACT_VERSION,
        kind=cast("Any", description.kind),
        name=name,
        version=version,
        license=description.license or "unknown",
        source=f"{description.source or 'converted'} (from {path.name}, sha256 {digest})",
        labels=named.labels,
        categories=named.categories or None,
        embedding_space=_space(description),
        sample_rate=description.sample_rate if description.kind == "speech" else None,
        window_s=description.window_s,
        minimum_window_s=description.minimum_window_s if description.kind == "speech" else None,
        interval_s=description.interval_s,
        crop=description.crop if description.kind == "face-static" else None,
        temperature=treatment.temperature,
        metrics={"scores": str(treatment), **verdict.as_metrics()},
    )


def _space(description: Description) -> str | None:
    """The embedding space that a dynamic model takes or a static one outputs, if any."""
    if description.kind == "face-static" and description.embedding is not None:
        return description.embedding_space or f"{description.name}@{description.version}"
    return description.embedding_space if description.kind == "face-dynamic" else None
