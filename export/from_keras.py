"""A Keras file → an artifact: looked at, converted in a process of its own, joined with its front end, proved."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.export.errors import SourceModelError
from bimodal.export.frontends.speech import SpeechFrontend
from bimodal.export.joined import join, label_sums, merged
from bimodal.export.keras_cases import cases, reference
from bimodal.export.keras_file import KerasFile, inspect
from bimodal.export.keras_process import Conversion, convert
from bimodal.export.keras_recipe import Recipe
from bimodal.export.ship import Say, ship
from bimodal.models.contract import CONTRACT_VERSION, Metadata

TOLERANCE = 1e-4
"""Of a probability: librosa's features and the graph's differ in the sixth digit; real networks stay below 2e-5."""


def export_keras(
    path: Path,
    recipe: Recipe,
    name: str,
    out: Path,
    say: Say,
    *,
    version: str = "1",
    real: Sequence[Path] = (),
    tolerance: float = TOLERANCE,
) -> Path:
    """Write `out`/<name>/model.onnx; returns its path.

    Args:
        path: .h5, .hdf5, .keras, or the folder of a SavedModel.
        recipe: front end, labels and, for a file that holds only weights, the architecture.
        real: sounds or pictures on which the artifact is compared with the original, beside random ones.
        tolerance: what a probability may differ from the original's.

    Raises ExportError or ModelError; nothing is written then.
    """
    file = inspect(path)
    if file.format == "weights" and recipe.architecture is None:
        raise SourceModelError(f"{path} holds weights only: describe its layers in a file, given with --architecture")
    if not recipe.labels:
        raise SourceModelError("the classes of the network have no names: give them with --labels, in output order")
    for warning in file.warnings:
        say(f"warning: {warning}")
    fed = cases(recipe.frontend, real)
    batches = [batch for some in fed.values() for batch in some]
    features = [reference(recipe.frontend, batch) for batch in batches]
    with tempfile.TemporaryDirectory() as scratch:
        architecture = recipe.architecture if file.format == "weights" else None
        found = convert(file, architecture, features, Path(scratch))
    _check_classes(path, found, recipe)
    answers = {
        _key(batch): _probabilities(theirs, recipe) for batch, theirs in zip(batches, found.answers, strict=True)
    }
    metadata = _metadata(file, found, recipe, name, version)
    model = join(found.network, recipe, metadata)
    return ship(
        model,
        metadata,
        lambda batch: {"probabilities": answers[_key(batch)]},
        fed,
        out,
        say,
        tolerance=tolerance,
    )


def _metadata(file: KerasFile, found: Conversion, recipe: Recipe, name: str, version: str) -> Metadata:
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
        labels=merged(recipe.labels),
        sample_rate=speech.sample_rate if speech else None,
        window_s=speech.window_s if speech else None,
        minimum_window_s=speech.minimum_window_s if speech else None,
        crop=None if isinstance(recipe.frontend, SpeechFrontend) else recipe.frontend.crop,
        temperature=1.0,
        metrics={"converted_with": found.versions},
    )


def _check_classes(path: Path, found: Conversion, recipe: Recipe) -> None:
    if len(found.output_shape) != 2 or found.output_shape[1] != len(recipe.labels):
        raise SourceModelError(
            f"{path} gives an output of shape {list(found.output_shape)}, but {len(recipe.labels)} labels are named"
        )
    if found.input_shape[0] is not None:
        raise SourceModelError(f"{path} takes exactly {found.input_shape[0]} inputs at once; save it with a free batch")


def _probabilities(scores: NDArray[np.float32], recipe: Recipe) -> NDArray[np.float32]:
    """The original's answer as the artifact gives it: softmax where it lacks one, equal labels added up."""
    exact = scores.astype(np.float64)
    if recipe.logits:
        exact = np.exp(exact - exact.max(axis=1, keepdims=True))
        exact /= exact.sum(axis=1, keepdims=True)
    answer: NDArray[np.float32] = (exact @ label_sums(recipe.labels)).astype(np.float32)
    return answer


def _key(batch: NDArray[Any]) -> str:
    """The original answered beforehand, in its own process: this finds its answer again."""
    return hashlib.sha256(f"{batch.shape}".encode() + batch.tobytes()).hexdigest()
