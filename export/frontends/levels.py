"""Pieces that work on samples: scaling, trimming, length, loudness, zero crossings. float32 throughout."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from msgspec import Meta, Struct
from onnx import TensorProto

from bimodal.export.frontends.draft import Draft

Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Positive = Annotated[float, Meta(gt=0)]


class Scale(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="scale"):
    """Multiply by `by`, same shape (32768 converts −1…1 to the scale of 16-bit samples)."""

    by: float

    def __call__(self, draft: Draft, source: str) -> str:
        return draft.node("Mul", source, draft.floats(self.by))


class Standardise(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="standardise"):
    """(x − mean) / √(variance + epsilon) over everything but the batch, same shape."""

    epsilon: Annotated[float, Meta(ge=0)] = 1e-8

    def __call__(self, draft: Draft, source: str) -> str:
        shape = draft.node("Shape", source)
        flat = draft.node("Flatten", source, axis=1)
        centred = draft.node("Sub", flat, draft.node("ReduceMean", flat, draft.integers([1])))
        squares = draft.node("Mul", centred, centred)
        variance = draft.node("ReduceMean", squares, draft.integers([1]))
        deviation = draft.node("Sqrt", draft.node("Add", variance, draft.floats(self.epsilon)))
        return draft.node("Reshape", draft.node("Div", centred, deviation), shape)


class Trim(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="trim"):
    """Trim silence at both ends, as librosa.effects.trim: frames more than `top_db` below the loudest are silent.

    [N, S] → [N, S]: the rest is moved to the first sample and followed by zeros. A waveform of zeros is unchanged.
    """

    top_db: Positive = 60.0
    frame: Count = 2048
    hop: Count = 512

    def __call__(self, draft: Draft, source: str) -> str:
        loud = self._loud_frames(draft, source)
        first = draft.node("ArgMax", loud, axis=1, keepdims=1)
        last = draft.node("ArgMax", loud, axis=1, keepdims=1, select_last_index=1)
        start = draft.node("Mul", first, draft.integers(self.hop))
        behind = draft.node("Mul", draft.node("Add", last, draft.integers(1)), draft.integers(self.hop))
        length = draft.node("Squeeze", draft.node("Slice", draft.node("Shape", source), *self._second(draft)))
        end = draft.node("Min", behind, length)
        samples = draft.node("Range", draft.integers(0), length, draft.integers(1))
        places = draft.node("Add", draft.node("Unsqueeze", samples, draft.integers([0])), start)
        inside = draft.node("Less", places, end)
        safe = draft.node("Where", inside, places, draft.integers(0))
        return draft.node("Where", inside, draft.node("GatherElements", source, safe, axis=1), draft.floats(0.0))

    def _loud_frames(self, draft: Draft, source: str) -> str:
        """Mask of frames that are not silent, float32 [N, T]; powers below 1e-10 count as 1e-10."""
        power = windows_mean(draft, draft.node("Mul", source, source), self.frame, self.hop, self.frame // 2)
        power = draft.node("Max", draft.node("Squeeze", power, draft.integers([2])), draft.floats(1e-10))
        loudest = draft.node("ReduceMax", power, draft.integers([1]))
        threshold = draft.node("Mul", loudest, draft.floats(10 ** (-self.top_db / 10)))
        return draft.node("Cast", draft.node("Greater", power, threshold), to=TensorProto.FLOAT)

    def _second(self, draft: Draft) -> tuple[str, str]:
        return draft.integers([1]), draft.integers([2])


class Fit(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="fit"):
    """Cut or zero-pad at the end: [N, S] → [N, samples]."""

    samples: Count

    def __call__(self, draft: Draft, source: str) -> str:
        longer = draft.node("Pad", source, draft.integers([0, 0, 0, self.samples]))
        starts, ends, axes = draft.integers([0]), draft.integers([self.samples]), draft.integers([1])
        return draft.node("Slice", longer, starts, ends, axes)


class Rms(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="rms"):
    """Root mean square per frame, [N, S] → [N, 1 + S // hop, 1], as librosa.feature.rms (centred, zeros around)."""

    frame: Count = 2048
    hop: Count = 512

    def __call__(self, draft: Draft, source: str) -> str:
        squares = draft.node("Mul", source, source)
        return draft.node("Sqrt", windows_mean(draft, squares, self.frame, self.hop, self.frame // 2))


class ZeroCrossings(Struct, frozen=True, forbid_unknown_fields=True, tag_field="step", tag="zero_crossings"):
    """Share of samples per frame whose sign differs from the previous one, [N, S] → [N, 1 + S // hop, 1].

    As librosa.feature.zero_crossing_rate: centred, the edges repeated, zero (and all within ±1e-10) counts as positive.
    """

    frame: Annotated[int, Meta(ge=2, multiple_of=2)] = 2048
    hop: Count = 512

    def __call__(self, draft: Draft, source: str) -> str:
        negative = draft.node("Less", source, draft.floats(-1e-10))
        sign = draft.node("Cast", negative, to=TensorProto.FLOAT)
        axis, beginning, end = draft.integers([1]), draft.integers([0]), draft.integers([2**62])
        later = draft.node("Slice", sign, draft.integers([1]), end, axis)
        earlier = draft.node("Slice", sign, beginning, draft.integers([-1]), axis)
        crossings = draft.node("Abs", draft.node("Sub", later, earlier))
        # A frame's first sample has no predecessor, so size − 1 pairs are counted, divided by size.
        share = windows_mean(draft, crossings, self.frame - 1, self.hop, self.frame // 2)
        return draft.node("Mul", share, draft.floats((self.frame - 1) / self.frame))


# Overlapping frames of sound whose length is known only when the graph runs.

Padding = Literal["constant", "reflect", "edge"]


def padded(draft: Draft, waveform: str, each_side: int, mode: Padding) -> str:
    """Pad float32 [N, S] to [N, each_side + S + each_side]; `reflect` needs S above `each_side`."""
    return draft.node("Pad", waveform, draft.integers([0, each_side, 0, each_side]), mode=mode)


def frames(draft: Draft, sound: str, size: int, hop: int) -> str:
    """Cut into overlapping frames: [N, P] → [N, 1 + (P − size) // hop, size].

    Gathers blocks as long as the greatest common divisor of size and hop, which is much faster than samples.
    """
    block = math.gcd(size, hop)
    length = draft.node("Slice", draft.node("Shape", sound), draft.integers([1]), draft.integers([2]))
    blocks = draft.node("Div", length, draft.integers([block]))
    whole = draft.node("Mul", blocks, draft.integers([block]))
    cut = draft.node("Slice", sound, draft.integers([0]), whole, draft.integers([1]))
    rows = draft.node("Reshape", cut, draft.integers([0, -1, block]))
    # One past the last start of a whole frame, as the exclusive end of the range.
    end = draft.node("Squeeze", draft.node("Sub", blocks, draft.integers([size // block - 1])))
    starts = draft.node("Range", draft.integers(0), end, draft.integers(hop // block))
    starts = draft.node("Unsqueeze", starts, draft.integers([1]))
    places = draft.node("Add", starts, draft.integers(range(size // block)))
    return draft.node("Reshape", draft.node("Gather", rows, places, axis=1), draft.integers([0, 0, size]))


def part(draft: Draft, framed: str, first: int, last: int) -> str:
    """Slice [N, T, size] from `first` to `last`, inclusive; backwards if `last` is smaller."""
    step = 1 if last >= first else -1
    starts, ends = draft.integers([first]), draft.integers([last + step])
    return draft.node("Slice", framed, starts, ends, draft.integers([2]), draft.integers([step]))


def windows_mean(draft: Draft, sound: str, size: int, hop: int, each_side: int) -> str:
    """Mean over each window of `size`, a hop apart, zero-padded on both sides: [N, S] → [N, T, 1]."""
    channel = draft.node("Unsqueeze", sound, draft.integers([1]))
    means = draft.node(
        "AveragePool",
        channel,
        kernel_shape=[size],
        strides=[hop],
        pads=[each_side, each_side],
        count_include_pad=1,
    )
    return draft.node("Transpose", means, perm=[0, 2, 1])
