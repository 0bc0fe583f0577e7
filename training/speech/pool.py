"""Statistics of a frozen encoder on every window that training takes of a clip, computed once.

A network that learns from changed windows alone knows plain ones badly, and one that learns from middles alone knows
the first seconds of a turn badly: so an epoch takes of each clip its middle, a live window, and one through a channel.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.evaluate.conditions import in_a_room
from bimodal.training.speech.sound import centre_window, channel_window, live_windows

LENGTHS_S, LENGTH_SHARES = (1.25, 1.75, 2.25, 3.0), (0.15, 0.25, 0.3, 0.3)
"""Lengths of windows through channels, and their shares."""
KINDS = 3
"""Windows of a clip in an epoch."""


class Summary(NamedTuple):
    """Statistics of one clip's windows: float32 [1, D] its middle, [live, D], [copies, D] through channels."""

    centre: Tensor
    live: Tensor
    changed: Tensor


_known: dict[tuple[int, int, float, str], Summary] = {}
"""Of all clips so far: the folds and the final network of one command share them."""


class Pool:
    """The windows of recordings, as statistics.

    Args:
        encoder: waveform float32 [N, S] → statistics float32 [N, D].
        copies: windows of each clip through channels.
        rooms: share of those that are also convolved with a room.
        seed: of the channels; a clip's are the same in every fold.
    """

    def __init__(
        self, encoder: nn.Module, recordings: Sequence[Recording], copies: int, rooms: float, seed: int
    ) -> None:
        self._summaries = []
        for recording in recordings:
            key = (seed, copies, rooms, str(recording.clip.path.resolve()))
            if key not in _known:
                _known[key] = summary_of(encoder, recording, copies, rooms, seed)
            self._summaries.append(_known[key])

    def all(self) -> Tensor:
        """Middles, every second live window, and the first window through a channel: to normalise by."""
        return torch.cat([torch.cat([each.centre, each.live[::2], each.changed[:1]]) for each in self._summaries])

    def batches(self, size: int, random: np.random.Generator) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """One epoch: (numbers of the recordings, statistics float32 [size, D]) in random order."""
        count = len(self._summaries)
        order = random.permutation(KINDS * count)
        for start in range(0, len(order) - size + 1, size):
            places = order[start : start + size]
            rows = np.asarray(places % count, np.int64)
            yield rows, torch.stack([self._draw(int(place), random) for place in places])

    def _draw(self, place: int, random: np.random.Generator) -> Tensor:
        count = len(self._summaries)
        windows = self._summaries[place % count][place // count]
        return windows[int(random.integers(len(windows)))]


def summary_of(encoder: nn.Module, recording: Recording, copies: int, rooms: float, seed: int) -> Summary:
    """Compute the statistics of one clip's windows."""
    random = np.random.default_rng((seed, zlib.crc32(recording.clip.path.name.encode())))
    changed = []
    for _ in range(copies):
        heard = in_a_room(recording, random) if random.random() < rooms else recording
        length = round(float(random.choice(LENGTHS_S, p=LENGTH_SHARES)) * SAMPLE_RATE)
        changed.append(channel_window(heard, length, random))
    return Summary(
        _statistics(encoder, [centre_window(recording)]),
        _statistics(encoder, live_windows(recording)),
        _statistics(encoder, changed),
    )


def _statistics(encoder: nn.Module, windows: Sequence[NDArray[np.float32]]) -> Tensor:
    with torch.inference_mode():
        rows = [encoder(torch.from_numpy(np.ascontiguousarray(window))[None]) for window in windows]
    return torch.cat(rows).clone()
