"""A speech network's front end as a whole: what the worker must bring, and the steps from waveform to features."""

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
    """From `waveform` float32 [N, S], −1…1, to what the network was trained on.

    Attributes:
        sample_rate: Hz to which the worker resamples.
        window_s, minimum_window_s: longest and shortest stretch of sound the worker gives, in seconds.
        steps: in their order; none hands the waveform on as it is.
    """

    sample_rate: Count
    window_s: Positive
    minimum_window_s: Positive
    steps: tuple[Step, ...] = ()

    def __call__(self, draft: Draft, waveform: str) -> str:
        """Add every step to `draft`; returns the name of the features."""
        result = waveform
        for step in self.steps:
            result = step(draft, result)
        return result
