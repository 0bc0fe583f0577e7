"""The windows of a recording that an evaluation hears: what a live worker would cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.augment_sound import cut
from training.datasets.ravdess import SAMPLE_RATE, Recording

WINDOW_S, MINIMUM_S, HOP_S = 3.0, 1.0, 0.5


def centre_window(waveform: NDArray[np.float32], seconds: float = WINDOW_S) -> NDArray[np.float32]:
    """The middle `seconds` of a waveform, or all of it where it is shorter; at least 1 s, padded with zeros."""
    length = min(len(waveform), round(seconds * SAMPLE_RATE))
    length = max(length, round(MINIMUM_S * SAMPLE_RATE))
    return cut(waveform, (len(waveform) - length) // 2, length)


def live_windows(recording: Recording) -> list[NDArray[np.float32]]:
    """A window each hop, of all that was heard up to then but at most 3 s and at least 1 s, while the voice speaks.

    A hop counts where its newest half second overlaps the voice and half a second of voice was heard; a clip too
    short for that gives its centre window.
    """
    first, last = recording.voice
    hop, shortest, longest = (round(seconds * SAMPLE_RATE) for seconds in (HOP_S, MINIMUM_S, WINDOW_S))
    ends = [
        end
        for end in range(shortest, len(recording.waveform) + 1, hop)
        if end - hop < last and min(end, last) - first >= hop
    ]
    if not ends:
        return [centre_window(recording.waveform)]
    return [recording.waveform[max(0, end - longest) : end] for end in ends]
