"""Temperatures and figures of a speech model: what is fitted on whom."""

from __future__ import annotations

import numpy as np
import pytest

from bimodal.models.emotions import EMOTIONS
from bimodal.training.evaluate.metrics import fit_temperature
from bimodal.training.speech.artifact import (
    corpora_metrics,
    left_out_metrics,
    pooled_temperature,
    strangers_temperature,
)
from bimodal.training.speech.train import Fold


def fold(corpus: str, clips: int, sureness: float, seed: int = 0) -> Fold:
    """Predictions that are right in six of ten clips; two live windows of each clip, all `sureness` sure."""
    random = np.random.default_rng(seed)
    true = random.integers(0, len(EMOTIONS), clips)
    found = np.where(random.random(clips) < 0.6, true, random.integers(0, len(EMOTIONS), clips))
    logits = (sureness * np.eye(len(EMOTIONS))[found] + random.normal(0, 0.1, (clips, 7))).astype(np.float32)
    voices = tuple(f"{corpus}/{clip % 4}" for clip in range(clips))
    return Fold(frozenset(voices), voices, true, logits, np.repeat(logits, 2, axis=0), np.repeat(np.arange(clips), 2))


LEFT_OUT = {"large": fold("large", 400, 8.0), "small": fold("small", 60, 2.0, 1), "other": fold("other", 60, 4.0, 2)}


def test_every_corpus_left_out_weighs_alike_in_the_temperature() -> None:
    each = [fit_temperature(one.live, one.live_true) for one in LEFT_OUT.values()]
    assert strangers_temperature(LEFT_OUT) == pytest.approx(float(np.prod(each)) ** (1 / 3), abs=1e-3)
    assert strangers_temperature(LEFT_OUT) < pooled_temperature(list(LEFT_OUT.values()))


def test_a_corpus_left_out_is_calibrated_on_the_others() -> None:
    sure = LEFT_OUT | {"large": fold("large", 400, 80.0)}
    one, two = left_out_metrics(LEFT_OUT), left_out_metrics(sure)
    assert isinstance(one["corpora"], dict)
    assert isinstance(two["corpora"], dict)
    assert one["corpora"]["large"]["ece"] < two["corpora"]["large"]["ece"]
    assert one["corpora"]["small"]["ece"] != two["corpora"]["small"]["ece"]


def test_held_out_speakers_are_measured_with_the_temperature_that_ships() -> None:
    folds = [fold("large", 100, 4.0, seed) for seed in (3, 4)]
    with_strangers, without = corpora_metrics(folds, LEFT_OUT), corpora_metrics(folds, {})
    assert with_strangers["uar"] == without["uar"]
    assert with_strangers["corpora"]["large"]["ece"] != without["corpora"]["large"]["ece"]  # type: ignore[index]
    assert "left_out" not in without
