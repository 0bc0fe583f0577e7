"""Convert a Keras file to an artifact: inspect, convert in a child process, add the front end, check parity."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper

from bimodal.export.artifact import IR_VERSION, OPSET, Progress, make_model, ship
from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.faces import as_numpy, pixel_nodes
from bimodal.export.frontends.speech import SpeechFrontend
from bimodal.export.keras.file import KerasFile, inspect
from bimodal.export.keras.process import Conversion, convert
from bimodal.export.keras.recipe import FaceFrontend, Recipe
from bimodal.export.labels import Classes, carried_by, label_sums, merged, settle_classes
from bimodal.export.onnx.graph import has_inner_graphs, last_operator
from bimodal.export.real_inputs import example_faces, example_windows, faces_of, sounds_of
from bimodal.export.scores import Treatment, judge, settle
from bimodal.models.contract import CONTRACT_VERSION, Metadata

TOLERANCE = 1e-4
"""Tolerance of probabilities: features of librosa and the graph differ in the sixth digit; real networks < 2e-5."""


def export_keras(
    path: Path,
    recipe: Recipe,
    name: str,
    out: Path,
    progress: Progress,
    *,
    version: str = "1",
    real: Sequence[Path] = (),
    tolerance: float = TOLERANCE,
    card: bool = True,
) -> Path:
    """Write `out`/<name>/model.onnx. Returns its path.

    Args:
        path: .h5, .hdf5, .keras, or the folder of a SavedModel.
        recipe: front end, labels and, for a file that holds only weights, the architecture.
        real: sounds or pictures to measure parity on, besides random ones.
        tolerance: greatest difference of a probability from the original's.
        card: whether card.md is written beside it.

    Raises ExportError or ModelError; nothing is written then.
    """
    file = inspect(path)
    if file.format == "weights" and recipe.architecture is None:
        raise SourceModelError(f"{path} holds weights only: describe its layers in a file, given with --architecture")
    named = settle_classes(recipe.labels, carried_by({}, (), path), path, categories=recipe.categories)
    for warning in file.warnings:
        progress(f"warning: {warning}")
    fed = cases(recipe.frontend, real)
    seen = {**fed, "examples": one_and_five(examples(recipe.frontend, fed))}
    batches = [batch for some in seen.values() for batch in some]
    features = [reference(recipe.frontend, batch) for batch in batches]
    with tempfile.TemporaryDirectory() as scratch:
        architecture = recipe.architecture if file.format == "weights" else None
        found = convert(file, architecture, features, Path(scratch), classes=len(named.named), output=recipe.output)
    _check_classes(path, found, named)
    treatment = settle(
        np.concatenate(found.answers),
        recipe.scores,
        path,
        proof=last_operator(found.network, found.network.graph.output[0].name),
        labels=len(named.named),
    )
    for sentence in (*named.notes, *([] if recipe.scores else [str(treatment)])):
        progress(sentence)
    probabilities = [_probabilities(theirs, treatment, named) for theirs in found.answers]
    verdict = judge(np.concatenate(probabilities), named.labels, treatment.scores)
    for warning in verdict.warnings:
        progress(f"warning: {warning}")
    answers = {_key(batch): theirs for batch, theirs in zip(batches, probabilities, strict=True)}
    metadata = _metadata(file, found, recipe, named, name, version)
    metadata.metrics.update({"scores": str(treatment), **verdict.as_metrics()})  # type: ignore[union-attr]
    model = join(found.network, recipe.frontend, metadata, treatment, named.named)
    return ship(
        model,
        metadata,
        lambda batch: {"probabilities": answers[_key(batch)]},
        fed,
        out,
        progress,
        tolerance=tolerance,
        notes=[*named.notes, str(treatment), *(f"warning: {each}" for each in verdict.warnings)] if card else None,
    )


def _metadata(file: KerasFile, found: Conversion, recipe: Recipe, named: Classes, name: str, version: str) -> Metadata:
    speech = recipe.frontend if isinstance(recipe.frontend, SpeechFrontend) else None
    whose = recipe.source or file.path.name
    origin = "" if file.path.is_dir() else f", sha256 {hashlib.sha256(file.path.read_bytes()).hexdigest()}"
    return Metadata(
        contract=CONTRACT_VERSION,
        kind="speech" if speech else "face-static",
        name=name,
        version=version,
        license=recipe.license,
        source=f"{whose}: {file.path.name}{origin}",
        labels=named.labels,
        categories=named.categories or None,
        sample_rate=speech.sample_rate if speech else None,
        window_s=speech.window_s if speech else None,
        minimum_window_s=speech.minimum_window_s if speech else None,
        crop=None if isinstance(recipe.frontend, SpeechFrontend) else recipe.frontend.crop,
        temperature=1.0,
        metrics={"converted_with": found.versions},
    )


def _check_classes(path: Path, found: Conversion, named: Classes) -> None:
    count = len(named.named)
    if len(found.output_shape) != 2 or (found.output_shape[1] != count and (found.output_shape[1], count) != (1, 2)):
        way = "name as many as the last number"
        if found.output_shape[-1] == 1:
            way = "name two where it is the probability of the first, such as --labels happy,other"
        raise SourceModelError(
            f"{path} gives an output of shape {list(found.output_shape)}, but {count} labels are named: {way}"
        )
    if found.input_shape[0] is not None:
        raise SourceModelError(f"{path} takes exactly {found.input_shape[0]} inputs at once; save it with a free batch")


def _probabilities(scores: NDArray[np.float32], treatment: Treatment, named: Classes) -> NDArray[np.float32]:
    """Convert the original's numbers to the artifact's probabilities; equal labels are summed."""
    answer: NDArray[np.float32] = (treatment(scores) @ label_sums(named.named)).astype(np.float32)
    return answer


def _key(batch: NDArray[Any]) -> str:
    """Key of a batch, to look up the original's outputs, which its process computed beforehand."""
    return hashlib.sha256(f"{batch.shape}".encode() + batch.tobytes()).hexdigest()


# The artifact's graph: front end, network and output under the contract's names.


def join(
    network: onnx.ModelProto,
    frontend: SpeechFrontend | FaceFrontend,
    metadata: Metadata,
    treatment: Treatment,
    labels: Sequence[str],
) -> onnx.ModelProto:
    """Join the artifact's graph: `waveform` or `faces` → features → network → `probabilities` over the merged labels.

    Args:
        network: one float input, one output [N, C], opset 18.
        treatment: how its numbers become probabilities.
        labels: of its columns; equal ones are added up.
    """
    inner = compose.add_prefix_graph(network.graph, "network:")
    front, answer = Draft("frontend"), Draft("answer")
    if isinstance(frontend, SpeechFrontend):
        source = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["N", "S"])
        features = frontend(front, "waveform")
    else:
        source, features = _faces(front, frontend)
    front.nodes.append(helper.make_node("Identity", [features], [inner.input[0].name]))
    probabilities, _ = treatment.nodes(answer, inner.output[0].name)
    if len(set(labels)) < len(labels):
        probabilities = answer.node("MatMul", probabilities, answer.floats(label_sums(labels)))
    answer.nodes.append(helper.make_node("Identity", [probabilities], ["probabilities"]))
    result = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(merged(labels))])
    graph = helper.make_graph(
        [*front.nodes, *inner.node, *answer.nodes],
        metadata.name,
        [source],
        [result],
        [*front.constants, *inner.initializer, *answer.constants],
    )
    _drop_identities(graph)
    return _finished(graph, metadata)


def _faces(front: Draft, frontend: FaceFrontend) -> tuple[onnx.ValueInfoProto, str]:
    size = frontend.size
    nodes, constants = pixel_nodes(frontend.pixels, "faces", "frontend:pixels")
    front.nodes += nodes
    front.constants += constants
    return helper.make_tensor_value_info("faces", TensorProto.UINT8, ["N", size, size, 3]), "frontend:pixels"


def _drop_identities(graph: onnx.GraphProto) -> None:
    """Remove Identity nodes: readers use the source directly; the source of an output takes the output's name."""
    if has_inner_graphs(graph):
        return
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity"]:
        made = any(node.input[0] in other.output for other in graph.node)
        if node.output[0] in outputs and not made:
            continue
        old, new = (node.output[0], node.input[0]) if node.output[0] not in outputs else (node.input[0], node.output[0])
        graph.node.remove(node)
        for other in graph.node:
            for names in (other.input, other.output):
                renamed = [new if name == old else name for name in names]
                del names[:]
                names.extend(renamed)


def _finished(graph: onnx.GraphProto, metadata: Metadata) -> onnx.ModelProto:
    """Make the model, in canonical form unless it holds a Loop, whose inner graph uses names of the outer one."""
    try:
        if not has_inner_graphs(graph):
            return make_model(graph, metadata)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="bimodal")
        onnx.checker.check_model(model, full_check=True)
        return model
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SourceModelError(f"front end and network do not fit together: {reason}") from error


# Inputs for parity: random and real, one and five at once.

Cases = dict[str, list[NDArray[Any]]]


def cases(frontend: SpeechFrontend | FaceFrontend, real: Sequence[Path]) -> Cases:
    """Make batches of the artifact's input, by kind.

    Args:
        real: sounds or pictures; empty for random inputs only.

    Raises SourceModelError if a file can't be read.
    """
    if isinstance(frontend, SpeechFrontend):
        size = round(frontend.window_s * frontend.sample_rate)
        drawn: NDArray[Any] = np.stack([made_sound(size, frontend.sample_rate, seed) for seed in range(5)])
        found = [_fitted(sound, size) for sound in sounds_of(real, frontend.sample_rate)]
        given: NDArray[Any] = np.stack(found) if found else drawn[:0]
    else:
        shape = (5, frontend.size, frontend.size, 3)
        drawn = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        given = faces_of(real, frontend.crop, frontend.size)
    return {"random": one_and_five(drawn), "real": one_and_five(given)}


def examples(frontend: SpeechFrontend | FaceFrontend, fed: Cases) -> NDArray[Any]:
    """Examples that differ, to judge answers by: faces, dark and blurred, black and white; or stretches of sound."""
    real = np.concatenate(fed["real"]) if fed["real"] else fed["random"][0][:0]
    if isinstance(frontend, SpeechFrontend):
        size = round(frontend.window_s * frontend.sample_rate)
        return example_windows([*real[1:]], size)
    return example_faces(real[1:], frontend.size)


def reference(frontend: SpeechFrontend | FaceFrontend, batch: NDArray[Any]) -> NDArray[np.float32]:
    """Compute the original network's input: features with librosa, or pixels with numpy.

    Raises SourceModelError if the steps of a front end do not fit together.
    """
    if isinstance(frontend, FaceFrontend):
        return as_numpy(frontend.pixels, batch)
    from bimodal.export.frontends.reference import features

    try:
        return np.stack([features(frontend, waveform) for waveform in batch])
    except Exception as error:  # librosa, numpy and scipy raise different errors for steps that don't fit
        reason = " ".join(str(error).split())[:300]
        raise SourceModelError(f"the front end's steps do not fit together: {reason}") from error


def one_and_five(inputs: NDArray[Any]) -> list[NDArray[Any]]:
    """Batch the first input alone, then all in batches of five."""
    return [inputs[:1], *(inputs[n : n + 5] for n in range(0, len(inputs), 5))] if len(inputs) else []


def made_sound(size: int, rate: int, seed: int) -> NDArray[np.float32]:
    """Synthesise a sound, float32 [size]: noise and a gliding tone between near-silence; deterministic."""
    random = np.random.default_rng(seed)
    time = np.arange(size) / rate
    tone = np.sin(2 * np.pi * (100 + 60 * seed) * time * (1 + 0.1 * time))
    begin, end = np.sort(random.uniform(0, time[-1], 2))
    envelope = np.where((time >= begin) & (time <= end), 0.2, 2e-4)
    return (envelope * (tone + 0.5 * random.standard_normal(size))).astype(np.float32)


def _fitted(sound: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.pad(sound[:size], (0, max(0, size - sound.size)))
