"""The windows of a recording that an evaluation hears: what a live worker would cut for this model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Metadata
from bimodal.training.augment_sound import cut
from bimodal.training.datasets.ravdess import Recording


@dataclass(frozen=True)
class Listening:
    """How a live worker listens with a model: longest and shortest window and hop, in seconds."""

    window_s: float = 3.0
    minimum_s: float = 1.0
    hop_s: float = 0.5

    @classmethod
    def of(cls, metadata: Metadata) -> Listening:
        """As a speech artifact's metadata asks; a hop of 0.5 s where it does not say."""
        return cls(metadata.window_s or 3.0, metadata.minimum_window_s or 1.0, metadata.interval_s or 0.5)


def centre_window(recording: Recording, listening: Listening = Listening()) -> NDArray[np.float32]:
    """The middle of a recording, one window long; all of a shorter one, padded with zeros to the shortest window."""
    longest, shortest, _ = _samples(recording, listening)
    length = max(min(len(recording.waveform), longest), shortest)
    return cut(recording.waveform, (len(recording.waveform) - length) // 2, length)


def live_windows(recording: Recording, listening: Listening = Listening()) -> list[NDArray[np.float32]]:
    """A window each hop while the voice speaks: all that was heard up to then, but at most the longest window.

    A hop counts where it overlaps the voice and as much voice as one hop was heard by its end; a recording too short
    for that gives its centre window.
    """
    longest = _samples(recording, listening)[0]
    ends = live_ends(recording, listening)
    if not ends:
        return [centre_window(recording, listening)]
    return [recording.waveform[max(0, end - longest) : end] for end in ends]


def live_ends(recording: Recording, listening: Listening = Listening()) -> list[int]:
    """The sample behind each of these windows; empty where `live_windows` gives the centre window."""
    _, shortest, hop = _samples(recording, listening)
    first, last = recording.voice
    return [
        end
        for end in range(shortest, len(recording.waveform) + 1, hop)
        if end - hop < last and min(end, last) - first >= hop
    ]


def voice_shares(recording: Recording, listening: Listening = Listening()) -> list[float]:
    """How much of the newest hop of each live window is voice, 0…1: what a worker calls its `voice`."""
    _, _, hop = _samples(recording, listening)
    first, last = recording.voice
    shares = [max(0.0, min(end, last) - max(end - hop, first)) / hop for end in live_ends(recording, listening)]
    return shares or [1.0]


def _samples(recording: Recording, listening: Listening) -> tuple[int, int, int]:
    seconds = (listening.window_s, listening.minimum_s, listening.hop_s)
    longest, shortest, hop = (round(value * recording.rate) for value in seconds)
    return longest, shortest, hop
