"""Windows of recorded speech: random and augmented ones for training, live ones for evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bimodal.models.contract import Metadata
from bimodal.training.datasets.ravdess import SAMPLE_RATE, Recording

if TYPE_CHECKING:  # an evaluation cuts windows, and needs no torch
    from torch import Tensor

SHORTEST_S, LONGEST_S, STEP_S = 1.0, 3.0, 0.25
MISSED_VOICE = 0.3
SPEEDS = (0.88, 1.14)
QUIET = 0.02  # of the power: 17 dB less


def draw_length(random: np.random.Generator) -> int:
    """Draw the length of a batch's windows in samples: 1 to 3 s in steps of 0.25 s, long ones more often."""
    steps = round((LONGEST_S - SHORTEST_S) / STEP_S)
    step = int(random.integers(0, steps + 1, size=2).max())
    return round((SHORTEST_S + step * STEP_S) * SAMPLE_RATE)


def window_start(recording: Recording, length: int, random: np.random.Generator) -> int:
    """Draw the first sample of a window with most of the voice, or mostly voice; may lie outside the clip."""
    first, last = recording.voice
    slack = int(MISSED_VOICE * min(length, last - first))
    low = min(first, last - length) - slack
    high = max(first, last - length) + slack
    return int(random.integers(low, high + 1))


def cut(waveform: NDArray[np.float32], start: int, length: int) -> NDArray[np.float32]:
    """Cut float32 [length] from `start`, zero-padded outside the waveform."""
    before, after = max(0, -start), max(0, start + length - len(waveform))
    inside = waveform[max(0, start) : max(0, min(len(waveform), start + length))]
    return np.pad(inside, (min(before, length), min(after, length)))[:length]


def random_window(recording: Recording, length: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Draw an augmented window: speed (and pitch), gain, and noise of random colour and level."""
    speed = random.uniform(*SPEEDS)
    needed = int(np.ceil(length * speed)) + 1
    source = cut(recording.waveform, window_start(recording, needed, random), needed)
    window = np.interp(np.arange(length) * speed, np.arange(needed), source).astype(np.float32)
    window = tilt(window, random.uniform(-0.3, 0.5)) if random.random() < 0.5 else window
    loudness = float(np.sqrt(np.mean(window**2))) + 1e-6
    noise = random.standard_normal(length, dtype=np.float32)
    if random.random() < 0.5:
        noise = tilt(noise, -0.9)
    noise *= loudness * 10 ** (-random.uniform(10, 60) / 20) / (float(np.std(noise)) + 1e-9)
    gain = 10 ** (random.uniform(-20, 20) / 20)
    return np.asarray(np.clip((window + noise) * gain, -1, 1), dtype=np.float32)


# Channels: what other microphones, rooms, networks and archives do to a voice. Float32 [n] in and out, same length.

TELEPHONE_HZ = (3_200.0, 7_500.0)
"""Range of the upper edge of a narrowed band."""


def channel_window(recording: Recording, length: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Draw a window as `random_window`, through a random channel: equaliser, narrow band, coding, clipping."""
    window = random_window(recording, length, random)
    if random.random() < 0.5:
        window = equalised(window, random)
    if random.random() < 0.25:
        window = narrowed(window, random)
    if random.random() < 0.15:
        window = coded(window, random)
    if random.random() < 0.1:
        loudest = float(np.abs(window).max())
        window = np.clip(window, -loudest * random.uniform(0.2, 0.7), loudest * random.uniform(0.2, 0.7))
    return np.asarray(window, np.float32)


def equalised(waveform: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Apply a smooth random frequency response, up to about ±12 dB."""
    frequencies = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE)
    mel = np.log1p(frequencies / 700)
    decibels = np.interp(mel, np.linspace(0, mel[-1], 8), random.normal(0, 1, 8) * random.uniform(0, 6))
    return _filtered(waveform, 10 ** (decibels / 20))


def narrowed(waveform: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Cut high frequencies off, and in two of five windows those below 300 Hz, as telephones do."""
    frequencies = np.fft.rfftfreq(len(waveform), 1 / SAMPLE_RATE)
    response = 1 / (1 + (frequencies / random.uniform(*TELEPHONE_HZ)) ** 24)
    if random.random() < 0.4:
        response /= 1 + (300 / np.maximum(frequencies, 1)) ** 8
    return _filtered(waveform, response)


def coded(waveform: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Quantise by μ-law with 6 to 8 bits, as coders do."""
    loudest = float(np.abs(waveform).max()) + 1e-6
    steps = float(random.choice([32, 64, 127]))
    compressed = np.sign(waveform) * np.log1p(255 * np.abs(waveform) / loudest) / np.log1p(255)
    rounded = np.round(compressed * steps) / steps
    return np.asarray(np.sign(rounded) * np.expm1(np.abs(rounded) * np.log1p(255)) / 255 * loudest, np.float32)


def _filtered(waveform: NDArray[np.float32], response: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(np.fft.irfft(np.fft.rfft(waveform) * response, len(waveform)), np.float32)


def tilt(waveform: NDArray[np.float32], amount: float) -> NDArray[np.float32]:
    """Raise (amount > 0) or lower (< 0) high frequencies by a first difference or sum, as microphones and rooms do."""
    changed = waveform.copy()
    changed[1:] -= np.float32(amount) * waveform[:-1]
    return changed


def mask_power(power: Tensor, random: np.random.Generator) -> Tensor:
    """Mask mel power float32 [N, T, bands] as `mask`: masked places become quiet; half of the clips keep all bands."""
    count, frames, bands = power.shape
    keep = power.new_ones(count, frames, bands)
    for row in range(count):
        if random.random() < 0.5:
            width = int(random.integers(0, bands // 6 + 1))
            low = int(random.integers(0, bands - width + 1))
            keep[row, :, low : low + width] = QUIET
        length = int(random.integers(0, frames // 8 + 1))
        start = int(random.integers(0, frames - length + 1))
        keep[row, start : start + length] = QUIET
    return power * keep


def mask(features: Tensor, bands: int, random: np.random.Generator) -> Tensor:
    """Apply SpecAugment (Park et al. 2019, arXiv:1904.08779): one band and two time masks per clip, also to slopes.

    features: float32 [N, 2 · bands, T]; masked places become 0, the mean.
    """
    count, _, frames = features.shape
    keep = features.new_ones(count, 2, bands, frames)
    for row in range(count):
        width = int(random.integers(0, bands // 6 + 1))
        low = int(random.integers(0, bands - width + 1))
        keep[row, :, low : low + width] = 0
        for _ in range(2):
            length = int(random.integers(0, frames // 8 + 1))
            start = int(random.integers(0, frames - length + 1))
            keep[row, :, :, start : start + length] = 0
    return features * keep.view(count, 2 * bands, frames)


# Windows for evaluation, as a live worker would cut them for the model.


@dataclass(frozen=True)
class Listening:
    """Longest and shortest window, and hop, of a live worker with a model, in seconds."""

    window_s: float = 3.0
    minimum_s: float = 1.0
    hop_s: float = 0.5

    @classmethod
    def of(cls, metadata: Metadata) -> Listening:
        """Read the values from a speech artifact's metadata; the default hop is 0.5 s."""
        return cls(metadata.window_s or 3.0, metadata.minimum_window_s or 1.0, metadata.interval_s or 0.5)


def centre_window(recording: Recording, listening: Listening = Listening()) -> NDArray[np.float32]:
    """Cut the centre window of a recording; all of a shorter one, zero-padded to the shortest window."""
    longest, shortest, _ = _samples(recording, listening)
    length = max(min(len(recording.waveform), longest), shortest)
    return cut(recording.waveform, (len(recording.waveform) - length) // 2, length)


def live_windows(recording: Recording, listening: Listening = Listening()) -> list[NDArray[np.float32]]:
    """Cut a window at each hop with voice: everything up to its end, but at most the longest window.

    A hop counts if it overlaps the voice, and by its end there was at least one hop of voice; a recording too short for
    that has its centre window only.
    """
    longest = _samples(recording, listening)[0]
    ends = live_ends(recording, listening)
    if not ends:
        return [centre_window(recording, listening)]
    return [recording.waveform[max(0, end - longest) : end] for end in ends]


def live_ends(recording: Recording, listening: Listening = Listening()) -> list[int]:
    """End of each live window in samples, exclusive; empty if `live_windows` gives the centre window."""
    _, shortest, hop = _samples(recording, listening)
    first, last = recording.voice
    return [
        end
        for end in range(shortest, len(recording.waveform) + 1, hop)
        if end - hop < last and min(end, last) - first >= hop
    ]


def voice_shares(recording: Recording, listening: Listening = Listening()) -> list[float]:
    """Share of voice in the newest hop of each live window, 0…1, as a worker's `voice`."""
    _, _, hop = _samples(recording, listening)
    first, last = recording.voice
    shares = [max(0.0, min(end, last) - max(end - hop, first)) / hop for end in live_ends(recording, listening)]
    return shares or [1.0]


def _samples(recording: Recording, listening: Listening) -> tuple[int, int, int]:
    seconds = (listening.window_s, listening.minimum_s, listening.hop_s)
    longest, shortest, hop = (round(value * recording.rate) for value in seconds)
    return longest, shortest, hop
