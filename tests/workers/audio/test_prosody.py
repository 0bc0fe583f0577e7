"""How a voice sounds: sounds made of known pitch, loudness and syllables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.workers.audio.prosody import fundamental, loudness_lufs, loudness_of, speaking_rate, with_voice

RATE = 16_000


def buzz(hertz: float, seconds: float, rate: int = RATE, level: float = 0.2) -> NDArray[np.float32]:
    """A sound with ten harmonics, as vocal folds make it."""
    time = np.arange(round(seconds * rate)) / rate
    harmonics = [np.sin(2 * math.pi * hertz * n * time) / n for n in range(1, 11) if hertz * n < rate / 2]
    return (level * np.sum(harmonics, axis=0)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.floats(70, 480), st.sampled_from([8_000, 16_000, 22_050]))
def test_the_pitch_of_a_periodic_sound_is_found(hertz: float, rate: int) -> None:
    found = fundamental(buzz(hertz, 0.5, rate), rate)
    assert np.median(found) == pytest.approx(hertz, rel=0.01)
    assert (found > 0).mean() > 0.9


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    assert (fundamental(noise, RATE) > 0).mean() < 0.05
    assert not fundamental(np.zeros(RATE, np.float32), RATE).any()
    assert fundamental(np.zeros(5, np.float32), RATE).size == 0


def test_pitch_is_found_in_noise() -> None:
    noisy = buzz(150, 0.5) + np.random.default_rng(1).normal(0, 0.02, RATE // 2).astype(np.float32)
    found = fundamental(noisy, RATE)
    assert np.median(found[found > 0]) == pytest.approx(150, rel=0.02)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_loudness_is_that_of_the_recommendation(rate: int) -> None:
    """BS.1770: a sine of 997 Hz at full scale in one channel has −3.01 LKFS; low tones count for less."""
    time = np.arange(rate) / rate
    assert loudness_lufs(np.sin(2 * math.pi * 997 * time).astype(np.float32), rate) == pytest.approx(-3.01, abs=0.02)
    low = loudness_lufs(np.sin(2 * math.pi * 30 * time).astype(np.float32), rate)
    assert low < -8
    assert loudness_lufs(np.zeros(rate, np.float32), rate) == -120


def test_loudness_follows_the_level() -> None:
    quiet, loud = (loudness_of(buzz(200, 0.5, level=level), RATE) for level in (0.02, 0.2))
    assert loud.loudness_dbfs - quiet.loudness_dbfs == pytest.approx(20, abs=0.01)
    assert loud.loudness_lufs - quiet.loudness_lufs == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("count", [4, 8, 12])
def test_syllables_are_counted(count: int) -> None:
    """Bursts of voice with pauses of a tenth of a second's dip between them, in three seconds."""
    time = np.arange(3 * RATE) / RATE
    swell = 0.5 - 0.5 * np.cos(2 * math.pi * time * count / 3)
    sound = (buzz(140, 3) * (0.05 + swell)).astype(np.float32)
    voiced = np.ones(94, bool)
    assert speaking_rate(sound, RATE, voiced, 0.032) == pytest.approx(count / 3, abs=0.4)


def test_without_voice_there_is_no_rate_and_no_pitch() -> None:
    assert speaking_rate(buzz(140, 1), RATE, np.zeros(31, bool), 0.032) is None
    silence = np.zeros(RATE, np.float32)
    found = with_voice(loudness_of(silence[:8000], RATE), silence, RATE, 0.5, np.zeros(31, bool), 0.032)
    assert (found.f0_hz, found.rate_hz, found.voiced) == (None, None, 0.0)


def test_a_hop_has_its_own_pitch_and_not_that_of_the_window() -> None:
    sound = np.concatenate((buzz(110, 1), buzz(220, 0.5)))
    found = with_voice(loudness_of(sound[-8000:], RATE), sound, RATE, 0.5, np.ones(46, bool), 0.032)
    assert found.f0_hz == pytest.approx(220, rel=0.01)
    assert found.f0_low_hz <= found.f0_hz <= found.f0_high_hz
    assert found.voiced > 0.8
