"""Several opinions about one face or one moment become one: probabilities in, probabilities out.

A class that a model does not know is an abstention, never a zero: for each class the weights of those who know it
are renormalised, and the whole is brought back to a sum of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.models.emotions import EMOTIONS, emotion_of
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact
from bimodal.workers.fusion.settings import FusionSettings

PRODUCT_FLOOR = 1e-6


class Opinion(NamedTuple):
    """What one source says.

    `weight` is relative, ≥ 0; `probabilities` are over what it knows and sum to 1; `worth` is its reliability, 0…1.
    """

    source: str
    probabilities: Probabilities
    weight: float
    worth: float = 1.0


Strategy: TypeAlias = Callable[[Sequence[Opinion]], Probabilities]


def clean(probabilities: Mapping[str, float] | None) -> Probabilities | None:
    """The same over the seven emotions in their order, summing to 1; None where these are no probabilities."""
    if not probabilities:
        return None
    known = {emotion: probabilities[emotion] for emotion in EMOTIONS if emotion in probabilities}
    if not all(math.isfinite(value) and value >= 0 for value in known.values()):
        return None
    return normalised(known) if math.fsum(known.values()) > 0 else None


def normalised(masses: Mapping[str, float]) -> Probabilities:
    """Masses ≥ 0, not all 0, scaled to a sum of 1."""
    total = math.fsum(masses.values())
    return {emotion: mass / total for emotion, mass in masses.items()}


def top(probabilities: Probabilities) -> tuple[str, float]:
    """The most probable emotion and its probability; the earlier of EMOTIONS where two are equal."""
    label = max(probabilities, key=lambda emotion: (probabilities[emotion], -EMOTIONS.index(emotion)))
    return label, probabilities[label]


def shares(weights: Mapping[str, float], reliability: Mapping[str, float]) -> dict[str, float]:
    """Weights of what is there, scaled by its reliability, summing to 1.

    Args:
        weights: configured weight by source.
        reliability: 0…1 by source, of the sources that are there; a missing one gives its weight away.

    Where reliability leaves nothing, the configured weights decide, and where these are 0, all count the same.
    """
    scaled = {source: weights[source] * value for source, value in reliability.items()}
    for candidate in (scaled, {source: weights[source] for source in reliability}):
        total = math.fsum(candidate.values())
        if total > 0:
            return {source: value / total for source, value in candidate.items()}
    return {source: 1.0 / len(reliability) for source in reliability}


def average(opinions: Sequence[Opinion]) -> Probabilities:
    """Linear pool: p(c) ∝ Σ w·p(c) / Σ w, both sums over those who know c."""
    heard = _heard(opinions)
    if len(heard) == 1:
        return dict(heard[0].probabilities)
    masses: dict[str, float] = {}
    for emotion, knowing in _by_emotion(heard):
        weight = math.fsum(opinion.weight for opinion in knowing)
        masses[emotion] = math.fsum(opinion.weight / weight * opinion.probabilities[emotion] for opinion in knowing)
    return normalised(masses)


def product(opinions: Sequence[Opinion]) -> Probabilities:
    """Logarithmic pool: log p(c) = Σ w·log p(c) / Σ w + constant, both sums over those who know c.

    A probability below PRODUCT_FLOOR counts as that: one model's zero is no veto.
    """
    heard = _heard(opinions)
    if len(heard) == 1:
        return dict(heard[0].probabilities)
    logs: dict[str, float] = {}
    for emotion, knowing in _by_emotion(heard):
        weight = math.fsum(opinion.weight for opinion in knowing)
        logs[emotion] = math.fsum(
            opinion.weight / weight * math.log(max(opinion.probabilities[emotion], PRODUCT_FLOOR))
            for opinion in knowing
        )
    highest = max(logs.values())
    return normalised({emotion: math.exp(value - highest) for emotion, value in logs.items()})


STRATEGIES: Mapping[str, Strategy] = {"average": average, "product": product}


def agreement(first: Probabilities, second: Probabilities) -> float | None:
    """1 − the Jensen–Shannon divergence (base 2) over the classes both know: 1 the same, 0 nothing in common.

    None where they share no class, or one of them puts nothing on what they share. Source: Lin, "Divergence
    measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991).
    """
    shared = [emotion for emotion in EMOTIONS if emotion in first and emotion in second]
    left = math.fsum(first[emotion] for emotion in shared)
    right = math.fsum(second[emotion] for emotion in shared)
    if left <= 0 or right <= 0:
        return None
    divergence = 0.0
    for emotion in shared:
        p, q = first[emotion] / left, second[emotion] / right
        middle = (p + q) / 2
        divergence += sum(part / 2 * math.log2(part / middle) for part in (p, q) if part > 0 and middle > 0)
    return min(1.0, max(0.0, 1.0 - divergence))


def _heard(opinions: Sequence[Opinion]) -> list[Opinion]:
    """Those with a weight, or all alike where none has one."""
    if not opinions:
        raise ValueError("there is nothing to combine")
    heard = [opinion for opinion in opinions if opinion.weight > 0]
    return heard or [opinion._replace(weight=1.0) for opinion in opinions]


def _by_emotion(opinions: Sequence[Opinion]) -> list[tuple[str, list[Opinion]]]:
    """Every emotion that anyone knows, in the order of EMOTIONS, with those who know it."""
    pairs = ((emotion, [opinion for opinion in opinions if emotion in opinion.probabilities]) for emotion in EMOTIONS)
    return [(emotion, knowing) for emotion, knowing in pairs if knowing]


# The strategy `learned`: a fusion artifact that was trained on what faces and voices say of the same moment.


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


# How much a face or a stretch of speech is worth, 0…1. Scales the weights of fusion.


def unit(value: float) -> float:
    """`value` held inside 0…1; what is no number counts as 0."""
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0


def of_face(score: float, sharpness: float) -> float:
    """Detection score × sharpness of the crop."""
    return unit(score) * unit(sharpness)


def of_speech(voice: float, freshness: float) -> float:
    """Share of voice in the newest hop × freshness."""
    return unit(voice) * unit(freshness)


def freshness(age_ns: int, usual_age_ns: int, max_age_ns: int) -> float:
    """1 up to the age at which the next hop is due, then falling linearly to 0 over `max_age_ns`."""
    return unit(1.0 - (age_ns - usual_age_ns) / max_age_ns)
