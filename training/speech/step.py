"""One training step of a speech network, and what its recordings should be taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bimodal.training.config import SpeechConfig
from bimodal.training.datasets.ravdess import Recording
from bimodal.training.speech.corpora import label_offsets, labels_of, labels_of_corpora, loss_weights


@dataclass(frozen=True)
class Targets:
    """What recordings should be taken for.

    Attributes:
        labels: int64 [N], indices into the emotions that are learnt.
        offsets: float32 [N, E], of the logits in the loss (`label_offsets`).
        weights: float32 [N], in the loss.
    """

    labels: Tensor
    offsets: Tensor
    weights: Tensor

    @classmethod
    def of(cls, config: SpeechConfig, recordings: Sequence[Recording], times: Mapping[str, int]) -> Targets:
        """One corpus: every clip counts alike. Several: balanced, and labels that a corpus lacks are no negatives."""
        labels = torch.from_numpy(labels_of(recordings))
        if not config.also:
            return cls(labels, torch.zeros(len(recordings), len(config.emotions)), torch.ones(len(recordings)))
        offsets = label_offsets(recordings, labels_of_corpora(recordings), config.lowered, config.emotions)
        weights = loss_weights(recordings, config.shares, times)
        return cls(labels, torch.from_numpy(offsets), torch.from_numpy(weights))

    def take(self, rows: NDArray[np.int64] | Tensor) -> Targets:
        """Select rows."""
        return Targets(self.labels[rows], self.offsets[rows], self.weights[rows])

    def loss(self, logits: Tensor, smoothing: float) -> Tensor:
        """Mean weighted cross entropy of logits float32 [N, 7]; the smoothing is spread over the known labels."""
        logarithms = functional.log_softmax(logits + self.offsets, dim=1)
        known = (self.offsets == 0).to(logits.dtype)
        spread = torch.where(known > 0, logarithms, torch.zeros_like(logarithms)).sum(dim=1) / known.sum(dim=1)
        right = logarithms.gather(1, self.labels[:, None])[:, 0]
        return -(self.weights * ((1 - smoothing) * right + smoothing * spread)).mean()


def learn(
    config: SpeechConfig,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    features: Tensor,
    targets: Targets,
    random: np.random.Generator,
) -> float:
    """Train one step on features, as the network takes them. Returns the loss.

    A network with `each` (several small ones, whose logits are averaged) has the loss of each: they learn side by side.
    """
    share, others = 1.0, targets
    if config.mixup:
        share = float(random.beta(config.mixup, config.mixup))
        partner = torch.from_numpy(random.permutation(len(features)))
        features = share * features + (1 - share) * features[partner]
        others = targets.take(partner)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bfloat16"):
        each = getattr(network, "each", None)
        answers: list[Tensor] = [network(features)] if each is None else each(features)
    losses = [
        share * targets.loss(logits.float(), config.smoothing)
        + (1 - share) * others.loss(logits.float(), config.smoothing)
        for logits in answers
    ]
    loss = torch.stack(losses).sum()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())
