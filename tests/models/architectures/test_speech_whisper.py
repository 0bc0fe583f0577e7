"""The front end equals Whisper's, gain matters nothing, and the encoder starts from another's lower part."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bimodal.models.architectures.speech_compact import SpeechGraph
from bimodal.models.architectures.speech_whisper import (
    PLACES,
    WIDE,
    SpeechHeads,
    SpeechWhisper,
    WhisperFrontEnd,
    WhisperStates,
    load_layers,
)


def sound(samples: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


@pytest.fixture(scope="module")
def graph() -> SpeechGraph:
    torch.manual_seed(0)
    lower, upper = WhisperStates().eval(), SpeechWhisper().eval()
    with torch.inference_mode():
        heard = [upper.statistics(lower(torch.from_numpy(sound(16_000, seed))[None])) for seed in range(3)]
        upper.heads.normalise_by(torch.cat(heard))
    return SpeechGraph(lower, upper, 1.0).eval()


@pytest.mark.parametrize("samples", [16_000, 20_037, 48_000])
def test_the_front_end_equals_whispers(samples: int) -> None:
    waveform = sound(samples)
    levelled = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    power = librosa.feature.melspectrogram(
        y=levelled, sr=16_000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"
    )[:, :-1]
    bands = np.log10(np.maximum(power, 1e-10))
    expected = (np.maximum(bands, bands.max() - 8) + 4) / 4
    assert np.abs(WhisperFrontEnd()(torch.from_numpy(waveform)[None])[0].numpy() - expected).max() < 1e-3


@pytest.mark.parametrize("gain", [0.05, 1.0, 5.0])
def test_the_gain_of_the_microphone_does_not_matter(graph: SpeechGraph, gain: float) -> None:
    waveform = torch.from_numpy(sound(24_000))[None]
    with torch.inference_mode():
        assert torch.allclose(graph(waveform), graph(gain * waveform + 0.01), atol=1e-2)


@pytest.mark.parametrize("samples", [16_000, 48_000, 128_000])
def test_windows_of_any_length_and_silence_give_probabilities(graph: SpeechGraph, samples: int) -> None:
    with torch.inference_mode():
        for waveform in (torch.from_numpy(sound(samples))[None], torch.zeros(2, samples)):
            found = graph(waveform)
            assert torch.isfinite(found).all()
            assert torch.allclose(found.sum(dim=1), torch.ones(len(found)), atol=1e-5)


def test_it_starts_from_an_encoders_lower_part_of_which_the_first_layer_never_learns() -> None:
    whole = WhisperStates(layers=3)
    state = {f"layers.{name}": values for name, values in whole.layers.state_dict().items()}
    state |= {name: values for name, values in whole.stem.state_dict().items() if name.startswith("conv")}
    state["embed_positions.weight"] = torch.randn(2 * PLACES, WIDE)
    lower, upper = WhisperStates(), SpeechWhisper()
    lower.start_from(state)
    load_layers(upper.layers, state, len(lower.layers))
    assert torch.equal(lower.state_dict()["layers.0.fc1.weight"], state["layers.0.fc1.weight"])
    assert torch.equal(upper.state_dict()["layers.0.fc1.weight"], state["layers.1.fc1.weight"])
    assert torch.allclose(lower.stem.places[3], state["embed_positions.weight"][6:8].mean(dim=0), atol=1e-6)
    assert not any(values.requires_grad for values in lower.parameters())
    assert all(values.requires_grad for values in upper.parameters())


def test_statistics_are_mean_and_deviation_of_both_layers() -> None:
    upper, states = SpeechWhisper().eval(), torch.randn(2, 9, WIDE)
    found = upper.statistics(states)
    above = upper.layers[0](states)
    parts = [part for sound in (states, above) for part in (sound.mean(dim=1), sound.std(dim=1, unbiased=False))]
    assert torch.allclose(found, torch.cat(parts, dim=1), atol=1e-5)
    assert torch.allclose(upper(states), torch.stack(upper.each(states)).mean(dim=0), atol=1e-6)


def test_logits_of_the_heads_are_averaged() -> None:
    heads = SpeechHeads(20, hidden=((8, 0.1), (4, 0.2))).eval()
    statistics = torch.randn(3, 20)
    heads.normalise_by(torch.randn(50, 20))
    one, two = heads.each(statistics)
    assert torch.allclose(heads(statistics), (one + two) / 2)
