"""What a config.yaml runs, as far as it is measured: models, how several become one, and the set of emotions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from bimodal.models.catalog import DEFAULTS
from bimodal.models.emotions import EMOTIONS, SEVEN, EmotionSet, wrong_names
from bimodal.training.errors import TrainingError
from bimodal.training.evaluate.evaluate import ALONE, Joined

SHARED = ("ensemble", "weights")


class Running(NamedTuple):
    """The models of one kind, how they become one, and what they are asked for."""

    models: tuple[str, ...]
    joined: Joined = ALONE
    among: EmotionSet = SEVEN


def running(kind: str, config: Path | None, models: str | None = None) -> Running:
    """Read the models of a kind (`face-static`, `speech` …) that a config runs; without one, the default config's.

    Args:
        models: names or paths with commas, in place of the config's.

    Raises TrainingError where the config can't be read, or has no such model.
    """
    values = _read(config)
    section = values.get("models")
    section = section if isinstance(section, Mapping) else {}
    given: object = section.get(kind) or DEFAULTS.get(kind, ())
    if models is not None:
        given = [name.strip() for name in models.split(",")]
    names = (given,) if isinstance(given, str) else tuple(map(str, given)) if isinstance(given, Sequence) else ()
    if not names or names == ("none",):
        raise TrainingError(f"{config} runs no model of the kind {kind}")
    rule = str(section.get("ensemble", "average"))
    if rule not in ("average", "product"):
        raise TrainingError(f"{config}: in 'models.ensemble': must be 'average' or 'product', not '{rule}'")
    weights = section.get("weights")
    weights = weights if isinstance(weights, Mapping) else {}
    joined = Joined("product" if rule == "product" else "average", tuple(float(weights.get(name, 1)) for name in names))
    return Running(names, joined, EmotionSet(_emotions(values, config)))


def single(kind: str, config: Path | None, model: str | None, usual: str) -> str:
    """The one model of a kind: as named, else that of a config; without one, `usual`.

    Raises TrainingError where the config runs several.
    """
    if model is not None or config is None:
        return model or usual
    names = running(kind, config).models
    if len(names) > 1:
        raise TrainingError(
            f"{config} runs several models of the kind {kind}, and crops are of one: name it with --model"
        )
    return names[0]


FUSED_BY = ("worth", "average", "product", "learned")
WEIGHTS = (0.65, 0.35)
"""Weights of video and speech of the default config."""


class Fusing(NamedTuple):
    """Fusion of video and speech.

    Attributes:
        model: name or path of a fusion model, or a strategy (`worth`, `average`, `product`).
        weights: of video and speech.
        among: the set of emotions; None: that of the data.
    """

    model: str = "worth"
    weights: tuple[float, float] = WEIGHTS
    among: EmotionSet | None = None


def fusing(config: Path | None) -> Fusing:
    """Read how a config fuses video and speech; without one, how the default config does.

    Raises TrainingError where the config can't be read, or fuses in no way that there is.
    """
    if config is None:
        return Fusing()
    values = _read(config)
    section, models = (
        each if isinstance(each, Mapping) else {} for each in (values.get("fusion"), values.get("models"))
    )
    strategy = str(section.get("strategy", "worth"))
    if strategy not in FUSED_BY:
        raise TrainingError(f"{config}: in 'fusion.strategy': must be one of {', '.join(FUSED_BY)}, not '{strategy}'")
    model = str(models.get("fusion", "none")) if strategy == "learned" else strategy
    if model == "none":
        raise TrainingError(f"{config}: the strategy 'learned' needs a fusion model: name one in 'models.fusion'")
    try:
        video, speech = (
            float(section.get(name, usual))
            for name, usual in zip(("video_weight", "speech_weight"), WEIGHTS, strict=True)
        )
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{config}: weights under 'fusion' must be numbers") from error
    if min(video, speech) < 0 or not 0 < video + speech < math.inf:
        raise TrainingError(f"{config}: weights under 'fusion' must be 0 or more, and not both 0")
    return Fusing(model, (video, speech), emotions_of_config(config))


def emotions_of_config(config: Path | None) -> EmotionSet:
    """The emotions of a config; without one, the seven. Raises TrainingError where they are no set."""
    return EmotionSet(_emotions(_read(config), config))


def _emotions(values: Mapping[str, object], config: Path | None) -> tuple[str, ...]:
    emotions = values.get("emotions") or EMOTIONS
    emotions = tuple(map(str, emotions)) if isinstance(emotions, Sequence) else EMOTIONS
    wrong = wrong_names(emotions)
    if wrong is not None:
        raise TrainingError(f"{config}: in 'emotions': {wrong}")
    return emotions


def _read(config: Path | None) -> Mapping[str, object]:
    if config is None:
        return {}
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise TrainingError(f"{config} can't be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TrainingError(f"{config} is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, Mapping):
        raise TrainingError(f"{config} must hold keys and values")
    return values
