"""Pieces that arrange features: concatenate, stretch in time, average, transpose. float32 throughout."""

from __future__ import annotations

from msgspec import Struct

from bimodal.export.frontends.draft import Draft
from bimodal.export.frontends.levels import Count, Rms, ZeroCrossings
from bimodal.export.frontends.spectrum import LogMel, Mfcc

Feature = LogMel | Mfcc | Rms | ZeroCrossings


class Stack(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="stack"):
    """Concatenate several features of the same sound: [N, S] → [N, T, sum of their widths]."""

    of: tuple[Feature, ...]

    def __call__(self, draft: Draft, source: str) -> str:
        return draft.node("Concat", *(feature(draft, source) for feature in self.of), axis=2)


class Stretch(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="stretch"):
    """Stretch in time, [N, T, F] → [N, steps, F]: linear, keeping first and last step (numpy.interp over linspace)."""

    steps: Count

    def __call__(self, draft: Draft, source: str) -> str:
        picture = draft.node("Unsqueeze", source, draft.integers([1]))
        stretched = draft.node(
            "Resize",
            picture,
            "",
            "",
            draft.integers([self.steps]),
            mode="linear",
            coordinate_transformation_mode="align_corners",
            axes=[2],
        )
        return draft.node("Squeeze", stretched, draft.integers([1]))


class MeanOfFeatures(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="mean_of_features"):
    """Mean of the features per step: [N, T, F] → [N, T, 1]."""

    def __call__(self, draft: Draft, source: str) -> str:
        return draft.node("ReduceMean", source, draft.integers([2]))


class Turn(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="turn"):
    """Transpose to features first: [N, T, F] → [N, F, T]."""

    def __call__(self, draft: Draft, source: str) -> str:
        return draft.node("Transpose", source, perm=[0, 2, 1])


class AddChannel(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="add_channel"):
    """Add a last axis of one channel, as Keras' Conv2D expects: [N, A, B] → [N, A, B, 1]."""

    def __call__(self, draft: Draft, source: str) -> str:
        return draft.node("Unsqueeze", source, draft.integers([-1]))
