"""speech-compact: a small network for speech emotion on log-mel bands, and its exported graph.

1-D residual blocks with squeeze-and-excitation, a bidirectional LSTM (a GRU would become a slow ONNX Loop) and
attentive statistics pooling after Okabe et al. 2018 (arXiv:1803.10963).
"""

from __future__ import annotations

import librosa
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

SAMPLE_RATE = 16_000
WINDOW, FFT, HOP = 400, 512, 160  # 25 ms and 10 ms
BANDS = 64
LOUDNESS_FLOOR = 1e-5  # RMS of full scale; anything quieter stays quiet
POWER_FLOOR = 1e-3  # of a waveform at RMS 1: about 60 dB under speech


class LogMel(nn.Module):
    """Log-mel power: waveform float32 [N, S] → float32 [N, 64, frames].

    Framing, window and DFT are one convolution: twice as fast in ONNX Runtime as its STFT operator. Equals
    ln(librosa.feature.melspectrogram(y, sr=16000, n_fft=512, win_length=400, hop_length=160, center=False,
    n_mels=64) + 1e-3) within 1e-3, where y has 56 zeros before and behind: librosa's windows are 400 of 512 samples.
    """

    kernels: Tensor
    mel: Tensor

    def __init__(self) -> None:
        super().__init__()
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
        places = np.arange(WINDOW) + (FFT - WINDOW) // 2
        angle = 2 * np.pi * np.outer(np.arange(FFT // 2 + 1), places) / FFT
        kernels = np.concatenate([np.cos(angle), np.sin(angle)]) * window
        self.register_buffer("kernels", torch.tensor(kernels[:, None], dtype=torch.float32), persistent=False)
        mel = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FFT, n_mels=BANDS)
        self.register_buffer("mel", torch.tensor(mel[:, :, None], dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum = functional.conv1d(waveform[:, None], self.kernels, stride=HOP)
        power = spectrum * spectrum
        half = FFT // 2 + 1
        bands = functional.conv1d(power[:, :half] + power[:, half:], self.mel)
        return torch.log(bands + POWER_FLOOR)


def level(waveform: Tensor) -> Tensor:
    """Normalise waveforms float32 [N, S] to mean 0 and RMS 1, so that the microphone's gain does not matter."""
    centred = waveform - waveform.mean(dim=1, keepdim=True)
    loudness = torch.sqrt((centred * centred).mean(dim=1, keepdim=True))
    return centred / torch.clamp(loudness, min=LOUDNESS_FLOOR)


class FrontEnd(nn.Module):
    """Features: waveform float32 [N, S] → float32 [N, 128, frames], 64 log-mel bands and their slopes.

    Every band has mean 0 over the window, so that the microphone's frequency response matters little; all together
    have deviation 1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()

    def forward(self, waveform: Tensor) -> Tensor:
        bands = self.log_mel(level(waveform))
        centred = bands - bands.mean(dim=2, keepdim=True)
        bands = centred / torch.sqrt((centred * centred).mean(dim=(1, 2), keepdim=True) + 1e-2)
        padded = functional.pad(bands, (1, 1), mode="replicate")
        slope = padded[:, :, 2:] - padded[:, :, :-2]
        return torch.cat([bands, slope], dim=1)


class ResidualBlock(nn.Module):
    """Two convolutions over time with squeeze-and-excitation beside a shortcut. [N, C, T] → [N, C, T / stride]."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv1d(channels, channels, 5, stride, padding=2, bias=False),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm1d(channels),
        )
        self.squeeze = nn.Linear(channels, channels // 8)
        self.excite = nn.Linear(channels // 8, channels)
        self.shortcut = nn.AvgPool1d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, sound: Tensor) -> Tensor:
        path = self.path(sound)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(path.mean(dim=2)))))
        return torch.relu(path * gate[:, :, None] + self.shortcut(sound))


class AttentiveStatistics(nn.Module):
    """Mean and deviation over time, weighted by learned attention. [N, C, T] → [N, 2C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(nn.Conv1d(channels, 64, 1), nn.Tanh(), nn.Conv1d(64, channels, 1))

    def forward(self, sound: Tensor) -> Tensor:
        weights = torch.softmax(self.attend(sound), dim=2)
        mean = (weights * sound).sum(dim=2)
        spread = (weights * (sound - mean[:, :, None]) ** 2).sum(dim=2)
        return torch.cat([mean, torch.sqrt(spread + 1e-4)], dim=1)


class SpeechCompact(nn.Module):
    """The network: features float32 [N, 128, T] → logits [N, classes]."""

    def __init__(self, classes: int = 7, channels: int = 128, hidden: int = 96, dropout: float = 0.3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv1d(2 * BANDS, channels, 5, padding=2, bias=False), nn.BatchNorm1d(channels), nn.ReLU()
        )
        self.blocks = nn.Sequential(ResidualBlock(channels, 2), ResidualBlock(channels, 2), ResidualBlock(channels, 1))
        self.lstm = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.pool = AttentiveStatistics(2 * hidden)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Sequential(
            nn.Linear(4 * hidden, channels), nn.BatchNorm1d(channels), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(channels, classes),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        sound = self.dropout(self.blocks(self.stem(features)))
        sound = self.lstm(sound.transpose(1, 2))[0].transpose(1, 2)
        logits: Tensor = self.classify(self.dropout(self.pool(sound)))
        return logits


class SpeechGraph(nn.Module):
    """Exported graph: waveform float32 [N, S] at 16 kHz, −1…1, 1 to 3 s → probabilities [N, classes]."""

    def __init__(self, front_end: nn.Module, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.front_end = front_end
        self.network = network
        self.temperature = temperature

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.softmax(self.network(self.front_end(waveform)) / self.temperature, dim=1)
