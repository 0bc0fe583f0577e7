"""States computed once: middles, live windows and windows through channels, each clip alike in every fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bimodal.training.datasets.ravdess import Clip, Recording, record
from bimodal.training.speech.pool import (
    KINDS,
    Pool,
    Windows,
    in_batches,
    states_batches,
    statistics_batches,
    windows_of,
)
from bimodal.training.speech.sound import centre_window, channel_window, coded, equalised, live_windows, narrowed
from tests.training.trees import tone


class Loudness(nn.Module):
    """An encoder with 25 states a second: the power of each stretch, and 1."""

    runs = 0

    def forward(self, waveform: Tensor) -> Tensor:
        self.runs += 1
        power = waveform[:, : waveform.shape[1] // 640 * 640].reshape(len(waveform), -1, 640).square().mean(dim=2)
        return torch.stack([power, torch.ones_like(power)], dim=2)


def statistics(states: Tensor) -> Tensor:
    """Length and mean power of each window."""
    return torch.stack([states[:, :, 1].sum(dim=1), states[:, :, 0].mean(dim=1)], dim=1)


def recording(name: str, seconds: float = 2.7) -> Recording:
    return record(Clip(Path(name), 1, 0), tone(220, seconds))


def test_a_clip_has_the_states_of_its_middle_live_windows_and_channels() -> None:
    heard = recording("a.wav")
    found = windows_of(Loudness(), heard, 4, 0.5, 0)
    assert [len(states) for states in found.centre] == [len(centre_window(heard)) // 640]
    assert [len(states) for states in found.live] == [len(window) // 640 for window in live_windows(heard)]
    assert len(found.changed) == 4
    assert {states.dtype for kind in found for states in kind} == {torch.float16}
    again = windows_of(Loudness(), heard, 4, 0.5, 0)
    assert all(torch.equal(a, b) for one, two in zip(found, again, strict=True) for a, b in zip(one, two, strict=True))


def test_a_clip_is_encoded_and_summed_up_once_for_all_folds(tmp_path: Path) -> None:
    some = [recording(str(tmp_path / f"{number}.wav")) for number in range(3)]
    encoder = Loudness()
    first = [Pool(encoder, 2, 0.0, 0).summary(each, statistics) for each in some]
    runs = encoder.runs
    again = Pool(encoder, 2, 0.0, 0)
    assert [again.summary(each, statistics) for each in some] == first
    assert encoder.runs == runs
    again.windows(some[0])
    assert encoder.runs == runs
    assert first[0].live[:, 0].tolist() == [len(window) // 640 for window in live_windows(some[0])]
    assert first[0].changed.shape == (2, 2)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40))
@settings(deadline=None, max_examples=30)
def test_batches_of_one_length_give_what_each_gives_alone(lengths: list[int]) -> None:
    states = [torch.full((length, 2), float(number), dtype=torch.float16) for number, length in enumerate(lengths)]
    found = in_batches(lambda batch: batch.sum(dim=1), states)
    assert found.dtype == torch.float32
    assert found.tolist() == [[number * length] * 2 for number, length in enumerate(lengths)]


@pytest.mark.parametrize("size", [1, 4, 9])
def test_an_epoch_of_statistics_takes_three_windows_of_every_clip(tmp_path: Path, size: int) -> None:
    pool = Pool(Loudness(), 2, 0.0, 0)
    some = [pool.summary(recording(str(tmp_path / f"{n}.wav"), 1.5 + n), statistics) for n in range(3)]
    batches = list(statistics_batches(some, size, np.random.default_rng(0)))
    assert len(batches) == KINDS * 3 // size
    rows = np.concatenate([rows for rows, _ in batches])
    assert np.bincount(rows, minlength=3).max() <= KINDS
    assert all(values.shape == (size, 2) for _, values in batches)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=8), st.integers(1, 6), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_an_epoch_of_states_takes_every_clip_as_often_as_wanted(times: list[int], size: int, seed: int) -> None:
    clips = [Windows(*((torch.full((5 + number, 2), float(number)),),) * KINDS) for number in range(len(times))]
    epoch = np.repeat(np.arange(len(times)), times)
    batches = list(states_batches(clips, epoch, size, np.random.default_rng(seed)))
    assert len(batches) == len(epoch) // size
    for rows, states in batches:
        assert states.shape == (size, 5 + rows.min(), 2)
        assert states[:, 0, 0].tolist() == rows.tolist()
    found = np.bincount(np.concatenate([rows for rows, _ in batches] or [np.zeros(0, np.int64)]), minlength=len(times))
    assert (found <= times).all()
    assert found.sum() == len(epoch) // size * size


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
