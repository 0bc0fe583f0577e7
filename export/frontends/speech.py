"""A speech network's front end: the waveform it needs, and the steps to its features."""

from __future__ import annotations

from msgspec import Struct

from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.layout import AddChannel, MeanOfFeatures, Stack, Stretch, Turn
from bimodal.export.frontends.levels import Count, Fit, Positive, Rms, Scale, Standardise, Trim, ZeroCrossings
from bimodal.export.frontends.spectrum import LogMel, Mfcc

Step = (
    Scale
    | Standardise
    | Trim
    | Fit
    | Rms
    | ZeroCrossings
    | LogMel
    | Mfcc
    | Stack
    | Stretch
    | MeanOfFeatures
    | Turn
    | AddChannel
)


class SpeechFrontend(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The steps from `waveform` float32 [N, S], −1…1, to the network's input.

    Attributes:
        sample_rate: Hz to which the worker resamples.
        window_s, minimum_window_s: longest and shortest window, in seconds.
        steps: in order; empty for the waveform itself.
    """

    sample_rate: Count
    window_s: Positive
    minimum_window_s: Positive
    steps: tuple[Step, ...] = ()

    def __call__(self, draft: Draft, waveform: str) -> str:
        """Add every step to `draft`. Returns the name of the features."""
        result = waveform
        for step in self.steps:
            result = step(draft, result)
        return result
