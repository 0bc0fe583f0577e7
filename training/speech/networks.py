"""The speech networks by name: front end, masking, and the pretrained part of each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.export.pretrained.smart_turn import encoder_weights
from bimodal.export.wheels import download_wheel, extract
from bimodal.models.architectures import speech_compact, speech_voice, speech_whisper
from bimodal.training.config import SpeechConfig
from bimodal.training.speech.sound import mask, mask_power

BACKBONE = "resemblyzer==0.1.4"
BACKBONE_FILE = "resemblyzer/pretrained.pt"
BACKBONE_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"

Mask = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Parts:
    """A speech network with its front end.

    Attributes:
        front_end: waveform float32 [N, S] → features.
        network: features → logits [N, classes].
        mask: SpecAugment on these features.
        backbone: the pretrained part, trained later and at a lower rate, else None.
    """

    front_end: nn.Module
    network: nn.Module
    mask: Mask
    backbone: nn.Module | None = None

    def groups(self, config: SpeechConfig) -> tuple[list[dict[str, Any]], list[float]]:
        """(groups of parameters, the highest learning rate of each)."""
        if self.backbone is None:
            return [{"params": list(self.network.parameters())}], [config.learning_rate]
        slow = list(self.backbone.parameters())
        known = {id(parameter) for parameter in slow}
        rest = [each for each in self.network.parameters() if id(each) not in known]
        return [{"params": slow}, {"params": rest}], [config.backbone_learning_rate, config.learning_rate]

    def graph(self, temperature: float) -> nn.Module:
        """The module to export."""
        return speech_compact.SpeechGraph(self.front_end, self.network, temperature)


def parts_of(config: SpeechConfig) -> Parts:
    """Build the network that a config names, with new weights, and those of the backbone if it has one.

    Raises SourceModelError if the backbone can't be fetched, or its checksum differs.
    """
    if config.network == "compact":
        compact = speech_compact.SpeechCompact(len(config.emotions), config.channels, config.hidden, config.dropout)
        return Parts(
            speech_compact.FrontEnd(), compact, lambda heard, random: mask(heard, speech_compact.BANDS, random)
        )
    if config.network == "whisper":
        weights = encoder_weights(config.backbone)
        lower = speech_whisper.WhisperStates().eval()
        lower.start_from(weights)
        upper = speech_whisper.SpeechWhisper(len(config.emotions), dropout=config.dropout)
        speech_whisper.load_layers(upper.layers, weights, len(lower.layers))
        return Parts(lower, upper, lambda states, _: states)
    voice = speech_voice.SpeechVoice(len(config.emotions), config.dropout)
    voice.start_from(backbone_weights(config.backbone))
    return Parts(speech_voice.VoiceFrontEnd(), voice, mask_power, voice.encoder)


def logits_of(parts: Parts, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Compute logits float32 [N, 7] of windows float32 [S] of any lengths."""
    parts.network.eval()
    with torch.inference_mode():
        rows = [parts.network(parts.front_end(torch.from_numpy(window)[None]))[0].numpy() for window in windows]
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


def backbone_weights(wheel: Path | None) -> dict[str, Tensor]:
    """Read the voice encoder's state dict from the wheel of resemblyzer (never installed); None lets pip fetch it.

    Raises SourceModelError if it can't be fetched or read, or holds other weights.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(wheel or download_wheel(BACKBONE, folder), {BACKBONE_FILE: BACKBONE_SHA256}, folder)
        state = torch.load(folder / Path(BACKBONE_FILE).name, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = state["model_state"]
    return weights
