"""What a frozen encoder says of every window that training takes of a clip, computed once.

A network that learns from changed windows alone knows plain ones badly, and one that learns from middles alone knows
the first seconds of a turn badly: so an epoch takes of each clip its middle, a live window, and one through a channel.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording
from bimodal.training.evaluate.conditions import in_a_room
from bimodal.training.speech.sound import centre_window, channel_window, live_windows

LENGTHS_S, LENGTH_SHARES = (1.25, 1.75, 2.25, 3.0), (0.15, 0.25, 0.3, 0.3)
"""Lengths of windows through channels, and their shares."""
KINDS = 3
"""Windows of a clip in an epoch: kinds of Windows."""
NEARLY = 3
"""States whose lengths are divided by this and rounded down to the same number share a batch: 0.1 s."""
TOGETHER = 16

Encoder = Callable[[Tensor], Tensor]


class Windows(NamedTuple):
    """States of one clip's windows, each float16 [T, width]: its middle, the live ones, those through channels."""

    centre: tuple[Tensor, ...]
    live: tuple[Tensor, ...]
    changed: tuple[Tensor, ...]


class Summary(NamedTuple):
    """Statistics of one clip's windows: float32 [1, D] its middle, [live, D], [copies, D] through channels."""

    centre: Tensor
    live: Tensor
    changed: Tensor


Key = tuple[int, int, float, str]
_windows: dict[Key, Windows] = {}
"""Of all clips so far: the folds and the final network of one command share them."""
_summaries: dict[Key, Summary] = {}


class Pool:
    """The windows of recordings, as states of the encoder's lower part.

    Args:
        encoder: waveform float32 [N, S] → states float32 [N, T, width]; never trained.
        copies: windows of each clip through channels.
        rooms: share of those that are also convolved with a room.
        seed: of the channels; a clip's are the same in every fold.
    """

    def __init__(self, encoder: Encoder, copies: int, rooms: float, seed: int) -> None:
        self._encoder, self._copies, self._rooms, self._seed = encoder, copies, rooms, seed

    def windows(self, recording: Recording) -> Windows:
        """States of a clip's windows; computed at the first call."""
        key = self._key(recording)
        if key not in _windows:
            _windows[key] = windows_of(self._encoder, recording, self._copies, self._rooms, self._seed)
        return _windows[key]

    def summary(self, recording: Recording, statistics: Encoder) -> Summary:
        """Statistics of a clip's windows; computed at the first call.

        Args:
            statistics: states float32 [N, T, width] → float32 [N, D], of layers that have not learnt yet.
        """
        key = self._key(recording)
        if key not in _summaries:
            _summaries[key] = Summary(*(in_batches(statistics, states) for states in self.windows(recording)))
        return _summaries[key]

    def _key(self, recording: Recording) -> Key:
        return self._seed, self._copies, self._rooms, str(recording.clip.path.resolve())


def windows_of(encoder: Encoder, recording: Recording, copies: int, rooms: float, seed: int) -> Windows:
    """Compute the states of one clip's windows."""
    random = np.random.default_rng((seed, zlib.crc32(recording.clip.path.name.encode())))
    changed = []
    for _ in range(copies):
        heard = in_a_room(recording, random) if random.random() < rooms else recording
        length = round(float(random.choice(LENGTHS_S, p=LENGTH_SHARES)) * SAMPLE_RATE)
        changed.append(channel_window(heard, length, random))
    kinds = ([centre_window(recording)], live_windows(recording), changed)
    return Windows(*(tuple(_encoded(encoder, window) for window in windows) for windows in kinds))


def _encoded(encoder: Encoder, window: NDArray[np.float32]) -> Tensor:
    with torch.inference_mode():
        states = encoder(torch.from_numpy(np.ascontiguousarray(window))[None])[0].half()
    return states.clone()  # outside of inference mode: a tensor that training may use


def in_batches(function: Encoder, states: Sequence[Tensor]) -> Tensor:
    """Apply a function to states [T, width] of any lengths, those of one length together: float32 [N, …] in order."""
    found: list[Tensor] = [torch.empty(0)] * len(states)
    order = sorted(range(len(states)), key=lambda place: len(states[place]))
    while order:
        length = len(states[order[0]])
        batch = [place for place in order[:TOGETHER] if len(states[place]) == length]
        with torch.inference_mode():
            answers = function(torch.stack([states[place] for place in batch]).float())
        for place, answer in zip(batch, answers, strict=True):
            found[place] = answer
        order = order[len(batch) :]
    return torch.stack(found).clone()


def statistics_batches(
    summaries: Sequence[Summary], size: int, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """One epoch of full batches: (numbers of the clips, statistics float32 [size, D]), a window of each kind a clip."""
    count = len(summaries)
    order = random.permutation(KINDS * count)
    for start in range(0, len(order) - size + 1, size):
        places = order[start : start + size]
        kinds = [summaries[place % count][place // count] for place in places]
        rows = torch.stack([windows[int(random.integers(len(windows)))] for windows in kinds])
        yield np.asarray(places % count, np.int64), rows


def states_batches(
    clips: Sequence[Windows], epoch: NDArray[np.int64], size: int, random: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
    """One epoch of full batches: (numbers of the clips, states float32 [size, T, width]), a window of a random kind.

    Windows of nearly the same length share a batch, cut to the shortest; batches come in random order.

    Args:
        epoch: int64, numbers of the clips, each as often as it is wanted.
    """
    order = random.permutation(epoch)[: len(epoch) // size * size]
    drawn = []
    for clip in order.tolist():
        windows = clips[clip][int(random.integers(KINDS))]
        drawn.append((clip, windows[int(random.integers(len(windows)))]))
    drawn.sort(key=lambda pair: len(pair[1]) // NEARLY)
    for number in random.permutation(len(drawn) // size).tolist():
        batch = drawn[number * size : (number + 1) * size]
        shortest = min(len(states) for _, states in batch)
        rows = np.array([clip for clip, _ in batch], np.int64)
        yield rows, torch.stack([states[:shortest] for _, states in batch]).float()
