"""Statistics computed once: middles, live windows and windows through channels, each clip alike in every fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bimodal.training.datasets.ravdess import Clip, Recording, record
from bimodal.training.speech.pool import KINDS, Pool, summary_of
from bimodal.training.speech.sound import centre_window, channel_window, coded, equalised, live_windows, narrowed
from tests.training.trees import tone


class Lengths(nn.Module):
    """An encoder whose statistics are the length and the power of a window."""

    runs = 0

    def forward(self, waveform: Tensor) -> Tensor:
        self.runs += 1
        return torch.stack(
            [torch.full((len(waveform),), float(waveform.shape[1])), waveform.square().mean(dim=1)], dim=1
        )


def recording(name: str, seconds: float = 2.7) -> Recording:
    return record(Clip(Path(name), 1, 0), tone(220, seconds))


def test_a_clip_is_summed_up_by_its_middle_live_windows_and_channels() -> None:
    heard = recording("a.wav")
    found = summary_of(Lengths(), heard, 4, 0.5, 0)
    assert found.centre[0, 0] == len(centre_window(heard))
    assert found.live[:, 0].tolist() == [len(window) for window in live_windows(heard)]
    assert found.changed.shape == (4, 2)
    again = summary_of(Lengths(), heard, 4, 0.5, 0)
    assert all(torch.equal(one, two) for one, two in zip(found, again, strict=True))


def test_a_clip_is_encoded_once_for_all_folds(tmp_path: Path) -> None:
    some = [recording(str(tmp_path / f"{number}.wav")) for number in range(3)]
    encoder = Lengths()
    Pool(encoder, some, 2, 0.0, 0)
    runs = encoder.runs
    pool = Pool(encoder, some[1:], 2, 0.0, 0)
    assert encoder.runs == runs
    assert len(pool.all()) == 2 * (1 + (len(live_windows(some[0])) + 1) // 2 + 1)


@pytest.mark.parametrize("size", [1, 4, 9])
def test_an_epoch_takes_three_windows_of_every_clip(tmp_path: Path, size: int) -> None:
    some = [recording(str(tmp_path / f"{number}.wav"), 1.5 + number) for number in range(3)]
    batches = list(Pool(Lengths(), some, 2, 0.0, 0).batches(size, np.random.default_rng(0)))
    assert len(batches) == KINDS * 3 // size
    rows = np.concatenate([rows for rows, _ in batches])
    assert np.bincount(rows, minlength=3).max() <= KINDS
    assert all(statistics.shape == (size, 2) for _, statistics in batches)


@settings(deadline=None, max_examples=30)
@given(st.integers(8_000, 48_000), st.integers(0, 10_000))
def test_channels_keep_length_and_give_finite_sound(samples: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    sound = random.normal(0, 0.1, samples).astype(np.float32)
    for change in (equalised, narrowed, coded):
        changed = change(sound, random)
        assert (changed.shape, changed.dtype) == (sound.shape, np.float32)
        assert np.isfinite(changed).all()
    window = channel_window(recording("a.wav"), samples, random)
    assert (window.shape, window.dtype) == ((samples,), np.float32)
    assert np.isfinite(window).all()


def test_a_telephone_has_no_high_frequencies() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(narrowed(noise, np.random.default_rng(3))))
    assert spectrum[15_600:].mean() < 0.05 * spectrum[4_000:6_000].mean()
