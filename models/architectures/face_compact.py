"""face-compact: a small residual network for 48×48 grey faces, and its exported graph.

Residual blocks after He et al. 2016 (arXiv:1512.03385) with squeeze-and-excitation after Hu et al. 2018
(arXiv:1709.01507).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SIZE = 48
EMBEDDING = 128
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and FER2013's own grey pictures


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from all channels' means. [N, C, H, W] → the same."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def forward(self, maps: Tensor) -> Tensor:
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(maps.mean(dim=(2, 3))))))
        return maps * gate[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with squeeze-and-excitation beside a shortcut. [N, C, H, W] → [N, C', H/s, W/s]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcite(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.path(maps) + self.shortcut(maps))


class FaceCompact(nn.Module):
    """The network: standardised grey pictures float32 [N, 1, H, W] → logits [N, classes], embedding [N, 128] ≥ 0.

    Args:
        classes: number of classes.
        widths: channels of the three stages (strides 2, 2, 2 after a stem of half the first width).
        depth: residual blocks a stage.
        dropout: share of the embedding dropped in training.
    """

    def __init__(
        self, classes: int = 7, widths: Sequence[int] = (48, 96, 192), depth: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        stem = widths[0] // 2
        layers: list[nn.Module] = [nn.Conv2d(1, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()]
        inputs = stem
        for width in widths:
            for block in range(depth):
                layers.append(ResidualBlock(inputs, width, stride=2 if block == 0 else 1))
                inputs = width
        self.features = nn.Sequential(*layers)
        self.embed = nn.Sequential(nn.Linear(inputs, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(EMBEDDING, classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.embed(self.features(pictures).mean(dim=(2, 3)))
        return self.classify(self.dropout(embedding)), embedding


def standardise(pictures: Tensor) -> Tensor:
    """Standardise every picture to mean 0 and deviation 1, so that lighting and contrast matter little.

    float [N, 1, H, W] of any range → the same shape. The floor on the deviation (of 255) keeps a blank picture at 0.
    """
    centred = pictures - pictures.mean(dim=(2, 3), keepdim=True)
    deviation = torch.sqrt((centred * centred).mean(dim=(2, 3), keepdim=True))
    return centred / torch.clamp(deviation, min=1.0)


class FaceCompactGraph(nn.Module):
    """Exported graph: crops uint8 [N, 48, 48, 3] RGB → probabilities [N, classes], embedding [N, 128]."""

    luma: Tensor

    def __init__(self, network: FaceCompact, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature
        self.register_buffer("luma", torch.tensor(LUMA), persistent=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        grey = (faces.to(torch.float32) * self.luma).sum(dim=3)[:, None]
        logits, embedding = self.network(standardise(grey))
        return torch.softmax(logits / self.temperature, dim=1), embedding
