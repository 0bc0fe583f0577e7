"""EMO-AffectNet's ResNet-50 with random weights (`python -m bench.resnet_weights FILE`): as fast as the real one.

Random weights as PyTorch makes them let the maps grow from block to block until INT8 has nothing to hold on to. So the
last normalisation of each block begins small, as He et al. do it (arXiv:1812.01187, "zero gamma").
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from bimodal.models.architectures.emo_affectnet import Bottleneck, EmoAffectNet

GAIN = 0.3
PIXELS = 60.0
"""About the deviation of pixels, which the first convolution brings down to 1."""


def random_network(seed: int = 0) -> EmoAffectNet:
    """The network with weights of its own making, the same ones every time, ready to look."""
    torch.manual_seed(seed)
    network = EmoAffectNet()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, Bottleneck):
                nn.init.constant_(module.batch_norm3.weight, GAIN)
        network.conv_layer_s2_same.weight /= PIXELS
    return network.eval()


if __name__ == "__main__":
    torch.save(random_network().state_dict(), Path(sys.argv[1]))
