"""Sound under other conditions: what changes, by how much, and that it is the same in every run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.training.evaluate.conditions import (
    CONDITIONS,
    microphone,
    other_source,
    pink_noise,
    small_room,
    under_condition,
    white_noise,
)
from tests.training.trees import tone

RATE = 16_000


def decibels(signal: NDArray[np.floating], noise: NDArray[np.floating]) -> float:
    return float(10 * np.log10(np.mean(np.square(signal)) / np.mean(np.square(noise))))


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(sorted(CONDITIONS)), st.integers(1, 3 * RATE), st.floats(0, 1))
def test_every_condition_keeps_length_and_range(name: str, samples: int, loudness: float) -> None:
    sound = (loudness * np.sin(np.arange(samples) / 5)).astype(np.float32)
    first, second = under_condition(name, [sound, sound], RATE)
    for changed in (first, second):
        assert changed.shape == sound.shape
        assert changed.dtype == np.float32
        assert np.isfinite(changed).all()
        assert np.abs(changed).max() <= 1
    assert np.array_equal(first, under_condition(name, [sound], RATE)[0])


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_every_condition_changes_speech(name: str) -> None:
    sound = tone(440, 1.5) + np.random.default_rng(0).normal(0, 0.01, 24_000).astype(np.float32)
    assert np.abs(under_condition(name, [sound], RATE)[0] - sound).max() > 1e-5


@pytest.mark.parametrize("noise", [white_noise, pink_noise])
@pytest.mark.parametrize("wanted", [20.0, 10.0])
def test_noise_lies_as_far_below_the_sound_as_asked_for(noise, wanted: float) -> None:  # type: ignore[no-untyped-def]
    sound = tone(300, 2.0)
    changed = noise(sound, wanted, np.random.default_rng(1))
    assert decibels(sound, changed - sound) == pytest.approx(wanted, abs=0.1)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    sound = np.full(RATE * 4, 1e-3, np.float32)
    power = np.abs(np.fft.rfft(pink_noise(sound, 20, np.random.default_rng(2)) - sound)) ** 2
    octaves = [power[low : 2 * low].mean() for low in (400, 800, 1600, 3200, 6400)]
    falls = -10 * np.diff(np.log10(octaves))
    assert falls == pytest.approx([3.0] * 4, abs=0.8)


def test_a_loud_microphone_clips_and_a_soft_one_rounds() -> None:
    sound = tone(200, 1.0)  # 0.3 at its loudest
    assert np.mean(np.abs(microphone(sound, 20)) == 1) > 0.5
    soft = microphone(sound, -20)
    assert np.abs(soft - 0.1 * sound).max() <= 0.5 / 32767 + 1e-7
    assert len(np.unique(soft)) < 2 * 0.03 * 32767 + 3


def test_a_source_of_8_khz_has_nothing_above_4_khz() -> None:
    low, high = (np.sin(2 * np.pi * hertz * np.arange(RATE) / RATE).astype(np.float32) * 0.5 for hertz in (1000, 6000))
    inside = slice(RATE // 10, -RATE // 10)
    assert decibels(low[inside], (other_source(low, RATE, 8_000) - low)[inside]) > 60
    assert decibels(high[inside], other_source(high, RATE, 8_000)[inside]) > 60
    for rate in (44_100, 48_000):
        assert decibels(high[inside], (other_source(high, RATE, rate) - high)[inside]) > 60


def test_a_room_goes_on_sounding_for_a_third_of_a_second() -> None:
    click = np.zeros(RATE, np.float32)
    click[RATE // 10] = 0.5
    heard = small_room(click, RATE, np.random.default_rng(0))
    assert np.abs(heard[: RATE // 10]).max() < 1e-6  # nothing before the click
    after = np.flatnonzero(np.abs(heard) > 1e-6)[-1] / RATE - 0.1
    assert 0.28 < after <= 0.3
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(np.sqrt(np.mean(click**2)), rel=1e-3)
