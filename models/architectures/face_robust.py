"""face-robust: two networks on one face crop, one answer: a product of experts inside the graph.

The first is face-compact's network on a small grey picture, standardised; the second face-api.js's on the colour
picture. Product of experts after Hinton 1999: log p = (1 − w)·(log p₁ − τ·log prior) + w·log p₂ + constant, then a
temperature. The prior is that of the first network's training labels; dividing by a part of it is the decision rule
that weighs rare emotions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.models.architectures.face_api_expression import LABELS, FaceApiExpression
from bimodal.models.architectures.face_compact import LUMA, FaceCompact, standardise
from bimodal.models.emotions import EMOTIONS, emotion_of

SIDE = 112
GREY_SIDE = 40


CONTRAST, MIDDLE = 50.0, 122.0
"""Deviation of the grey values below which a picture counts as flat, and the grey that flat pictures are moved to."""


def even_light(colour: Tensor, luma: Tensor) -> Tensor:
    """Give dark and flat pictures the contrast of others, at most ten times their own; leave the others as they are.

    float32 [N, 3, H, W] in 0…255 → the same. face-api's network, unlike face-compact's, expects daylight.
    """
    grey = (colour * luma).sum(dim=1, keepdim=True)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    deviation = torch.sqrt(((grey - mean) * (grey - mean)).mean(dim=(2, 3), keepdim=True))
    gain = torch.clamp(CONTRAST / torch.clamp(deviation, min=1.0), 1.0, 10.0)
    return torch.clamp((colour - mean) * gain + MIDDLE + (mean - MIDDLE) / gain, 0.0, 255.0)


class Rule(nn.Module):
    """The product: log probabilities of both, [N, 7] over EMOTIONS each → probabilities [N, 7].

    Args:
        prior: share of each emotion in the first network's training labels, [7].
        tau: part of the prior that is divided out.
        share: weight of the second network, 0…1.
        temperature: of the result.
    """

    offset: Tensor

    def __init__(self, prior: Sequence[float], tau: float, share: float, temperature: float) -> None:
        super().__init__()
        self.register_buffer("offset", tau * torch.log(torch.tensor(prior, dtype=torch.float32)), persistent=False)
        self.share, self.temperature = share, temperature

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        pooled = (1 - self.share) * (first - self.offset) + self.share * second
        return torch.softmax(pooled / self.temperature, dim=1)


class Novelty(nn.Module):
    """How far an embedding lies from what the network learnt: [N, D] → [N, 1], ≥ 0.

    The smallest Mahalanobis distance to the mean of an emotion, with one covariance for all (Lee et al. 2018,
    arXiv:1807.03888), in units of the distance that one in a hundred held-out pictures exceeds: above 1 is rare.

    Args:
        means: of the emotions, [C, D].
        whiten: matrix [D, D] that makes the covariance the identity.
        unit: that distance.
    """

    means: Tensor
    whiten: Tensor

    def __init__(self, means: NDArray[np.floating], whiten: NDArray[np.floating], unit: float) -> None:
        super().__init__()
        scaled = np.asarray(whiten / unit, np.float32)
        self.register_buffer("whiten", torch.from_numpy(scaled), persistent=False)
        self.register_buffer("means", torch.from_numpy(np.asarray(means @ scaled, np.float32)), persistent=False)

    def forward(self, embedding: Tensor) -> Tensor:
        placed = embedding @ self.whiten
        squares = (placed * placed).sum(dim=1, keepdim=True) + (self.means * self.means).sum(dim=1)
        squares = squares - 2 * placed @ self.means.transpose(0, 1)
        return torch.sqrt(torch.clamp(squares.amin(dim=1, keepdim=True), min=0.0))


class FaceRobustGraph(nn.Module):
    """Exported graph: crops uint8 [N, 112, 112, 3] RGB → probabilities [N, 7], embedding [N, 128] of the first network,
    and its novelty [N, 1], if given.

    Args:
        first, second: the networks.
        temperatures: of the networks' logits before the product.
    """

    luma: Tensor
    shrink: Tensor

    def __init__(
        self,
        first: FaceCompact,
        second: FaceApiExpression,
        rule: Rule,
        temperatures: tuple[float, float] = (1.0, 1.0),
        side: int = SIDE,
        grey_side: int = GREY_SIDE,
        novelty: Novelty | None = None,
    ) -> None:
        super().__init__()
        self.novelty = novelty
        self.first, self.second, self.rule = first, second, rule
        self.temperatures = temperatures
        self._order = [[emotion_of(label) for label in LABELS].index(emotion) for emotion in EMOTIONS]
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shrink", torch.from_numpy(area_weights(side, grey_side)), persistent=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        first, second, embedding = self.logits(faces)
        probabilities = self.rule(torch.log_softmax(first, dim=1), torch.log_softmax(second, dim=1))
        return (
            (probabilities, embedding) if self.novelty is None else (probabilities, embedding, self.novelty(embedding))
        )

    def logits(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Calibrated logits of both networks over EMOTIONS, [N, 7] each, and the first's embedding."""
        colour = faces.to(torch.float32).permute(0, 3, 1, 2)
        first, embedding = self.first(self._small(colour))
        second = self.second(even_light(colour, self.luma))[0][:, self._order]
        return first / self.temperatures[0], second / self.temperatures[1], embedding

    def embed(self, faces: Tensor) -> Tensor:
        """The first network's embedding alone."""
        embedding: Tensor = self.first(self._small(faces.to(torch.float32).permute(0, 3, 1, 2)))[1]
        return embedding

    def _small(self, colour: Tensor) -> Tensor:
        grey = (colour * self.luma).sum(dim=1, keepdim=True)
        return standardise(self.shrink @ grey @ self.shrink.transpose(0, 1))


def area_weights(side: int, smaller: int) -> NDArray[np.float32]:
    """Weights float32 [smaller, side] that average `side` pixels down to `smaller` by area; rows sum to 1."""
    edges = np.arange(smaller + 1) * side / smaller
    places = np.arange(side)
    low, high = np.maximum(edges[:-1, None], places), np.minimum(edges[1:, None], places + 1)
    weights = np.clip(high - low, 0, None) * smaller / side
    return np.asarray(weights, np.float32)
