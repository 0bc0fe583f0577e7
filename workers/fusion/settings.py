"""The section `fusion` of config.yaml, with its defaults; docs/fusion.md explains each key."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from bimodal.models.turn import MEMORY_S, PAUSE_S

NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Ensemble(msgspec.Struct, frozen=True, kw_only=True):
    """How several models of a kind become one.

    Attributes:
        rule: `average`, or `product` of experts: the weighted mean of their logarithms.
        weights: relative, one a model in their order; empty: all the same.
    """

    rule: Literal["average", "product"] = "average"
    weights: tuple[float, ...] = ()

    def weight(self, number: int) -> float:
        """The weight of a model, by its place in the list."""
        return self.weights[number] if self.weights else 1.0


MEAN = Ensemble()
"""The plain average."""


class FusionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of fusion. `msgspec.convert(mapping, FusionSettings)` checks the ranges of the types.

    Attributes:
        strategy: combination of video and speech: a name of combine.STRATEGIES, or `learned`, a fusion model.
        video_weight, speech_weight: relative weights of the modalities before reliability scales them. A weight
            of 0 counts only where the other modality is missing.
        static_weight, dynamic_weight: relative weights of the two face models.
        smoothing_s: time constant of the exponential smoothing of fused probabilities, in seconds; 0 switches it off.
        talking_s: time constant of the evidence of a face that talks, in seconds: moving mouths look like other
            emotions, so its probabilities are gathered for longer; 0 judges every frame by itself.
        track_memory_s, track_memory_frames: longest time out of sight in which a face keeps its track, in seconds, and
            in frames of the stream's own pace: the longer one counts, so that a picture each 5 s makes tracks too.
        min_confidence: a verdict with less confidence has no label. The default, 0.3, is twice the chance of one in
            seven: probabilities spread over three emotions still get a label, those spread over four, or uniform ones,
            do not.
        max_novelty: a face that is less like what its model learnt than this (1: what one in a hundred held-out
            pictures exceeds) has no label, and counts for less from 1 on; models that have no novelty are not asked.
        speech_delay_ms: a frame is joined with the newest hop that ended at least so long before it: the time that a
            live hop needs to be ready, so that live and offline results are the same.
        speech_max_age_s: time after its successor was due in which a hop still counts; its weight falls linearly to 0.
        turn_s: time constant of the evidence that is gathered while someone speaks, in seconds; 0 judges every window
            for itself.
        turn_pause_s: time without voice after which a new turn of speech begins.
        speaker_window_s: window in which mouths are compared with the voice, in seconds.
        order_limit: policy `latest` only: number of results that may wait for an earlier one before that one counts as
            dropped, and of hops that are kept. A second safeguard: the broker reports every lost job.

    Raises ValueError (ValidationError when converted) where a number is not finite or a pair of weights is all 0.
    """

    strategy: Literal["worth", "average", "product", "learned"] = "worth"
    video_weight: NotNegative = 0.65
    speech_weight: NotNegative = 0.35
    static_weight: NotNegative = 0.5
    dynamic_weight: NotNegative = 0.5
    smoothing_s: NotNegative = 0.3
    talking_s: NotNegative = 1.5
    track_memory_s: NotNegative = 2.0
    track_memory_frames: Annotated[int, msgspec.Meta(ge=0)] = 3
    min_confidence: Share = 0.3
    max_novelty: Positive = 2.0
    speech_delay_ms: NotNegative = 120.0
    speech_max_age_s: Positive = 2.0
    turn_s: NotNegative = MEMORY_S
    turn_pause_s: Positive = PAUSE_S
    speaker_window_s: Positive = 2.0
    order_limit: Count = 256

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"'{name}' must be a finite number, but is {value}")
        for first, second in (("video_weight", "speech_weight"), ("static_weight", "dynamic_weight")):
            if getattr(self, first) + getattr(self, second) <= 0:
                raise ValueError(f"'{first}' and '{second}' are both 0; give at least one of them a weight")
