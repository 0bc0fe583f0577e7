"""Settings refuse what can't be meant."""

from __future__ import annotations

import msgspec
import pytest

from bimodal.workers.fusion.combine import STRATEGIES
from bimodal.workers.fusion.settings import FusionSettings


def test_the_defaults_are_those_of_the_design() -> None:
    settings = msgspec.convert({}, FusionSettings)
    assert (settings.video_weight, settings.speech_weight, settings.strategy) == (0.65, 0.35, "worth")


def test_every_strategy_that_can_be_named_exists() -> None:
    for strategy in STRATEGIES:
        assert msgspec.convert({"strategy": strategy}, FusionSettings).strategy == strategy


@pytest.mark.parametrize(
    "wrong",
    [
        {"strategy": "vote"},
        {"smoothing_s": -0.1},
        {"smoothing_s": float("inf")},
        {"track_memory_s": float("nan")},
        {"min_confidence": 1.5},
        {"video_weight": 0, "speech_weight": 0},
        {"static_weight": 0.0, "dynamic_weight": 0.0},
        {"speech_max_age_s": 0},
        {"turn_s": -1},
        {"turn_pause_s": 0},
        {"order_limit": 0},
        {"smooth": 1},
    ],
)
def test_what_can_not_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, FusionSettings)
