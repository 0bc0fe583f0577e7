"""Measure a fusion artifact on pairs, through ONNX Runtime as fusion runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Kind, fused_labels
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.datasets.loading import sound_items, voice_of
from bimodal.training.datasets.manifest import NAME as MANIFEST
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import Evaluation, find_model, over_emotions, parts_of, seen_by
from bimodal.training.evaluate.metrics import measure
from bimodal.training.evaluate.running import WEIGHTS, Running
from bimodal.training.fusion.pairs import (
    NAME,
    Experts,
    Pairs,
    averaged,
    by_worth,
    emotions_of_pairs,
    multiplied,
    read_pairs,
    recorded_pairs,
)

STRATEGIES: Mapping[str, Callable[[Pairs, float, float], NDArray[np.float64]]] = {
    "worth": by_worth,
    "average": averaged,
    "product": multiplied,
}
PROTOCOL = "pairs of calibrated probabilities of a face and a voice"


def evaluate_fusion(
    path: Path | str,
    data: Path,
    split: str,
    sides: tuple[Running, Running] | None = None,
    weights: tuple[float, float] = WEIGHTS,
    among: EmotionSet | None = None,
) -> Evaluation:
    """Measure on a folder with pairs.csv, or on a prepared video tree through models of faces and of speech.

    Args:
        path: of the artifact, or a strategy of STRATEGIES, which is measured with `weights` instead.
        sides: the models of faces and of speech, joined as in their workers; None for a folder with pairs.csv.
        among: the emotions that labels and answers are of; None: those of the table, and of videos the seven.

    Raises ArtifactError for the models, DatasetError for the data, or if the table is of other emotions.
    """
    artifact = open_artifact(path, "fusion", provider="cpu") if isinstance(path, Path) else None
    among = set_of(data, among)
    emotions = among.emotions
    if artifact is not None:
        fused_labels(artifact.metadata, artifact.path, among)
    protocol, seen = PROTOCOL, split == "train" and artifact is not None
    if sides is None:
        pairs = read_pairs(data, split, among)
    else:
        faces, voices = experts("face-static", sides[0]), experts("speech", sides[1])
        pairs = recorded_pairs(faces, voices, data, split, among)
        protocol += f", by {faces.identity} and {voices.identity}"
        models = (*faces.artifacts, *voices.artifacts, *([] if artifact is None else [artifact]))
        seen = seen or seen_by(models, recorded_parts(data, split, among))
    begun = time.monotonic()
    alone: dict[str, NDArray[np.floating]] = {
        "video alone": pairs.video[:, :-1],
        "speech alone": pairs.speech[:, :-1],
    }
    ways: dict[str, NDArray[np.floating]] = {name: strategy(pairs, *weights) for name, strategy in STRATEGIES.items()}
    found = fused(artifact, pairs, among, ways["average"]) if artifact is not None else ways[str(path)]
    return Evaluation(
        model=artifact.identity if artifact is not None else str(path),
        data=f"{data.name}/{split}",
        protocol=protocol,
        seen_in_training=seen,
        figures=measure(pairs.labels, found, emotions),
        further={name: measure(pairs.labels, table, emotions) for name, table in (alone | ways).items()},
        seconds=time.monotonic() - begun,
        true=pairs.labels.tolist(),
        probabilities=found.tolist(),
    )


def is_table(data: Path) -> bool:
    """True for a folder with a table of pairs."""
    return (data / NAME).is_file()


def set_of(data: Path, among: EmotionSet | None) -> EmotionSet:
    """The emotions to measure.

    Raises DatasetError if a folder holds no pairs and no prepared videos, or its table is of other emotions than those
    that are asked for.
    """
    if not is_table(data):
        if not data.is_dir():
            raise DatasetError(f"there is no folder {data}")
        if not (data / MANIFEST).is_file():
            raise DatasetError(
                f"{data} holds neither {NAME} nor {MANIFEST}: fusion is measured on pairs that 'bimodal train fusion' "
                "has composed, or on videos that 'bimodal data prepare' has prepared"
            )
        return among or SEVEN
    found = emotions_of_pairs(data)
    if among is not None and set(found.emotions) != set(among.emotions):
        raise DatasetError(f"{data / NAME} is of {found.words}, and the config of {among.words}")
    return found


def experts(kind: Kind, side: Running) -> Experts:
    """Open the models of one kind. Raises TrainingError or ArtifactError where one is missing or of another kind."""
    opened = (open_artifact(find_model(name), kind, provider="cpu") for name in side.models)
    return Experts(tuple(opened), side.joined)


def recorded_parts(data: Path, split: str, among: EmotionSet) -> set[str]:
    """Names in `trained_on` of a split of a prepared video tree: as pictures, and of its speakers."""
    heard = [item for item in sound_items(data, among) if item.split == split]
    return parts_of(data, split, among) | {voice_of(item, data) for item in heard if item.speaker}


def fused(artifact: Artifact, pairs: Pairs, among: EmotionSet, average: NDArray[np.floating]) -> NDArray[np.floating]:
    """Run the artifact on pairs, float [N, E]; it takes their columns in the order of its labels.

    Live it is asked only where face and voice know the whole set: else the `average` counts.
    Raises ArtifactError unless it knows exactly the set.
    """
    if not pairs.knowing.all():
        return average
    order = [among.emotions.index(name) for name in fused_labels(artifact.metadata, artifact.path, among)]
    columns = [*order, len(order)]
    answers = artifact.run(video=pairs.video[:, columns], speech=pairs.speech[:, columns])["probabilities"]
    return over_emotions(artifact.metadata, answers, among)
