"""face-robust: two networks on one face crop, one answer: a product of experts inside the graph.

The first is face-compact's network on a small grey picture, standardised; the second face-api.js's on the colour
picture. Product of experts after Hinton 1999: log p = (1 − w)·(log p₁ − τ·log prior) + w·log p₂ + constant, then a
temperature. The prior is that of the first network's training labels; dividing by a part of it is the decision rule
that weighs rare emotions. The less clear a picture is, the less the second network counts, which knows clear pictures
only, and the more of the prior is divided out, which the first falls back on; with more detail than the first network's
training pictures have the second counts more. A network that learnt from degraded faces may stand in for the first
where a picture is not clear. Of emotions of one's own the second may know a part only: the product is then over the
emotions that both know, which keep the share of all that the first gives them. In a larger model the first opinion is
that of two networks, of which one knows undegraded pictures and counts half where the picture is clear, and each also
sees the mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bimodal.models.architectures.face_api_expression import LABELS, FaceApiExpression
from bimodal.models.architectures.face_compact import LUMA, FaceCompact, standardise
from bimodal.models.emotions import EMOTIONS, EmotionSet

SIDE = 112
GREY_SIDE = 48

DETAIL = 2.0, 3.0
"""Grey levels of detail (see Clearness): a picture with less than the first is not clear, with the second it is."""
RICH = 3.5, 6.0
"""Grey levels of detail: with less than the first a picture shows what 48 pixels show, with the second far more."""
FLAT = 0.2, 0.3
"""Share of equal neighbouring pixels: below the first nothing covers a face, above the second something does."""
BETWEEN = 0.5, 1.0
"""Clearness below the first: the network for pictures that are not clear answers alone; at 1 the other does."""
EQUAL = 0.5
"""Difference of grey levels below which neighbouring pixels are equal."""

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


def ramp(values: Tensor, ends: tuple[float, float]) -> Tensor:
    """0 below the first of the ends, 1 above the second, linear between."""
    return torch.clamp((values - ends[0]) / (ends[1] - ends[0]), 0.0, 1.0)


class Clearness(nn.Module):
    """Clearness of a picture, 0 (dark, blurred, small or covered) to 1, and the same for its wealth of detail.

    Clearness is the product of two ramps: of detail (the root mean square of what is lost by shrinking the picture and
    enlarging it again, in grey levels; darkness, blur and few pixels take it), over DETAIL, and of flatness (the share
    of equal pixels side by side; masks, glasses and borders have it), over FLAT. The wealth of detail is one over RICH.
    """

    enlarge: Tensor

    def __init__(self, side: int, smaller: int) -> None:
        super().__init__()
        self.register_buffer("enlarge", torch.from_numpy(linear_weights(smaller, side)), persistent=False)

    def forward(self, grey: Tensor, small: Tensor) -> tuple[Tensor, Tensor]:
        """Grey values 0…255 [N, 1, S, S], and the same picture shrunk → [N, 1] each."""
        lost = grey - self.enlarge @ small @ self.enlarge.transpose(0, 1)
        detail = torch.sqrt((lost * lost).mean(dim=(2, 3)))
        flat = (torch.abs(grey[..., 1:] - grey[..., :-1]) < EQUAL).to(torch.float32).mean(dim=(2, 3))
        return ramp(detail, DETAIL) * (1 - ramp(flat, FLAT)), ramp(detail, RICH)


class Rule(nn.Module):
    """The product: log probabilities of the first [N, E] and the second [N, S], clearness and detail [N, 1] →
    probabilities [N, E].

    Args:
        prior: share of each emotion in the first network's training labels, [E].
        tau, share: of clear pictures: the part of the prior that is divided out, and the second network's weight, 0…1.
        poor_tau: the part of the prior in pictures that are not clear at all; the second network has no weight there.
        detailed_share: the second network's weight in clear pictures of the most detail.
        temperature: of the result.
        offsets: added to the logits of clear pictures before the temperature, [E]; empty: 0.
        shared: places of the S emotions that the second network knows; None: all.
    """

    prior: Tensor
    offsets: Tensor

    def __init__(
        self,
        prior: Sequence[float],
        tau: float,
        share: float,
        poor_tau: float,
        detailed_share: float,
        temperature: float,
        offsets: Sequence[float] = (),
        shared: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.float32), persistent=False)
        self._shared = None if shared is None or len(shared) == len(prior) else list(shared)
        self.register_buffer("prior", torch.log(torch.tensor(prior, dtype=torch.float32)), persistent=False)
        self.tau, self.poor_tau, self.temperature = tau, poor_tau, temperature
        self.share, self.detailed_share = share, detailed_share

    def forward(self, first: Tensor, second: Tensor, clear: Tensor, detailed: Tensor) -> Tensor:
        share = clear * (self.share + detailed * (self.detailed_share - self.share))
        tau = self.poor_tau + clear * (self.tau - self.poor_tau)
        if self._shared is None:
            pooled = (1 - share) * (first - tau * self.prior) + share * second
        else:
            pooled = _joined(first - tau * self.prior, share, second, self._shared)
        if len(self.offsets):
            pooled = pooled + clear * self.offsets
        return torch.softmax(pooled / self.temperature, dim=1)


def _joined(first: Tensor, share: Tensor, second: Tensor, shared: Sequence[int]) -> Tensor:
    """The product over the emotions at `shared` alone; the mass that the first network gives them stays, [N, E]."""
    own = first[:, shared]
    both = (1 - share) * own + share * second
    both = both + torch.logsumexp(own, dim=1, keepdim=True) - torch.logsumexp(both, dim=1, keepdim=True)
    places = range(first.shape[1])
    columns = [first.shape[1] + shared.index(place) if place in shared else place for place in places]
    return torch.cat([first, both], dim=1)[:, columns]


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


def second_knows(emotions: Sequence[str]) -> dict[int, int]:
    """Places in a set of the emotions that face-api's network knows → its own classes, in the order of the set."""
    among = EmotionSet(tuple(emotions))
    meant = [among.meant_by(label) for label in LABELS]
    return {place: meant.index(emotion) for place, emotion in enumerate(emotions) if emotion in meant}


class FaceRobustGraph(nn.Module):
    """Exported graph: crops uint8 [N, 112, 112, 3] RGB → probabilities [N, E], embedding [N, 128] of the first network,
    and its novelty [N, 1], if given.

    Args:
        first, second: the networks.
        temperatures: of the networks' logits before the product.
        poor_first: one of the first's form that answers for it where a picture is not clear; in between, the mean of
            log probabilities, weighted by clearness over BETWEEN.
        clear_first: one more of the first's form; the clearer the picture, the nearer its weight in the first opinion,
            a mean of log probabilities, comes to a half.
        mirrored: whether all networks see the mirror image too; the means of both answers count.
        emotions: the set that the first networks answer in.
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
        poor_first: FaceCompact | None = None,
        clear_first: FaceCompact | None = None,
        mirrored: bool = False,
        emotions: Sequence[str] = EMOTIONS,
    ) -> None:
        super().__init__()
        self.novelty = novelty
        self.first, self.second, self.rule = first, second, rule
        self.poor_first, self.clear_first, self.mirrored = poor_first, clear_first, mirrored
        self.temperatures = temperatures
        self._order = list(second_knows(emotions).values())
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shrink", torch.from_numpy(area_weights(side, grey_side)), persistent=False)
        self.clearness = Clearness(side, grey_side)

    def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
        *opinions, embedding = self.opinions(faces)
        probabilities = self.rule(*opinions)
        return (
            (probabilities, embedding) if self.novelty is None else (probabilities, embedding, self.novelty(embedding))
        )

    def opinions(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Inputs of Rule (log probabilities of both networks, [N, E] and [N, S], clearness and detail, [N, 1]) and the
        first network's embedding."""
        colour = faces.to(torch.float32).permute(0, 3, 1, 2)
        grey, small = self._grey(colour)
        clear, detailed = self.clearness(grey, small)
        seen = standardise(small)
        first, embedding = self._log_probabilities(self.first, seen, self.temperatures[0])
        if self.poor_first is not None:
            poor, _ = self._log_probabilities(self.poor_first, seen, self.temperatures[0])
            trusted = ramp(clear, BETWEEN)
            first = trusted * first + (1 - trusted) * poor
        if self.clear_first is not None:
            other, _ = self._log_probabilities(self.clear_first, seen, self.temperatures[0])
            first = first + clear / 2 * (other - first)
        lit = even_light(colour, self.luma)
        second, _ = self._log_probabilities(self.second, lit, self.temperatures[1], self._order)
        return first, second, clear, detailed, embedding

    def _log_probabilities(
        self, network: nn.Module, seen: Tensor, temperature: float, order: Sequence[int] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log probabilities [N, E] of pictures as a network takes them, and its embedding; `order`: classes wanted."""
        logits, embedding = network(torch.cat([seen, seen.flip(3)]) if self.mirrored else seen)
        wanted = logits if order is None else logits[:, order]
        found = torch.log_softmax(wanted / temperature, dim=1)
        if not self.mirrored:
            return found, embedding
        return found.reshape(2, -1, found.shape[1]).mean(dim=0), embedding.reshape(2, -1, embedding.shape[1])[0]

    def embed(self, faces: Tensor) -> Tensor:
        """The first network's embedding alone."""
        _, small = self._grey(faces.to(torch.float32).permute(0, 3, 1, 2))
        embedding: Tensor = self.first(standardise(small))[1]
        return embedding

    def _grey(self, colour: Tensor) -> tuple[Tensor, Tensor]:
        """The grey picture, and the same shrunk."""
        grey = (colour * self.luma).sum(dim=1, keepdim=True)
        return grey, self.shrink @ grey @ self.shrink.transpose(0, 1)


def area_weights(side: int, smaller: int) -> NDArray[np.float32]:
    """Weights float32 [smaller, side] that average `side` pixels down to `smaller` by area; rows sum to 1."""
    edges = np.arange(smaller + 1) * side / smaller
    places = np.arange(side)
    low, high = np.maximum(edges[:-1, None], places), np.minimum(edges[1:, None], places + 1)
    weights = np.clip(high - low, 0, None) * smaller / side
    return np.asarray(weights, np.float32)


def linear_weights(smaller: int, side: int) -> NDArray[np.float32]:
    """Weights float32 [side, smaller] that enlarge `smaller` pixels to `side`, linearly between their middles."""
    places = np.clip((np.arange(side) + 0.5) * smaller / side - 0.5, 0, smaller - 1)
    return np.asarray(np.clip(1 - np.abs(places[:, None] - np.arange(smaller)), 0, None), np.float32)
