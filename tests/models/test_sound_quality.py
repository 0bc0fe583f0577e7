"""Noise, bandwidth and clipping are measured in a made voice, whatever its level and rate."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bimodal.models.doubt import voice_doubts
from bimodal.models.sound_quality import SoundQuality, band_power, clipped_share, sound_quality

RATE = 16_000


def voice(seconds: float = 3.0, rate: int = RATE) -> NDArray[np.float32]:
    """Syllables of a voice of 140 Hz with its overtones, and hisses between them, over a faint noise."""
    random = np.random.default_rng(3)
    time_s = np.arange(round(seconds * rate)) / rate
    overtones = np.arange(1, rate // 2 // 140)
    tones = sum(np.sin(2 * np.pi * 140 * n * time_s) / n**1.5 for n in overtones)
    phase = time_s % 0.4
    hiss = np.diff(random.standard_normal(len(time_s) + 1)) * 0.15 * (phase > 0.33)
    sound = np.asarray(tones) * np.clip(np.sin(np.pi * phase / 0.3), 0, None) * (phase < 0.3) + hiss
    sound = 0.3 * sound / np.abs(sound).max() + 2e-4 * random.standard_normal(len(time_s))
    return sound.astype(np.float32)


def of(sound: NDArray[np.float32], rate: int = RATE) -> SoundQuality:
    heard = sound if rate == RATE else soxr.resample(sound, rate, RATE)
    return sound_quality(np.asarray(heard, np.float32), RATE, sound, rate)


def noisy(decibels: float) -> NDArray[np.float32]:
    sound = voice()
    noise = np.random.default_rng(5).standard_normal(len(sound))
    level = float(np.sqrt(np.mean(sound**2))) * 10 ** (-decibels / 20)
    return (sound + level * noise).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_a_clear_voice_has_no_doubts(rate: int) -> None:
    found = of(voice(rate=rate), rate)
    assert voice_doubts(*found).reasons == ()
    assert found.bandwidth_hz >= 7000
    assert found.snr_db > 25
    assert found.clipped < 0.01


def test_a_telephone_is_narrow_and_nothing_else() -> None:
    at_8_khz = soxr.resample(voice(), RATE, 8_000)
    found = of(np.asarray(at_8_khz, np.float32), 8_000)
    assert found.bandwidth_hz <= 4000
    assert voice_doubts(*found).reasons == ("voice is narrow-band (telephone)",)


def test_a_telephone_in_a_wide_recording_is_narrow_too() -> None:
    there_and_back = soxr.resample(soxr.resample(voice(), RATE, 7_000), 7_000, RATE)
    assert of(np.asarray(there_and_back, np.float32)).bandwidth_hz <= 3750


@pytest.mark.parametrize("gain", [1.0, 0.2])
def test_clipping_is_seen_though_the_gain_was_lowered_after_it(gain: float) -> None:
    sound = gain * np.clip(voice() * 12, -1, 1)
    found = of(sound.astype(np.float32))
    assert found.clipped > 0.02
    assert "voice is clipped" in voice_doubts(*found).reasons


def test_noise_is_measured_within_a_few_decibels() -> None:
    levels = [of(noisy(decibels)).snr_db for decibels in (30, 20, 10, 0)]
    assert levels == sorted(levels, reverse=True)
    for wanted, found in zip((20, 10, 0), levels[1:], strict=True):
        assert wanted - 2 <= found <= wanted + 7
    assert voice_doubts(*of(noisy(5))).reasons == ("voice is noisy",)


def test_silence_before_a_voice_is_not_its_noise_nor_part_of_it() -> None:
    padded = np.concatenate([np.zeros(2 * RATE, np.float32), voice(1.0)])
    assert voice_doubts(*of(padded)).reasons == ()


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 3_000), elements=st.floats(-1, 1, width=32)))
def test_any_sound_gives_numbers_that_are_some(sound: NDArray[np.float32]) -> None:
    found = sound_quality(sound, RATE, sound, RATE)
    assert all(np.isfinite(value) for value in found)
    assert 0 <= found.clipped <= 1
    assert 0 <= found.bandwidth_hz <= RATE / 2


def test_band_power_adds_up_to_the_mean_square() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    assert band_power(tone, RATE).sum(axis=1) == pytest.approx(0.5, rel=0.01)


def test_a_sine_is_not_clipped_and_silence_neither() -> None:
    assert clipped_share(np.zeros(100, np.float32), RATE) == 0.0
    sine = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32)
    assert clipped_share(np.array([0.5], np.float32), RATE) == 0.0
    assert clipped_share(sine, RATE) < 0.1
