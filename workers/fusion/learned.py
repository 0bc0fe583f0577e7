"""The strategy `learned`: a fusion artifact that was trained on what faces and voices say of the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.messages import Probabilities
from bimodal.models.emotions import EMOTIONS, emotion_of
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact
from bimodal.workers.fusion.combine import STRATEGIES, Opinion, Strategy, average, clean
from bimodal.workers.fusion.settings import FusionSettings


@dataclass(frozen=True)
class LearnedFusion:
    """An opened fusion artifact as fusion needs it; `identity` is name@version, for the event."""

    combine: Strategy
    identity: str = ""


def strategy_of(settings: FusionSettings, learned: LearnedFusion | None) -> Strategy:
    """The strategy that the settings name. Raises ValueError where `learned` is named and there is no such model."""
    if settings.strategy != "learned":
        return STRATEGIES[settings.strategy]
    if learned is None:
        raise ValueError("the strategy 'learned' needs a fusion model: name one in 'models.fusion'")
    return learned.combine


def learned_fusion(artifact: Artifact) -> LearnedFusion:
    """An opened fusion artifact as a strategy.

    It takes `video` and `speech` float32 [1, 8]: the seven probabilities in the order of its labels and, last, the
    opinion's worth. With one opinion only, or one that does not know all seven emotions, the average decides.

    Raises ArtifactError where it does not know exactly the seven emotions, or takes opinions of another size.
    """
    emotions = [emotion_of(label) or "" for label in artifact.metadata.labels or ()]
    if sorted(emotions) != sorted(EMOTIONS):
        raise ArtifactError(f"{artifact.path} can't fuse: its labels must be {', '.join(EMOTIONS)}, in any order")
    size = len(EMOTIONS) + 1
    for tensor in artifact.inputs:
        if tensor.shape[1] not in (size, None) and not isinstance(tensor.shape[1], str):
            raise ArtifactError(
                f"{artifact.path} can't fuse: '{tensor.name}' must have shape [any, {size}] (seven probabilities and "
                f"their worth), but has {tensor.shape[1]} columns"
            )

    def row(opinion: Opinion) -> NDArray[np.float32]:
        values = [*(opinion.probabilities[emotion] for emotion in emotions), opinion.worth]
        return np.array([values], np.float32)

    def combine(opinions: Sequence[Opinion]) -> Probabilities:
        by_source = {opinion.source: opinion for opinion in opinions}
        video, speech = by_source.get("video"), by_source.get("speech")
        if video is None or speech is None or any(len(each.probabilities) < len(EMOTIONS) for each in opinions):
            return average(opinions)
        answer = artifact.run(video=row(video), speech=row(speech))["probabilities"][0]
        found = clean(dict(zip(emotions, (float(value) for value in answer), strict=True)))
        return found if found is not None else average(opinions)

    return LearnedFusion(combine, artifact.identity)
