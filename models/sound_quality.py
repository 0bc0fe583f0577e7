"""How well a voice can be heard in a window of sound: noise, bandwidth, clipping. Pure numpy.

The audio worker measures each window once; models/doubt.py says from where on a measure matters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Sound = NDArray[np.float32]
Power = NDArray[np.float64]

FRAME_S = 0.032
BAND_HZ = 250.0
LOUDEST, LOUD_DB = 0.98, 20.0
"""Frames within so many dB of this quantile of the levels are the voice: it may fill but a small part of a window."""
SILENCE_DBFS = -90.0
"""Quieter frames hold no sound at all (padding, a muted microphone, a noise gate), and say nothing about the noise."""
QUIETEST = 0.1
"""The quantile over time that is taken for the noise of a band: between words, and between the tones of a voice."""
MOST_DB = 60.0
REACH_DB = -50.0
"""A band belongs to the voice where its loudest frames are at most so far below the loudest band."""
NEAR_PEAK, FLAT_S = 0.985, 1 / 16_000
"""Samples from this share of the largest one on are at full scale, where the sound is there for so many seconds."""


class SoundQuality(NamedTuple):
    """Measures of one window.

    Attributes:
        snr_db: level of the voice over the noise, -20 to 60.
        bandwidth_hz: highest frequency that the voice reaches, in steps of 250 Hz, at most half of the rate.
        clipped: share of samples cut off at full scale, 0…1.
    """

    snr_db: float
    bandwidth_hz: float
    clipped: float


def sound_quality(heard: Sound, rate: int, given: Sound, given_rate: int) -> SoundQuality:
    """Measure a window that holds a voice.

    Args:
        heard: float32 [n] at `rate` Hz, as the speech model hears it.
        given: the same float32 [m] at the source's own rate, where clipped samples still lie next to each other.
    """
    power = band_power(heard, rate)
    return SoundQuality(snr_db(power), bandwidth_hz(power), clipped_share(given, given_rate))


def band_power(sound: Sound, rate: int) -> Power:
    """Power of float32 [n] in frames of 32 ms, each half a frame after the last, and bands of 250 Hz: [frames, bands].

    The sum over a frame's bands is its mean square, 1.0 being full scale. A shorter sound is padded with zeros.
    """
    size = max(2, round(FRAME_S * rate))
    padded = np.pad(sound, (0, max(0, size - sound.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: max(1, size // 2)]
    taper = np.hanning(size).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(frames * taper, axis=1)) ** 2 * (2.0 / (size * float(np.sum(taper**2))))
    per_band = max(1, round(BAND_HZ * size / rate))
    count = spectrum.shape[1] // per_band
    bands = spectrum[:, : count * per_band].reshape(len(spectrum), count, per_band)
    return np.asarray(bands.sum(axis=2), np.float64)


def _voice(power: Power) -> Power:
    """The frames within LOUD_DB of the loudest ones."""
    level = power.sum(axis=1)
    least = float(np.quantile(level, LOUDEST)) * 10 ** (-LOUD_DB / 10)
    return np.asarray(power[level >= least])


def snr_db(power: Power) -> float:
    """Level of the voice over the noise in dB: of [frames, bands], the loud frames over each band's quiet ones.

    A window without a quiet moment reads lower than it is: the voice itself fills the bands then.
    """
    level = power.sum(axis=1)
    sounding = power[level > 10 ** (SILENCE_DBFS / 10)]
    if not len(sounding):
        return 0.0
    noise = float(np.quantile(sounding, QUIETEST, axis=0).sum())
    voice = float(_voice(sounding).mean(axis=0).sum()) - noise
    if noise <= 0:
        return MOST_DB
    return float(np.clip(10 * np.log10(max(voice, 1e-12) / noise), -20.0, MOST_DB))


def bandwidth_hz(power: Power) -> float:
    """Highest frequency of [frames, bands] up to which some of the loud frames reach REACH_DB of the loudest band."""
    bands = np.quantile(_voice(power), 0.9, axis=0)
    reached = np.flatnonzero(bands >= bands.max() * 10 ** (REACH_DB / 10))
    return float((reached[-1] + 1) * BAND_HZ) if bands.max() > 0 else 0.0


def clipped_share(sound: Sound, rate: int) -> float:
    """Share of samples of float32 [n] that lie at the largest value, and stay there for FLAT_S, 0…1.

    Gain after the clipping changes nothing; resampling afterwards hides it.
    """
    peak = float(np.abs(sound).max(initial=0.0))
    step = max(1, round(FLAT_S * rate))
    if peak <= 0 or sound.size <= step:
        return 0.0
    flat = [side[step:] & side[:-step] for side in (sound >= NEAR_PEAK * peak, sound <= -NEAR_PEAK * peak)]
    return float(np.mean(flat[0] | flat[1]))
