"""EMO-AffectNet's static model: a ResNet-50 on faces, in PyTorch, with the authors' names of modules.

Ryumina, Dresvyanskiy, Karpov 2022, "In search of a robust facial expressions recognition model" (Neurocomputing 514);
weights `FER_static_ResNet50_AffectNet.pt` of huggingface.co/ElenaRyumina/face_emotion_recognition. The network came
from Keras, and has its conventions: "same" padding that is larger below and right, BatchNorm with eps 1e-3, the stride
on the first 1×1 convolution of a block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 224
EMBEDDING = 512
LABELS = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger")
MEAN_BGR = (91.4953, 103.8827, 131.0912)
BLOCKS = (3, 4, 6, 3)
WIDTHS = (64, 128, 256, 512)
EXPANSION = 4


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding, whose odd pixel is below and right."""

    def forward(self, maps: Tensor) -> Tensor:
        """float32 [N, C, H, W] → [N, C', ⌈H / stride⌉, ⌈W / stride⌉]."""
        top, bottom = self._padding(maps.shape[-2], 0)
        left, right = self._padding(maps.shape[-1], 1)
        padded = functional.pad(maps, [left, right, top, bottom])
        return functional.conv2d(padded, self.weight, self.bias, self.stride)

    def _padding(self, size: int, axis: int) -> tuple[int, int]:
        stride, kernel = self.stride[axis], self.kernel_size[axis]
        whole = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return whole // 2, whole - whole // 2


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 beside a shortcut. [N, C, H, W] → [N, 4·width, H / stride, W / stride]."""

    def __init__(self, inputs: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, stride, bias=False)
        self.batch_norm1 = _batch_norm(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding="same", bias=False)
        self.batch_norm2 = _batch_norm(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.batch_norm3 = _batch_norm(outputs)
        self.i_downsample: nn.Module | None = None
        if project:
            self.i_downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _batch_norm(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """float32 [N, C, H, W]."""
        path = torch.relu(self.batch_norm1(self.conv1(maps)))
        path = torch.relu(self.batch_norm2(self.conv2(path)))
        path = self.batch_norm3(self.conv3(path))
        shortcut = maps if self.i_downsample is None else self.i_downsample(maps)
        return torch.relu(path + shortcut)


class EmoAffectNet(nn.Module):
    """The network: BGR minus its mean, float32 [N, 3, 224, 224] → logits [N, 7], ReLU(fc1) [N, 512].

    Args:
        blocks: bottlenecks of the four stages.
    """

    def __init__(self, blocks: Sequence[int] = BLOCKS) -> None:
        super().__init__()
        self.conv_layer_s2_same = SameConv2d(3, WIDTHS[0], 7, stride=2, bias=False)
        self.batch_norm1 = _batch_norm(WIDTHS[0])
        self.max_pool = nn.MaxPool2d(3, stride=2)
        stages, inputs = [], WIDTHS[0]
        for width, depth, stride in zip(WIDTHS, blocks, (1, 2, 2, 2), strict=True):
            first = Bottleneck(inputs, width, stride, project=True)
            inputs = width * EXPANSION
            stages.append(nn.Sequential(first, *(Bottleneck(inputs, width, 1, False) for _ in range(depth - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc1 = nn.Linear(inputs, EMBEDDING)
        self.fc2 = nn.Linear(EMBEDDING, len(LABELS))

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, and the embedding (after the ReLU) on which the dynamic models were trained."""
        maps = self.max_pool(torch.relu(self.batch_norm1(self.conv_layer_s2_same(faces))))
        maps = self.layer4(self.layer3(self.layer2(self.layer1(maps))))
        embedding = torch.relu(self.fc1(maps.mean(dim=(2, 3))))
        return self.fc2(embedding), embedding


class EmoAffectNetGraph(nn.Module):
    """Exported graph: crops uint8 [N, 224, 224, 3] RGB → probabilities [N, 7], embedding [N, 512]."""

    mean: Tensor
    order: Tensor

    def __init__(self, network: EmoAffectNet) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN_BGR)[:, None, None], persistent=False)
        self.register_buffer("order", torch.tensor([2, 1, 0]), persistent=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities and embedding."""
        bgr = faces.to(torch.float32).permute(0, 3, 1, 2).index_select(1, self.order)
        logits, embedding = self.network(bgr - self.mean)
        return torch.softmax(logits, dim=1), embedding


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.99)
