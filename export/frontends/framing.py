"""Sound cut into overlapping frames, with its length known only when the graph runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from numpy.typing import ArrayLike

from export.frontends.draft import Draft

Padding = Literal["constant", "reflect", "edge"]


def padded(draft: Draft, waveform: str, each_side: int, mode: Padding) -> str:
    """float32 [N, S] → [N, each_side + S + each_side]; `reflect` needs S above `each_side`."""
    return draft.node("Pad", waveform, draft.integers([0, each_side, 0, each_side]), mode=mode)


def frames(draft: Draft, sound: str, size: int, hop: int, tables: Sequence[ArrayLike]) -> list[str]:
    """[N, P] → for every table [N, 1 + (P − size) // hop, len(table)]: the samples at the table's places of each frame.

    Args:
        tables: places in a frame, each below `size`.
    """
    length = draft.node("Slice", draft.node("Shape", sound), draft.integers([1]), draft.integers([2]))
    places_left = draft.node("Sub", length, draft.integers([size - hop]))
    count = draft.node("Div", places_left, draft.integers([hop]))
    last = draft.node("Mul", draft.node("Squeeze", count), draft.integers(hop))
    starts = draft.node("Range", draft.integers(0), last, draft.integers(hop))
    starts = draft.node("Unsqueeze", starts, draft.integers([1]))
    return [draft.node("Gather", sound, draft.node("Add", starts, draft.integers(table)), axis=1) for table in tables]


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
