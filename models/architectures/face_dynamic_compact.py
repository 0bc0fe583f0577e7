"""face-dynamic-compact: an LSTM over a track's embeddings, and its exported graph.

No GRU: it would become a slow ONNX Loop.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FaceDynamicCompact(nn.Module):
    """The network: embeddings float32 [N, T, D], oldest first → logits [N, classes].

    Classifies the LSTM's last state and the mean of its states together: the present and the whole window.
    """

    def __init__(self, dimensions: int = 128, classes: int = 7, hidden: int = 64, dropout: float = 0.3) -> None:
        super().__init__()
        self.project = nn.Sequential(nn.LayerNorm(dimensions), nn.Linear(dimensions, hidden), nn.ReLU())
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * hidden, classes)

    def forward(self, embeddings: Tensor) -> Tensor:
        steps, _ = self.lstm(self.dropout(self.project(embeddings)))
        seen = torch.cat([steps[:, -1], steps.mean(dim=1)], dim=1)
        logits: Tensor = self.classify(self.dropout(seen))
        return logits


class FaceDynamicCompactGraph(nn.Module):
    """Exported graph: embeddings float32 [N, T, D] → probabilities [N, classes]."""

    def __init__(self, network: FaceDynamicCompact, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, embeddings: Tensor) -> Tensor:
        return torch.softmax(self.network(embeddings) / self.temperature, dim=1)
