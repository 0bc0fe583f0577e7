"""The speech networks that can be trained: what each hears, how it is masked, and what of it is learnt already."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bimodal.export.wheels import download_wheel, extract
from bimodal.models.architectures import speech_compact, speech_voice
from bimodal.models.emotions import EMOTIONS
from bimodal.training.augment_sound import mask, mask_power
from bimodal.training.config import SpeechConfig

BACKBONE = "resemblyzer==0.1.4"
BACKBONE_FILE = "resemblyzer/pretrained.pt"
BACKBONE_SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"

Mask = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Parts:
    """A speech network and what belongs to it.

    Attributes:
        front_end: waveform float32 [N, S] → features.
        network: features → logits [N, classes].
        mask: SpecAugment on these features.
        backbone: the part that comes with weights of somebody else and learns slower and later, else None.
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
        rest = [parameter for parameter in self.network.parameters() if id(parameter) not in known]
        return [{"params": slow}, {"params": rest}], [config.backbone_learning_rate, config.learning_rate]

    def graph(self, temperature: float) -> nn.Module:
        """What is exported."""
        return speech_compact.SpeechGraph(self.front_end, self.network, temperature)


def parts_of(config: SpeechConfig) -> Parts:
    """The network that a config names, with fresh weights, or with the backbone's where it has one.

    Raises SourceModelError where the backbone can't be had, or is another file than this program knows.
    """
    if config.network == "compact":
        compact = speech_compact.SpeechCompact(len(EMOTIONS), config.channels, config.hidden, config.dropout)
        return Parts(
            speech_compact.FrontEnd(), compact, lambda heard, random: mask(heard, speech_compact.BANDS, random)
        )
    voice = speech_voice.SpeechVoice(len(EMOTIONS), config.dropout)
    voice.start_from(backbone_weights(config.backbone))
    return Parts(speech_voice.VoiceFrontEnd(), voice, mask_power, voice.encoder)


def backbone_weights(wheel: Path | None) -> dict[str, Tensor]:
    """The voice encoder's state dict out of the wheel of resemblyzer (never installed); pip fetches it where None.

    Raises SourceModelError where it can't be fetched or read, or holds other weights.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        extract(wheel or download_wheel(BACKBONE, folder), {BACKBONE_FILE: BACKBONE_SHA256}, folder)
        state = torch.load(folder / Path(BACKBONE_FILE).name, map_location="cpu", weights_only=True)
    weights: dict[str, Tensor] = state["model_state"]
    return weights
