"""speech-voice: emotion from the lower layers of a speaker encoder, and its exported graph.

Resemblyzer's voice encoder (package `resemblyzer` 0.1.4, Apache-2.0, trained by Resemble AI on VoxCeleb 1 and 2 and
LibriSpeech to tell speakers apart, after Wan et al. 2018, arXiv:1710.10467) is three LSTM layers on 40 mel bands.
The output of its second layer carries more emotion than its last: mean and deviation of it over time, and one linear
layer. Layers and front end are those of `resemblyzer/voice_encoder.py` and `audio.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

import librosa
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bimodal.models.architectures.speech_compact import SAMPLE_RATE, level

WINDOW, HOP = 400, 160  # 25 ms and 10 ms
BANDS = 40
HIDDEN = 256
LOUDNESS = 10 ** (-30 / 20)  # RMS of full scale that the encoder was trained at: -30 dBFS


class VoiceFrontEnd(nn.Module):
    """Mel power: waveform float32 [N, S] → float32 [N, frames, 40], at the loudness of the encoder's training.

    Equals librosa.feature.melspectrogram(y, sr=16000, n_fft=400, hop_length=160, n_mels=40) within 1e-4.
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
        padded = functional.pad(level(waveform) * LOUDNESS, (WINDOW // 2, WINDOW // 2))
        spectrum = functional.conv1d(padded[:, None], self.kernels, stride=HOP)
        power = spectrum * spectrum
        half = WINDOW // 2 + 1
        return functional.conv1d(power[:, :half] + power[:, half:], self.mel).transpose(1, 2)


class SpeechVoice(nn.Module):
    """The network: mel power float32 [N, T, 40] → logits [N, classes]."""

    def __init__(self, classes: int = 7, dropout: float = 0.4) -> None:
        super().__init__()
        # One module a layer: torch's exporter does not get through an LSTM of several.
        self.encoder = nn.ModuleList(nn.LSTM(wide, HIDDEN, batch_first=True) for wide in (BANDS, HIDDEN))
        self.norm = nn.BatchNorm1d(2 * HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * HIDDEN, classes)

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Load the lower layers of a voice encoder's state dict (`lstm.weight_ih_l0` …).

        Raises KeyError if it has no such layers, RuntimeError if their sizes differ.
        """
        for number, layer in enumerate(self.encoder):
            own = layer.state_dict()
            layer.load_state_dict({name: weights[f"lstm.{name.replace('_l0', f'_l{number}')}"] for name in own})

    def forward(self, mel: Tensor) -> Tensor:
        heard = mel
        for layer in self.encoder:
            heard = layer(heard)[0]
        heard = heard.float()  # in few bits the statistics of neighbours are the same
        mean = heard.mean(dim=1)
        spread = torch.sqrt(((heard - mean[:, None]) ** 2).mean(dim=1) + 1e-6)
        logits: Tensor = self.classify(self.dropout(self.norm(torch.cat([mean, spread], dim=1))))
        return logits
