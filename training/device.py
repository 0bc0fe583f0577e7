"""Where a network learns: CPU or CUDA, and with how many bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bimodal.training.errors import TrainingError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]


def pick_device(wanted: Device) -> torch.device:
    """`auto` is CUDA where it works. Raises TrainingError where CUDA is asked for and there is none."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise TrainingError("'device: cuda' was asked for, but torch finds no CUDA: set 'device: cpu'")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def mixed(device: torch.device, precision: Precision) -> torch.autocast:
    """The context in which a forward pass runs: bfloat16 where asked for (it needs no scaled gradients)."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


class Elsewhere(nn.Module):
    """A network on another device for code that holds its tensors on the CPU: what comes out is on the CPU again."""

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self._device, self._precision = device, precision

    def forward(self, features: Tensor) -> Tensor:
        """Features on the CPU → logits float32 on the CPU."""
        with mixed(self._device, self._precision):
            logits: Tensor = self.network(features.to(self._device))
        return logits.float().cpu()
