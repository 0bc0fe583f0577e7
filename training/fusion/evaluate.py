"""Measure a fusion artifact on pairs, through ONNX Runtime as fusion runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bimodal.models.emotions import EMOTIONS
from bimodal.models.session import Artifact, open_artifact
from bimodal.training.evaluate.evaluate import Evaluation, find_model, over_emotions
from bimodal.training.evaluate.metrics import measure
from bimodal.training.fusion.pairs import NAME, Pairs, averaged, by_worth, read_pairs, recorded_pairs

STRATEGIES: Mapping[str, Callable[[Pairs, float, float], NDArray[np.float64]]] = {
    "worth": by_worth,
    "average": averaged,
}
PROTOCOL = "pairs of calibrated probabilities of a face and a voice"


def evaluate_fusion(
    path: Path | str, data: Path, split: str, face: str, speech: str, weights: tuple[float, float] = (0.65, 0.35)
) -> Evaluation:
    """Measure on a folder with pairs.csv, or on a prepared video tree through two models.

    Args:
        path: of the artifact, or a strategy of STRATEGIES, which is measured with `weights` instead.

    Raises ArtifactError for the models, DatasetError for the data.
    """
    artifact = open_artifact(path, "fusion", provider="cpu") if isinstance(path, Path) else None
    pairs = pairs_of(data, split, face, speech)
    begun = time.monotonic()
    found = fused(artifact, pairs) if artifact is not None else STRATEGIES[str(path)](pairs, *weights)
    further = {
        "video alone": measure(pairs.labels, pairs.video[:, :-1], EMOTIONS),
        "speech alone": measure(pairs.labels, pairs.speech[:, :-1], EMOTIONS),
    } | {name: measure(pairs.labels, strategy(pairs, *weights), EMOTIONS) for name, strategy in STRATEGIES.items()}
    return Evaluation(
        model=artifact.identity if artifact is not None else str(path),
        data=f"{data.name}/{split}",
        protocol=PROTOCOL,
        seen_in_training=split == "train" and artifact is not None,
        figures=measure(pairs.labels, found, EMOTIONS),
        further=further,
        seconds=time.monotonic() - begun,
        true=pairs.labels.tolist(),
        probabilities=found.tolist(),
    )


def pairs_of(data: Path, split: str, face: str, speech: str) -> Pairs:
    """Read the pairs of a table, or compute those of recordings."""
    if (data / NAME).is_file():
        return read_pairs(data, split)
    static = open_artifact(find_model(face), "face-static", provider="cpu")
    return recorded_pairs(static, open_artifact(find_model(speech), "speech", provider="cpu"), data, split)


def fused(artifact: Artifact, pairs: Pairs) -> NDArray[np.float64]:
    """Run the artifact on pairs, float64 [N, 7]."""
    return over_emotions(artifact.metadata, artifact.run(video=pairs.video, speech=pairs.speech)["probabilities"])
