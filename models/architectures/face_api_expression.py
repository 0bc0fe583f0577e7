"""The expression network of face-api.js (V. Mühler; V. Mandic's fork, MIT), rebuilt from its published weights.

Four blocks of densely connected depthwise convolutions on a 112×112 colour picture: 324 thousand weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

SIDE = 112
LABELS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
"""In the order of its output."""
MEAN_RGB = (122.782, 117.001, 104.298)
SCALE = 255.0
WIDTHS = (32, 64, 128, 256)


class SameConv(nn.Module):
    """A 3×3 convolution with TensorFlow's padding `same`; depthwise and pointwise where `separable`."""

    def __init__(self, inputs: int, outputs: int, stride: int, separable: bool) -> None:
        super().__init__()
        self.stride = stride
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, groups=inputs, bias=False) if separable else None
        self.pointwise = nn.Conv2d(inputs, outputs, 1) if separable else nn.Conv2d(inputs, outputs, 3, stride)

    def forward(self, maps: Tensor) -> Tensor:
        # Sides here are even: TensorFlow then pads 1 on both ends for stride 1, and only 1 at the far end for stride 2.
        edges = (0, 1, 0, 1) if self.stride == 2 and maps.shape[-1] % 2 == 0 else (1, 1, 1, 1)
        padded = functional.pad(maps, edges)
        found: Tensor = self.pointwise(padded if self.depthwise is None else self.depthwise(padded))
        return found


class DenseBlock(nn.Module):
    """Four convolutions, each fed with the sum of those before. [N, C, H, W] → [N, C', H/2, W/2]."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.conv0 = SameConv(inputs, outputs, 2, separable=not first)
        self.conv1 = SameConv(outputs, outputs, 1, separable=True)
        self.conv2 = SameConv(outputs, outputs, 1, separable=True)
        self.conv3 = SameConv(outputs, outputs, 1, separable=True)

    def forward(self, maps: Tensor) -> Tensor:
        first = torch.relu(self.conv0(maps))
        total = first + self.conv1(first)
        total = total + self.conv2(torch.relu(total))
        return torch.relu(total + self.conv3(torch.relu(total)))


class FaceApiExpression(nn.Module):
    """RGB pictures float32 [N, 3, 112, 112] in 0…255 → logits [N, 7] in the order of LABELS, features [N, 256]."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        widths = (3, *WIDTHS)
        self.blocks = nn.Sequential(
            *(DenseBlock(widths[place], widths[place + 1], first=place == 0) for place in range(len(WIDTHS)))
        )
        self.classify = nn.Linear(WIDTHS[-1], len(LABELS))

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.blocks((pictures - self.mean) / SCALE).mean(dim=(2, 3))
        return self.classify(features), features


class FaceApiGraph(nn.Module):
    """Exported graph: crops uint8 [N, 112, 112, 3] RGB → probabilities [N, 7], embedding [N, 256]."""

    def __init__(self, network: FaceApiExpression, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = self.network(faces.to(torch.float32).permute(0, 3, 1, 2))
        return torch.softmax(logits / self.temperature, dim=1), features


def state_of(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Tensor]:
    """The state of FaceApiExpression from the published tensors, in TensorFlow's layout and by its names.

    Raises KeyError where one is missing.
    """
    state = {}
    for block in range(len(WIDTHS)):
        for conv in range(4):
            name, key = f"dense{block}/conv{conv}", f"blocks.{block}.conv{conv}"
            if block == 0 and conv == 0:
                state[f"{key}.pointwise.weight"] = tensors[f"{name}/filters"].transpose(3, 2, 0, 1)
            else:
                state[f"{key}.depthwise.weight"] = tensors[f"{name}/depthwise_filter"].transpose(2, 3, 0, 1)
                state[f"{key}.pointwise.weight"] = tensors[f"{name}/pointwise_filter"].transpose(3, 2, 0, 1)
            state[f"{key}.pointwise.bias"] = tensors[f"{name}/bias"]
    state["classify.weight"] = tensors["fc/weights"].transpose(1, 0)
    state["classify.bias"] = tensors["fc/bias"]
    return {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in state.items()}
