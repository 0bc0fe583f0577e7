"""Sound cut into overlapping frames, with its length known only when the graph runs."""

from __future__ import annotations

import math
from typing import Literal

from bimodal.export.frontends.draft import Draft

Padding = Literal["constant", "reflect", "edge"]


def padded(draft: Draft, waveform: str, each_side: int, mode: Padding) -> str:
    """float32 [N, S] → [N, each_side + S + each_side]; `reflect` needs S above `each_side`."""
    return draft.node("Pad", waveform, draft.integers([0, each_side, 0, each_side]), mode=mode)


def frames(draft: Draft, sound: str, size: int, hop: int) -> str:
    """[N, P] → [N, 1 + (P − size) // hop, size].

    Blocks as long as the greatest common divisor of size and hop are gathered, which is much faster than samples.
    """
    block = math.gcd(size, hop)
    length = draft.node("Slice", draft.node("Shape", sound), draft.integers([1]), draft.integers([2]))
    blocks = draft.node("Div", length, draft.integers([block]))
    whole = draft.node("Mul", blocks, draft.integers([block]))
    cut = draft.node("Slice", sound, draft.integers([0]), whole, draft.integers([1]))
    rows = draft.node("Reshape", cut, draft.integers([0, -1, block]))
    # The last start at which a whole frame remains, and one more as the end of the range.
    end = draft.node("Squeeze", draft.node("Sub", blocks, draft.integers([size // block - 1])))
    starts = draft.node("Range", draft.integers(0), end, draft.integers(hop // block))
    starts = draft.node("Unsqueeze", starts, draft.integers([1]))
    places = draft.node("Add", starts, draft.integers(range(size // block)))
    return draft.node("Reshape", draft.node("Gather", rows, places, axis=1), draft.integers([0, 0, size]))


def part(draft: Draft, framed: str, first: int, last: int) -> str:
    """[N, T, size] → the places from `first` to `last`, both counted; backwards where `last` is smaller."""
    step = 1 if last >= first else -1
    starts, ends = draft.integers([first]), draft.integers([last + step])
    return draft.node("Slice", framed, starts, ends, draft.integers([2]), draft.integers([step]))


def windows_mean(draft: Draft, sound: str, size: int, hop: int, each_side: int) -> str:
    """[N, S] → [N, T, 1]: the mean over each window of `size`, a hop apart, zeros on both sides."""
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
