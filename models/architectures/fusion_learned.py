"""fusion-learned: what a face shows and what a voice carries become one, and the graph that ships."""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR = 1e-4
"""A probability counts as at least this: one model's zero is no veto."""


class FusionLearned(nn.Module):
    """The network: two opinions float32 [N, classes + 1] → logits [N, classes].

    An opinion is calibrated probabilities and, last, its worth (0…1: reliability of the face or of the speech). Each
    opinion's logarithms are read through a matrix of its own (which classes that model mixes up), scaled by its worth
    against the better one's; a small network reads both together and counts only as far as both are worth something.
    """

    def __init__(self, classes: int = 7, hidden: int = 24, video: float = 0.7, speech: float = 0.3) -> None:
        super().__init__()
        self.classes = classes
        self.video, self.speech = nn.Linear(classes, classes), nn.Linear(classes, classes)
        for layer, weight in ((self.video, video), (self.speech, speech)):
            nn.init.eye_(layer.weight)
            layer.weight.data.mul_(weight)
            nn.init.zeros_(layer.bias)
        self.together = nn.Sequential(nn.Linear(2 * classes, hidden), nn.ReLU(), nn.Linear(hidden, classes))

    def forward(self, video: Tensor, speech: Tensor) -> Tensor:
        worth = torch.stack([video[:, self.classes], speech[:, self.classes]], dim=1).clamp(0, 1)
        share = worth / worth.amax(dim=1, keepdim=True).clamp(min=FLOOR)
        seen, heard = (torch.log(each[:, : self.classes].clamp(min=FLOOR)) for each in (video, speech))
        both = self.together(torch.cat([seen, heard], dim=1)) * (share[:, :1] * share[:, 1:])
        logits: Tensor = share[:, :1] * self.video(seen) + share[:, 1:] * self.speech(heard) + both
        return logits


class FusionLearnedGraph(nn.Module):
    """What is exported: opinions float32 [N, classes + 1] of video and speech → probabilities [N, classes]."""

    def __init__(self, network: FusionLearned, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, video: Tensor, speech: Tensor) -> Tensor:
        return torch.softmax(self.network(video, speech) / self.temperature, dim=1)
