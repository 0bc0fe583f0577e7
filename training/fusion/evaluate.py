"""Measure a fusion artifact on pairs, through ONNX Runtime as fusion runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import fused_labels
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.errors import DatasetError
from bimodal.training.evaluate.evaluate import Evaluation, find_model, over_emotions
from bimodal.training.evaluate.metrics import measure
from bimodal.training.fusion.pairs import (
    NAME,
    Pairs,
    averaged,
    by_worth,
    emotions_of_pairs,
    read_pairs,
    recorded_pairs,
)

STRATEGIES: Mapping[str, Callable[[Pairs, float, float], NDArray[np.float64]]] = {
    "worth": by_worth,
    "average": averaged,
}
PROTOCOL = "pairs of calibrated probabilities of a face and a voice"


def evaluate_fusion(
    path: Path | str,
    data: Path,
    split: str,
    face: str,
    speech: str,
    weights: tuple[float, float] = (0.65, 0.35),
    among: EmotionSet | None = None,
) -> Evaluation:
    """Measure on a folder with pairs.csv, or on a prepared video tree through two models.

    Args:
        path: of the artifact, or a strategy of STRATEGIES, which is measured with `weights` instead.
        among: the emotions that labels and answers are of; None: those of the table, and of videos the seven.

    Raises ArtifactError for the models, DatasetError for the data, or if the table is of other emotions.
    """
    artifact = open_artifact(path, "fusion", provider="cpu") if isinstance(path, Path) else None
    among = set_of(data, among)
    emotions = among.emotions
    if artifact is not None:
        fused_labels(artifact.metadata, artifact.path, among)
    pairs = pairs_of(data, split, face, speech, among)
    begun = time.monotonic()
    found = fused(artifact, pairs, among) if artifact is not None else STRATEGIES[str(path)](pairs, *weights)
    further = {
        "video alone": measure(pairs.labels, pairs.video[:, :-1], emotions),
        "speech alone": measure(pairs.labels, pairs.speech[:, :-1], emotions),
    } | {name: measure(pairs.labels, strategy(pairs, *weights), emotions) for name, strategy in STRATEGIES.items()}
    return Evaluation(
        model=artifact.identity if artifact is not None else str(path),
        data=f"{data.name}/{split}",
        protocol=PROTOCOL,
        seen_in_training=split == "train" and artifact is not None,
        figures=measure(pairs.labels, found, emotions),
        further=further,
        seconds=time.monotonic() - begun,
        true=pairs.labels.tolist(),
        probabilities=found.tolist(),
    )


def is_table(data: Path) -> bool:
    """True for a folder with a table of pairs."""
    return (data / NAME).is_file()


def set_of(data: Path, among: EmotionSet | None) -> EmotionSet:
    """The emotions to measure. Raises DatasetError if a table of pairs is of others than those that are asked for."""
    if not is_table(data):
        return among or SEVEN
    found = emotions_of_pairs(data)
    if among is not None and set(found.emotions) != set(among.emotions):
        raise DatasetError(f"{data / NAME} is of {found.words}, and the config of {among.words}")
    return found


def pairs_of(data: Path, split: str, face: str, speech: str, among: EmotionSet = SEVEN) -> Pairs:
    """Read the pairs of a table, or compute those of recordings."""
    if is_table(data):
        return read_pairs(data, split, among)
    static = open_artifact(find_model(face), "face-static", provider="cpu")
    return recorded_pairs(static, open_artifact(find_model(speech), "speech", provider="cpu"), data, split, among)


def fused(artifact: Artifact, pairs: Pairs, among: EmotionSet = SEVEN) -> NDArray[np.float64]:
    """Run the artifact on pairs, float64 [N, E]; it takes their columns in the order of its labels.

    Raises ArtifactError unless it knows exactly the set.
    """
    order = [among.emotions.index(name) for name in fused_labels(artifact.metadata, artifact.path, among)]
    columns = [*order, len(order)]
    answers = artifact.run(video=pairs.video[:, columns], speech=pairs.speech[:, columns])["probabilities"]
    return over_emotions(artifact.metadata, answers, among)
