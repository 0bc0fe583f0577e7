"""Simulated recording conditions: other gain, noise, a source of another rate, a small room. Pure and seeded.

Live workers meet all of these: microphones differ in gain, rooms in noise and echo, sources in rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from bimodal.training.datasets.ravdess import Recording

Sound: TypeAlias = "NDArray[np.float32]"
Change: TypeAlias = "Callable[[Sound, int, np.random.Generator], Sound]"

RESAMPLER = "HQ"
"""Default resampling quality of live workers."""
FULL_SCALE = 32767
ROOM_DECAY_S = 0.3
ROOM_DIRECT_DB = 3.0


def microphone(waveform: Sound, decibels: float) -> Sound:
    """Change the gain as before a 16-bit sound card: clipped when loud, rounded when soft."""
    loud = np.clip(waveform * np.float32(10 ** (decibels / 20)), -1, 1)
    return np.asarray(np.round(loud * FULL_SCALE) / FULL_SCALE, np.float32)


def white_noise(waveform: Sound, decibels: float, random: np.random.Generator) -> Sound:
    """Add white noise, so many decibels below the mean power of the sound including pauses."""
    return _mixed(waveform, random.standard_normal(len(waveform)), decibels)


def pink_noise(waveform: Sound, decibels: float, random: np.random.Generator) -> Sound:
    """Add pink noise (power ∝ 1/f), so many decibels below the mean power of the sound."""
    spectrum = np.fft.rfft(random.standard_normal(len(waveform)))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    return _mixed(waveform, np.fft.irfft(spectrum, len(waveform)), decibels)


def other_source(waveform: Sound, rate: int, source: int) -> Sound:
    """Simulate a source with rate `source`: resample to it and back as live workers do, keeping the length."""
    given = soxr.resample(waveform, rate, source, quality=RESAMPLER)
    back = np.asarray(soxr.resample(given, source, rate, quality=RESAMPLER), np.float32)[: len(waveform)]
    return np.clip(np.pad(back, (0, len(waveform) - len(back))), -1, 1)


def small_room(waveform: Sound, rate: int, random: np.random.Generator) -> Sound:
    """Simulate a small room: reverberation falls by 60 dB in 0.3 s and is 3 dB softer than the direct sound."""
    return echoed(waveform, impulse_response(rate, random, ROOM_DECAY_S, ROOM_DIRECT_DB))


def _mixed(waveform: Sound, noise: NDArray[np.floating], decibels: float) -> Sound:
    loudness, of_noise = (float(np.sqrt(np.mean(np.square(sound)))) for sound in (waveform, noise))
    level = loudness * 10 ** (-decibels / 20) / (of_noise + 1e-9)
    return np.clip(waveform + noise * level, -1, 1).astype(np.float32)


CONDITIONS: Mapping[str, Change] = MappingProxyType(
    {
        "gain -20 dB": lambda sound, _rate, _random: microphone(sound, -20),
        "gain +20 dB, clipped": lambda sound, _rate, _random: microphone(sound, 20),
        "white noise at 20 dB": lambda sound, _rate, random: white_noise(sound, 20, random),
        "white noise at 10 dB": lambda sound, _rate, random: white_noise(sound, 10, random),
        "pink noise at 20 dB": lambda sound, _rate, random: pink_noise(sound, 20, random),
        "source of 8 kHz": lambda sound, rate, _random: other_source(sound, rate, 8_000),
        "source of 44.1 kHz": lambda sound, rate, _random: other_source(sound, rate, 44_100),
        "source of 48 kHz": lambda sound, rate, _random: other_source(sound, rate, 48_000),
        "small room": small_room,
    }
)
"""The conditions under which a speech model is measured, by name."""


def under_condition(name: str, windows: Sequence[Sound], rate: int) -> list[Sound]:
    """Apply a condition of CONDITIONS to windows float32 [S]: same length, in −1…1, deterministic."""
    change, place = CONDITIONS[name], list(CONDITIONS).index(name)
    return [change(window, rate, np.random.default_rng((place, seed))) for seed, window in enumerate(windows)]


# Simulated rooms: convolution with exponentially decaying noise (Moorer 1979's simple model).

DECAY_S = (0.15, 0.7)
"""Range of RT60 in seconds: from a furnished room to a bare one."""
DIRECT_DB = (-3.0, 12.0)
"""Range of the direct sound's level over the reverberation's."""
FIRST_S = 0.003


def impulse_response(
    rate: int, random: np.random.Generator, decay_s: float | None = None, direct_db: float | None = None
) -> NDArray[np.float32]:
    """Make an impulse response: the direct sound (1), then noise that decays by 60 dB. float32 [S].

    Args:
        decay_s: seconds of that decay; drawn from DECAY_S if None.
        direct_db: level of the direct sound over the noise; drawn from DIRECT_DB if None.
    """
    decay_s = random.uniform(*DECAY_S) if decay_s is None else decay_s
    time_s = np.arange(round(decay_s * rate)) / rate
    room = random.standard_normal(len(time_s)) * 10 ** (-3 * time_s / decay_s) * (time_s >= FIRST_S)
    level = 10 ** (-(random.uniform(*DIRECT_DB) if direct_db is None else direct_db) / 20)
    room *= level / (float(np.sqrt(np.sum(room**2))) + 1e-9)
    room[0] = 1.0
    return np.asarray(room, np.float32)


def echoed(waveform: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convolve a sound with an impulse response, keeping length and loudness, in −1…1."""
    from scipy.signal import fftconvolve  # the other conditions work without scipy

    wet = fftconvolve(waveform, response)[: len(waveform)]
    before, after = (float(np.sqrt(np.mean(np.square(sound)))) for sound in (waveform, wet))
    scaled = wet * (before / after) if after > 0 else wet
    return np.asarray(np.clip(scaled, -1, 1), np.float32)


def in_a_room(recording: Recording, random: np.random.Generator) -> Recording:
    """Simulate a recording in a random room, keeping length and loudness."""
    return replace(recording, waveform=echoed(recording.waveform, impulse_response(recording.rate, random)))
