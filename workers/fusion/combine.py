"""Combination of several opinions about one face or one moment: probabilities in, probabilities out.

A class that a model does not know is an abstention, never a zero: for each class the weights of the models that know
it are renormalised, and the result is scaled to a sum of 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.events import Probabilities
from bimodal.models.contract import fused_labels
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet, whole_of
from bimodal.workers.fusion.settings import FusionSettings

if TYPE_CHECKING:
    from bimodal.models.session import Artifact

PRODUCT_FLOOR = 1e-6


class Opinion(NamedTuple):
    """The probabilities of one source.

    `weight` is relative, ≥ 0; `probabilities`, over the emotions it knows, sum to 1; `worth` is its reliability, 0…1;
    `other` are the further categories that it knows, each with its share of all classes.
    """

    source: str
    probabilities: Probabilities
    weight: float
    worth: float = 1.0
    other: Mapping[str, float] = MappingProxyType({})


class Strategy(Protocol):
    """Combines opinions about the classes `order`, into probabilities in that order."""

    def __call__(self, opinions: Sequence[Opinion], order: Sequence[str] = EMOTIONS) -> Probabilities: ...


def clean(probabilities: Mapping[str, float] | None, order: Sequence[str] = EMOTIONS) -> Probabilities | None:
    """Restrict to the emotions of a set, in their order and summing to 1; None where these are no probabilities."""
    if not probabilities:
        return None
    known = {emotion: probabilities[emotion] for emotion in order if emotion in probabilities}
    for value in known.values():
        if not 0 <= value < math.inf:
            return None
    total = math.fsum(known.values())
    return {emotion: value / total for emotion, value in known.items()} if total > 0 else None


def clean_other(other: Mapping[str, float], categories: Sequence[str]) -> Probabilities:
    """Restrict shares to the categories that count, in their order; without those that are no shares."""
    if not categories or not other:
        return {}
    found = {name: other[name] for name in categories if name in other}
    return {name: min(1.0, value) for name, value in found.items() if math.isfinite(value) and value >= 0}


def normalised(masses: Mapping[str, float]) -> Probabilities:
    """Scale masses ≥ 0, not all 0, to a sum of 1."""
    total = math.fsum(masses.values())
    return {emotion: mass / total for emotion, mass in masses.items()}


def top(probabilities: Probabilities, order: Sequence[str] = EMOTIONS) -> tuple[str, float]:
    """The most probable emotion and its probability; the earlier in `order` where two are equal."""
    label, most = "", -math.inf
    for emotion, probability in probabilities.items():
        if probability > most or (probability == most and order.index(emotion) < order.index(label)):
            label, most = emotion, probability
    return label, most


def shares(weights: Mapping[str, float], reliability: Mapping[str, float]) -> dict[str, float]:
    """Weights of the present sources, scaled by their reliability, summing to 1.

    Args:
        weights: configured weight by source.
        reliability: 0…1 by source, of the present sources; the weight of a missing one goes to the others.

    Where reliability is 0 throughout, the configured weights decide; where these are 0, all sources count the same.
    """
    scaled = {source: weights[source] * value for source, value in reliability.items()}
    total = math.fsum(scaled.values())
    if total <= 0:
        scaled = {source: weights[source] for source in reliability}
        total = math.fsum(scaled.values())
    if total <= 0:
        return {source: 1.0 / len(reliability) for source in reliability}
    return {source: value / total for source, value in scaled.items()}


def average(opinions: Sequence[Opinion], order: Sequence[str] = EMOTIONS) -> Probabilities:
    """Linear pool: p(c) ∝ Σ w·p(c) / Σ w, both sums over the opinions that know c."""
    weighted = _weighted(opinions)
    if len(weighted) == 1:
        return dict(weighted[0].probabilities)
    if len(weighted) == 2 and weighted[0].probabilities.keys() == weighted[1].probabilities.keys():
        return _average_of_two(weighted[0], weighted[1], order)
    masses: dict[str, float] = {}
    for emotion, knowing in _by_emotion(weighted, order):
        weight = math.fsum(opinion.weight for opinion in knowing)
        masses[emotion] = math.fsum(opinion.weight / weight * opinion.probabilities[emotion] for opinion in knowing)
    return normalised(masses)


def _average_of_two(one: Opinion, other: Opinion, order: Sequence[str]) -> Probabilities:
    """The average of two that know the same classes: the usual case, to the same bits, without lists for each class."""
    weight = one.weight + other.weight
    first, second = one.weight / weight, other.weight / weight
    left, right = one.probabilities, other.probabilities
    return normalised(
        {emotion: first * left[emotion] + second * right[emotion] for emotion in order if emotion in left}
    )


def product(opinions: Sequence[Opinion], order: Sequence[str] = EMOTIONS) -> Probabilities:
    """Logarithmic pool: log p(c) = Σ w·log p(c) / Σ w + constant, both sums over the opinions that know c.

    Probabilities are at least PRODUCT_FLOOR, so that a single model's zero is no veto.
    """
    weighted = _weighted(opinions)
    if len(weighted) == 1:
        return dict(weighted[0].probabilities)
    logs: dict[str, float] = {}
    for emotion, knowing in _by_emotion(weighted, order):
        weight = math.fsum(opinion.weight for opinion in knowing)
        logs[emotion] = math.fsum(
            opinion.weight / weight * math.log(max(opinion.probabilities[emotion], PRODUCT_FLOOR))
            for opinion in knowing
        )
    highest = max(logs.values())
    return normalised({emotion: math.exp(value - highest) for emotion, value in logs.items()})


SOFT = 0.3
"""Power of reliability in the strategy `worth`: a doubtful opinion has said so already by being less sure."""
CONTRADICT, AGREE = 0.2, 0.6
"""Agreement up to which opinions contradict each other, so that both stay in view, and from which on they multiply."""


def worth(opinions: Sequence[Opinion], order: Sequence[str] = EMOTIONS) -> Probabilities:
    """Fusion by worth: independent witnesses, each as far as it is reliable.

    p(c) ∝ Π p(c)^e over the classes that all know, where e is an opinion's weight in that of the weightiest, so that
    two that agree are surer than each. Where they contradict each other (agreement below AGREE) the average with
    weights e takes over, wholly from CONTRADICT on: one of two sure witnesses is wrong, and which is not for us to say.
    Classes that only some know have their share of the average.
    """
    weighted = _weighted(opinions)
    if len(weighted) == 1:
        return dict(weighted[0].probabilities)
    exponents = _exponents(weighted)
    if len(weighted) == 2 and weighted[0].probabilities.keys() == weighted[1].probabilities.keys() and all(exponents):
        return _worth_of_two(weighted[0].probabilities, weighted[1].probabilities, exponents, order)
    pooled = average([each._replace(weight=e) for each, e in zip(weighted, exponents, strict=True)], order)
    shared = [emotion for emotion in pooled if all(emotion in each.probabilities for each in weighted)]
    alike = [agreement(one.probabilities, other.probabilities, order) for one, other in combinations(weighted, 2)]
    together = min((-1.0 if found is None else found) for found in alike)
    joint = _joint(together)
    if not shared or joint <= 0:
        return pooled
    known = [(e, each.probabilities) for each, e in zip(weighted, exponents, strict=True)]
    logs = {
        emotion: math.fsum([e * math.log(max(probabilities[emotion], PRODUCT_FLOOR)) for e, probabilities in known])
        for emotion in shared
    }
    highest = max(logs.values())
    product_of = normalised({emotion: math.exp(value - highest) for emotion, value in logs.items()})
    mass = math.fsum([pooled[emotion] for emotion in shared])
    return normalised(
        {
            emotion: value + joint * (mass * product_of[emotion] - value) if emotion in product_of else value
            for emotion, value in pooled.items()
        }
    )


def _joint(together: float) -> float:
    """Degree to which opinions of this agreement multiply, 0…1."""
    return unit((together - CONTRADICT) / (AGREE - CONTRADICT))


def _worth_of_two(
    one: Probabilities, other: Probabilities, exponents: Sequence[float], order: Sequence[str]
) -> Probabilities:
    """Fusion by worth of a face and a voice that know the same classes: the usual case, to the same bits."""
    names = [emotion for emotion in order if emotion in one]
    left, right = [one[emotion] for emotion in names], [other[emotion] for emotion in names]
    first, second = exponents
    weight = first + second
    near, far = first / weight, second / weight
    pooled = _scaled([near * p + far * q for p, q in zip(left, right, strict=True)])
    together = agreement(one, other, order)
    joint = _joint(-1.0 if together is None else together)
    if joint <= 0:
        return dict(zip(names, pooled, strict=True))
    log, floor = math.log, PRODUCT_FLOOR
    logs = [first * log(max(p, floor)) + second * log(max(q, floor)) for p, q in zip(left, right, strict=True)]
    highest = max(logs)
    product_of = _scaled([math.exp(value - highest) for value in logs])
    mass = math.fsum(pooled)
    mixed = [value + joint * (mass * shared - value) for value, shared in zip(pooled, product_of, strict=True)]
    return dict(zip(names, _scaled(mixed), strict=True))


def _scaled(masses: Sequence[float]) -> list[float]:
    """Masses ≥ 0, not all 0, to a sum of 1."""
    total = math.fsum(masses)
    return [mass / total for mass in masses]


def _exponents(weighted: Sequence[Opinion]) -> list[float]:
    """Exponents of opinions: their configured weights, the largest being 1, times reliability to the power of SOFT."""
    trust = [softened(each.worth) or 1.0 for each in weighted]
    configured = [each.weight / t for each, t in zip(weighted, trust, strict=True)]
    most = max(configured)
    return [weight / most * t for weight, t in zip(configured, trust, strict=True)]


def softened(reliability: float) -> float:
    """Reliability, 0…1, as the strategy `worth` counts it."""
    return float(unit(reliability) ** SOFT)


STRATEGIES: Mapping[str, Strategy] = {"worth": worth, "average": average, "product": product}


def agreement(first: Probabilities, second: Probabilities, order: Sequence[str] = EMOTIONS) -> float | None:
    """1 − the Jensen–Shannon divergence (base 2) over the shared classes: 1 the same, 0 nothing in common.

    None where they share no class, or one of them has no mass on the shared ones. Source: Lin, "Divergence
    measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991).
    """
    shared = [(first[emotion], second[emotion]) for emotion in order if emotion in first and emotion in second]
    left = math.fsum([one for one, _ in shared])
    right = math.fsum([other for _, other in shared])
    if left <= 0 or right <= 0:
        return None
    divergence, log2 = 0.0, math.log2
    for one, other in shared:
        p, q = one / left, other / right
        middle = (p + q) / 2
        if middle > 0:
            part = p / 2 * log2(p / middle) if p > 0 else 0.0
            divergence += part + q / 2 * log2(q / middle) if q > 0 else part
    return min(1.0, max(0.0, 1.0 - divergence))


def _weighted(opinions: Sequence[Opinion]) -> list[Opinion]:
    """The opinions with a weight; all, with equal weights, where none has one."""
    if not opinions:
        raise ValueError("there is nothing to combine")
    weighted = [opinion for opinion in opinions if opinion.weight > 0]
    return weighted or [opinion._replace(weight=1.0) for opinion in opinions]


def _by_emotion(opinions: Sequence[Opinion], order: Sequence[str]) -> list[tuple[str, list[Opinion]]]:
    """Every emotion that any opinion knows, in `order`, with the opinions that know it."""
    pairs = ((emotion, [opinion for opinion in opinions if emotion in opinion.probabilities]) for emotion in order)
    return [(emotion, knowing) for emotion, knowing in pairs if knowing]


# Further categories: each has a share of all classes, and never changes the probabilities of the emotions.


def pooled_other(opinions: Sequence[Opinion], strategy: Strategy, emotions: EmotionSet) -> Probabilities:
    """The share of each category: as the only opinion says that knows it; of several, as the strategy combines their
    emotions and the categories that all of them know."""
    found: Probabilities = {}
    if not any(opinion.other for opinion in opinions):
        return found
    for category in emotions.categories:
        knowing = [opinion for opinion in opinions if category in opinion.other]
        if len(knowing) == 1:
            found[category] = knowing[0].other[category]
        elif knowing:
            shared = [name for name in emotions.categories if all(name in opinion.other for opinion in knowing)]
            order = (*emotions.emotions, *shared)
            wholes = [
                opinion._replace(
                    probabilities=whole_of(opinion.probabilities, {name: opinion.other[name] for name in shared})
                )
                for opinion in knowing
            ]
            found[category] = strategy(wholes, order)[category]
    return found


# The strategy `learned`: a fusion artifact, trained on pairs of face and voice of the same moment.


@dataclass(frozen=True)
class LearnedFusion:
    """An opened fusion artifact as a strategy; `identity` is name@version, for the event."""

    combine: Strategy
    identity: str = ""


def strategy_of(settings: FusionSettings, learned: LearnedFusion | None) -> Strategy:
    """Select the strategy of the settings. Raises ValueError for `learned` without a fusion model."""
    if settings.strategy != "learned":
        return STRATEGIES[settings.strategy]
    if learned is None:
        raise ValueError("the strategy 'learned' needs a fusion model: name one in 'models.fusion'")
    return learned.combine


def learned_fusion(artifact: Artifact, among: EmotionSet = SEVEN) -> LearnedFusion:
    """Make a strategy of an opened fusion artifact.

    It takes `video` and `speech` float32 [1, E + 1] (8 columns for the seven): the probabilities of the set's emotions
    in the order of its labels and, last, the opinion's worth. With one opinion only, or one that does not know all of
    the set, the average decides.

    Raises ArtifactError where it does not know exactly the emotions of the set.
    """
    known = among.emotions
    emotions = fused_labels(artifact.metadata, artifact.path, among)

    def row(opinion: Opinion) -> NDArray[np.float32]:
        values = [*(opinion.probabilities[emotion] for emotion in emotions), opinion.worth]
        return np.array([values], np.float32)

    def combine(opinions: Sequence[Opinion], order: Sequence[str] = known) -> Probabilities:
        by_source = {opinion.source: opinion for opinion in opinions}
        video, speech = by_source.get("video"), by_source.get("speech")
        if video is None or speech is None or any(each.probabilities.keys() != set(known) for each in opinions):
            return average(opinions, order)
        answer = artifact.run(video=row(video), speech=row(speech))["probabilities"][0]
        found = clean(dict(zip(emotions, (float(value) for value in answer), strict=True)), known)
        return found if found is not None else average(opinions, order)

    return LearnedFusion(combine, artifact.identity)


# Reliability of a face or a hop of speech, 0…1. Scales the weights of fusion.


def unit(value: float) -> float:
    """Clamp `value` to 0…1; not a number counts as 0."""
    if 0.0 < value < 1.0:
        return value
    return 1.0 if 1.0 <= value < math.inf else 0.0


WITHOUT_MESH = 0.5
"""Reliability of a face that the landmark model does not see, relative to one of which it is sure."""


def of_face(
    score: float,
    sharpness: float,
    presence: float = 1.0,
    novelty: float | None = None,
    max_novelty: float = math.inf,
) -> float:
    """Detection score × sharpness of the crop × presence, which counts from WITHOUT_MESH to 1; falls linearly to 0 from
    a novelty of 1 to `max_novelty`."""
    known = 1.0
    if novelty is not None and math.isfinite(max_novelty) and max_novelty > 1:
        known = 1.0 - unit((novelty - 1.0) / (max_novelty - 1.0))
    return unit(score) * unit(sharpness) * (WITHOUT_MESH + (1 - WITHOUT_MESH) * unit(presence)) * known


def of_speech(voice: float, freshness: float) -> float:
    """Share of voice in the newest hop × freshness."""
    return unit(voice) * unit(freshness)


def freshness(age_ns: int, usual_age_ns: int, max_age_ns: int) -> float:
    """1 up to the age at which the next hop is due, then falling linearly to 0 over `max_age_ns`."""
    return unit(1.0 - (age_ns - usual_age_ns) / max_age_ns)
