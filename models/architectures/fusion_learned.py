"""fusion-learned: fusion of the probabilities of video and speech, and its exported graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Probabilities count as at least this, so that one model's zero is no veto.
FLOOR = 1e-4


class FusionLearned(nn.Module):
    """The network: two opinions float32 [N, classes + 1] → logits [N, classes].

    An opinion is calibrated probabilities and, last, its reliability (0…1, of the face or of the speech). Each
    opinion's logarithms pass a matrix of its own (the confusions of that model), scaled by its reliability relative to
    the better one's; a small network takes both together, and counts only as far as both are reliable.
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
    """Exported graph: opinions float32 [N, classes + 1] of video and speech → probabilities [N, classes]."""

    def __init__(self, network: FusionLearned, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, video: Tensor, speech: Tensor) -> Tensor:
        return torch.softmax(self.network(video, speech) / self.temperature, dim=1)
