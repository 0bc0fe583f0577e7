"""Random changes of face pictures in training: what a live camera does to a face that FER2013's pictures lack.

All on batches of float32 [N, 1, H, W] in 0…255, with an explicit generator, so a seed repeats a run.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

DEGREES = 15.0
SCALES = (0.85, 1.2)
SHIFT = 0.08


def augment(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """uint8 [N, 48, 48] → float32 [N, 1, size, size] in 0…255, moved, mirrored, blurred, relit, noisy, covered."""
    moved = move(pictures[:, None].to(torch.float32), size, generator)
    seen = add_noise(relight(blur(moved, generator), generator), generator)
    return cover(torch.round(seen.clamp(0, 255)), generator)


def move_and_cover(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """uint8 [N, 48, 48] → float32 [N, 1, size, size] in 0…255, moved, mirrored and covered, and no more."""
    return cover(torch.round(move(pictures[:, None].to(torch.float32), size, generator)), generator)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """float32 [count] between low and high."""
    return torch.rand(count, generator=generator) * (high - low) + low


def move(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Turned, scaled, shifted and mirrored, sampled at the wanted size; the border is repeated."""
    count = len(pictures)
    angle = uniform(count, -DEGREES, DEGREES, generator) * math.pi / 180
    scale = uniform(count, *SCALES, generator)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    shift = uniform(2 * count, -2 * SHIFT, 2 * SHIFT, generator).view(count, 2)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = scale * mirror * torch.cos(angle)
    theta[:, 0, 1] = -scale * torch.sin(angle)
    theta[:, 1, 0] = scale * mirror * torch.sin(angle)
    theta[:, 1, 1] = scale * torch.cos(angle)
    theta[:, :, 2] = shift
    grid = functional.affine_grid(theta, [count, 1, size, size], align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def blur(pictures: Tensor, generator: torch.Generator, share: float = 0.35) -> Tensor:
    """A Gaussian blur of 0.4–1.4 px on a share of the pictures: small or moving faces."""
    count, _, height, width = pictures.shape
    sigma = uniform(count, 0.4, 1.4, generator)
    sigma[torch.rand(count, generator=generator) >= share] = 0.1
    taps = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma[:, None] ** 2))
    taps = taps / taps.sum(dim=1, keepdim=True)
    stack = functional.pad(pictures.view(1, count, height, width), (2, 2, 2, 2), mode="replicate")
    stack = functional.conv2d(stack, taps.view(count, 1, 5, 1), groups=count)
    return functional.conv2d(stack, taps.view(count, 1, 1, 5), groups=count).view_as(pictures)


def relight(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Gamma, light from one side, contrast and brightness; highlights clip as a sensor's do."""
    count, _, height, width = pictures.shape
    gamma = torch.exp(uniform(count, -0.4, 0.4, generator)).view(-1, 1, 1, 1)
    lit = 255 * (pictures / 255).clamp(1e-4, 1) ** gamma
    slope = uniform(2 * count, -0.3, 0.3, generator).view(2, count, 1, 1, 1)
    across = torch.linspace(-1, 1, width).view(1, 1, 1, width)
    down = torch.linspace(-1, 1, height).view(1, 1, height, 1)
    lit = lit * (1 + slope[0] * across + slope[1] * down).clamp(min=0.2)
    contrast = uniform(count, 0.6, 1.3, generator).view(-1, 1, 1, 1)
    brightness = uniform(count, -25, 25, generator).view(-1, 1, 1, 1)
    lit = ((lit - 128) * contrast + 128 + brightness).clamp(0, 255)
    dark = uniform(count, 0.12, 0.4, generator)
    dark[torch.rand(count, generator=generator) >= 0.12] = 1.0
    return lit * dark.view(-1, 1, 1, 1)


def add_noise(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Sensor noise of 0–6 grey levels on half of the pictures."""
    count = len(pictures)
    level = uniform(count, 0, 6, generator)
    level[torch.rand(count, generator=generator) < 0.5] = 0.0
    return pictures + level.view(-1, 1, 1, 1) * torch.randn(pictures.shape, generator=generator)


def cover(pictures: Tensor, generator: torch.Generator, share: float = 0.4) -> Tensor:
    """A grey rectangle of up to 0.4 × 0.4 of the side on a share of the pictures: hands, hair, glasses' frames."""
    count, _, height, width = pictures.shape
    rows, columns = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)

    def band(places: Tensor, side: int) -> Tensor:
        length = (uniform(count, 0.1, 0.4, generator) * side).view(-1, 1, 1, 1)
        start = (torch.rand(count, generator=generator) * side).view(-1, 1, 1, 1) - length / 2
        return (places >= start) & (places < start + length)

    covered = band(rows, height) & band(columns, width)
    covered &= (torch.rand(count, generator=generator) < share).view(-1, 1, 1, 1)
    return torch.where(covered, uniform(count, 0, 255, generator).view(-1, 1, 1, 1), pictures)
