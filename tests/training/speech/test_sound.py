"""The front end in the graph equals librosa; windows are cut as a live worker cuts them."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.models.architectures.speech_compact import POWER_FLOOR, FrontEnd, LogMel, SpeechCompact
from bimodal.training.datasets.ravdess import Clip, Recording, record
from bimodal.training.speech.sound import Listening, centre_window, cut, live_windows, mask, random_window, window_start
from tests.training.trees import tone

CLIP = Clip(Path("03-01-01-01-01-01-01.wav"), 1, 0)


@pytest.mark.parametrize("samples", [16_000, 20_037, 48_000])
@pytest.mark.parametrize("kind", ["noise", "tone", "silence"])
def test_the_front_end_equals_librosa(samples: int, kind: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, samples).astype(np.float32)
    waveform = {"noise": noise, "tone": tone(440, samples / 16_000), "silence": 0 * noise}[kind]
    mel = librosa.feature.melspectrogram(
        y=np.pad(waveform, 56), sr=16_000, n_fft=512, win_length=400, hop_length=160, center=False, n_mels=64
    )
    found = LogMel()(torch.from_numpy(waveform)[None])[0].numpy()
    assert found.shape == mel.shape
    assert np.abs(found - np.log(mel + POWER_FLOOR)).max() < 1e-3


@pytest.mark.parametrize("gain", [0.003, 0.1, 3.0])
def test_the_gain_of_the_microphone_does_not_matter(gain: float) -> None:
    sound = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, (1, 32_000)).astype(np.float32))
    assert torch.allclose(FrontEnd()(sound), FrontEnd()(gain * sound + 0.01), atol=1e-3)


def test_silence_gives_finite_logits() -> None:
    assert torch.isfinite(SpeechCompact().eval()(FrontEnd()(torch.zeros(1, 16_000)))).all()


@given(st.integers(-50, 150), st.integers(1, 120))
def test_cut_pads_what_lies_outside_with_zeros(start: int, length: int) -> None:
    waveform = np.arange(1, 101, dtype=np.float32)
    expected = [waveform[place] if 0 <= place < 100 else 0 for place in range(start, start + length)]
    assert np.array_equal(cut(waveform, start, length), expected)


@settings(deadline=None, max_examples=50)
@given(st.integers(16_000, 90_000), st.integers(0, 10_000), st.integers(0, 1000))
def test_random_windows_hold_most_of_the_voice(samples: int, seed: int, place: int) -> None:
    random = np.random.default_rng(seed)
    first = place * (samples - 9_000) // 1000
    recording = Recording(CLIP, np.zeros(samples, np.float32), (first, first + 8_000))
    length = int(random.integers(16_000, 48_001))
    start = window_start(recording, length, random)
    assert min(start + length, first + 8_000) - max(start, first) >= 0.69 * 8_000


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 1000))
def test_augmented_windows_are_sound(seed: int) -> None:
    window = random_window(record(CLIP, tone(200, 2.0)), 24_000, np.random.default_rng(seed))
    assert window.dtype == np.float32
    assert window.shape == (24_000,)
    assert np.isfinite(window).all()
    assert np.abs(window).max() <= 1
    assert window.std() > 0


@given(st.floats(0.2, 8), st.floats(1, 3), st.floats(0.25, 1))
@settings(deadline=None, max_examples=50)
def test_windows_keep_to_the_lengths_of_the_model(seconds: float, window_s: float, hop_s: float) -> None:
    recording = Recording(CLIP, np.ones(round(seconds * 16_000), np.float32), (0, round(seconds * 16_000)))
    listening = Listening(window_s, 1.0, hop_s)
    for window in [centre_window(recording, listening), *live_windows(recording, listening)]:
        assert 16_000 <= len(window) <= round(window_s * 16_000)


def test_live_windows_end_each_hop_while_the_voice_speaks() -> None:
    waveform = np.arange(6 * 16_000, dtype=np.float32)
    windows = live_windows(Recording(CLIP, waveform, (24_000, 48_000)))  # voice from 1.5 to 3 s
    ends = [(window[-1] + 1) / 16_000 for window in windows]
    assert ends == [2.0, 2.5, 3.0]
    assert [len(window) / 16_000 for window in windows] == [2.0, 2.5, 3.0]


def test_masks_cover_bands_and_slopes_alike() -> None:
    masked = mask(torch.ones(4, 128, 100), 64, np.random.default_rng(3))
    assert torch.equal(masked[:, :64], masked[:, 64:])
    assert set(masked.unique().tolist()) == {0.0, 1.0}
