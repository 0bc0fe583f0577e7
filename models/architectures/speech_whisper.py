"""speech-whisper: emotion from the lower layers of a speech recogniser's encoder, and the front end of its graph.

Whisper-tiny's encoder (Radford et al. 2022, arXiv:2212.04356, MIT) as it was trained further for Smart Turn v3 (Daily,
BSD-2-Clause), which ships in the package `pipecat-ai`: log-mel bands, two convolutions, then layers of self-attention.
Only the first two layers are used, on pairs of frames averaged to 25 a second: half of the work for 0.01 of UAR. The
first stays as it came; the second learns further, with two small networks on mean and deviation over time of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bimodal.models.architectures.speech_compact import SAMPLE_RATE

WINDOW, HOP = 400, 160  # 25 ms and 10 ms
BANDS = 80
WIDE, HEADS = 384, 6
PLACES = 200
"""Positions at 25 frames a second: 8 s, as many as the encoder was trained with."""
RANGE = 8.0  # of the log-mel bands, in powers of ten below the loudest


class WhisperFrontEnd(nn.Module):
    """Whisper's log-mel bands: waveform float32 [N, S], S ≥ 400 → float32 [N, 80, S / 160], at any gain.

    Equals WhisperFeatureExtractor with do_normalize within 1e-3, of a sound that is not padded.
    """

    kernels: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        angle = 2 * np.pi * np.outer(np.arange(WINDOW // 2 + 1), np.arange(WINDOW)) / WINDOW
        kernels = np.concatenate([np.cos(angle), np.sin(angle)]) * window
        self.register_buffer("kernels", torch.tensor(kernels[:, None], dtype=torch.float32), persistent=False)
        mel = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=BANDS)
        self.register_buffer("mel", torch.tensor(mel[:, :, None], dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        centred = waveform - waveform.mean(dim=1, keepdim=True)
        levelled = centred / torch.sqrt((centred * centred).mean(dim=1, keepdim=True) + 1e-7)
        padded = functional.pad(levelled[:, None], (WINDOW // 2, WINDOW // 2), mode="reflect")
        spectrum = functional.conv1d(padded, self.kernels, stride=HOP)[:, :, :-1]
        power = spectrum * spectrum
        half = WINDOW // 2 + 1
        bands = functional.conv1d(power[:, :half] + power[:, half:], self.mel)
        logarithm = torch.log10(torch.clamp(bands, min=1e-10))
        return (torch.maximum(logarithm, logarithm.amax(dim=(1, 2), keepdim=True) - RANGE) + 4.0) / 4.0


class SelfAttention(nn.Module):
    """Self-attention over time. [N, T, 384] → [N, T, 384]."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE, bias=False)
        self.v_proj, self.out_proj = nn.Linear(WIDE, WIDE), nn.Linear(WIDE, WIDE)

    def forward(self, sound: Tensor) -> Tensor:
        query, key, value = (
            part(sound).reshape(*sound.shape[:2], HEADS, WIDE // HEADS).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        heard = functional.scaled_dot_product_attention(query, key, value)
        attended: Tensor = self.out_proj(heard.transpose(1, 2).flatten(2))
        return attended


class EncoderLayer(nn.Module):
    """One layer of Whisper's encoder: self-attention and two dense layers, each normalised before and added after."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.self_attn_layer_norm = SelfAttention(), nn.LayerNorm(WIDE)
        self.fc1, self.fc2 = nn.Linear(WIDE, 4 * WIDE), nn.Linear(4 * WIDE, WIDE)
        self.final_layer_norm = nn.LayerNorm(WIDE)

    def forward(self, sound: Tensor) -> Tensor:
        sound = sound + self.self_attn(self.self_attn_layer_norm(sound))
        heard: Tensor = self.fc2(functional.gelu(self.fc1(self.final_layer_norm(sound))))
        return sound + heard


class WhisperStem(nn.Module):
    """Log-mel bands [N, 80, T] → [N, T / 4, 384]: two convolutions, pairs of frames averaged, positions added."""

    places: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(BANDS, WIDE, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDE, WIDE, 3, stride=2, padding=1)
        self.register_buffer("places", torch.zeros(PLACES, WIDE))

    def forward(self, bands: Tensor) -> Tensor:
        heard = functional.gelu(self.conv2(functional.gelu(self.conv1(bands))))
        pairs = functional.avg_pool1d(heard, 2).transpose(1, 2)
        return pairs + self.places[: pairs.shape[1]]


class WhisperStates(nn.Module):
    """The encoder's lower part as it came: waveform float32 [N, S], 1 to 8 s → states float32 [N, S / 640, 384].

    Never trained, so the states of a window can be computed once.
    """

    def __init__(self, layers: int = 1) -> None:
        super().__init__()
        self.front_end, self.stem = WhisperFrontEnd(), WhisperStem()
        self.layers = nn.ModuleList(EncoderLayer() for _ in range(layers))
        self.requires_grad_(False)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Load the lower part of an encoder's state dict (`conv1.weight`, `layers.0.fc1.weight` …).

        Raises KeyError if it has no such layers, RuntimeError if their sizes differ.
        """
        for name in ("conv1", "conv2"):
            layer = getattr(self.stem, name)
            layer.load_state_dict({"weight": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]})
        self.stem.places.copy_(weights["embed_positions.weight"][: 2 * PLACES].reshape(PLACES, 2, WIDE).mean(dim=1))
        load_layers(self.layers, weights, 0)

    def forward(self, waveform: Tensor) -> Tensor:
        states: Tensor = self.stem(self.front_end(waveform))
        for block in self.layers:
            states = block(states)
        return states


def load_layers(layers: nn.ModuleList, weights: Mapping[str, Tensor], first: int) -> None:
    """Load layers `first`, `first` + 1 … of an encoder's state dict."""
    for number, block in enumerate(layers, start=first):
        block.load_state_dict({name: weights[f"layers.{number}.{name}"] for name in block.state_dict()})


class SpeechHeads(nn.Module):
    """Several small networks on the encoder's statistics, whose logits are averaged: float32 [N, D] → [N, classes].

    Args:
        size: D.
        hidden: width of each, and its dropout of the statistics.
        dropout: of the hidden layers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        size: int,
        classes: int = 7,
        hidden: Sequence[tuple[int, float]] = ((256, 0.5), (512, 0.6)),
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Dropout(before), nn.Linear(size, wide), nn.ReLU(), nn.Dropout(dropout), nn.Linear(wide, classes)
            )
            for wide, before in hidden
        )

    def normalise_by(self, statistics: Tensor) -> None:
        """Normalise by mean and deviation of these statistics, float32 [N, D]."""
        self.mean.copy_(statistics.mean(dim=0))
        self.deviation.copy_(statistics.std(dim=0, unbiased=False) + 1e-6)

    def each(self, statistics: Tensor) -> list[Tensor]:
        """Logits of each network."""
        normalised = (statistics - self.mean) / self.deviation
        return [head(normalised) for head in self.heads]

    def forward(self, statistics: Tensor) -> Tensor:
        return torch.stack(self.each(statistics)).mean(dim=0)


class SpeechWhisper(nn.Module):
    """The part that learns: states float32 [N, T, 384] → logits float32 [N, classes].

    The encoder's next layers, mean and deviation over time of the states and of what each of these layers gives, and
    small networks on them.
    """

    def __init__(self, classes: int = 7, layers: int = 1, dropout: float = 0.4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer() for _ in range(layers))
        self.heads = SpeechHeads(2 * WIDE * (1 + layers), classes, dropout=dropout)

    def statistics(self, states: Tensor) -> Tensor:
        """Mean and deviation over time of the states and of each layer: float32 [N, 768 · (1 + layers)]."""
        found = list(_moments(states))
        for block in self.layers:
            states = block(states)
            found += _moments(states)
        return torch.cat(found, dim=1)

    def each(self, states: Tensor) -> list[Tensor]:
        """Logits of each of the small networks."""
        return self.heads.each(self.statistics(states))

    def forward(self, states: Tensor) -> Tensor:
        logits: Tensor = self.heads(self.statistics(states))
        return logits


def _moments(states: Tensor) -> tuple[Tensor, Tensor]:
    mean = states.mean(dim=1)
    return mean, torch.sqrt(((states - mean[:, None]) ** 2).mean(dim=1) + 1e-6)
