"""Augmentation of faces: the effects of a live camera on a face that the pictures of a data set lack.

Batches of float32 [N, C, H, W] in 0…255, with an explicit generator, so that a seed repeats a run.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

DEGREES = 15.0
SCALES = (0.85, 1.2)
SHIFT = 0.08


def augment(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Augment uint8 [N, 48, 48] to float32 [N, 1, size, size] in 0…255: move, mirror, blur, relight, noise, cover."""
    moved = move(pictures[:, None].to(torch.float32), size, generator)
    seen = add_noise(relight(blur(moved, generator), generator), generator)
    return cover(torch.round(seen.clamp(0, 255)), generator)


def move_and_cover(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Augment as `augment`, but only move, mirror and cover."""
    return cover(torch.round(move(pictures[:, None].to(torch.float32), size, generator)), generator)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw float32 [count] between low and high."""
    return torch.rand(count, generator=generator) * (high - low) + low


def move(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Rotate, scale, shift and mirror, sampled at `size`; the border is repeated."""
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
    """Blur a share of the pictures by 0.4–1.4 px (Gaussian), like small or moving faces."""
    count, _, height, width = pictures.shape
    sigma = uniform(count, 0.4, 1.4, generator)
    sigma[torch.rand(count, generator=generator) >= share] = 0.1
    taps = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / (2 * sigma[:, None] ** 2))
    taps = taps / taps.sum(dim=1, keepdim=True)
    stack = functional.pad(pictures.view(1, count, height, width), (2, 2, 2, 2), mode="replicate")
    stack = functional.conv2d(stack, taps.view(count, 1, 5, 1), groups=count)
    return functional.conv2d(stack, taps.view(count, 1, 1, 5), groups=count).view_as(pictures)


def relight(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Change gamma, side light, contrast and brightness; highlights clip as in a sensor."""
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
    """Add sensor noise of 0–6 grey levels to half of the pictures."""
    count = len(pictures)
    level = uniform(count, 0, 6, generator)
    level[torch.rand(count, generator=generator) < 0.5] = 0.0
    return pictures + level.view(-1, 1, 1, 1) * torch.randn(pictures.shape, generator=generator)


def cover(pictures: Tensor, generator: torch.Generator, share: float = 0.4) -> Tensor:
    """Cover a share of the pictures with a grey rectangle of up to 0.4 × 0.4 of the side, like hands or hair."""
    count, _, height, width = pictures.shape
    rows, columns = torch.arange(height).view(1, 1, -1, 1), torch.arange(width).view(1, 1, 1, -1)

    def band(places: Tensor, side: int) -> Tensor:
        length = (uniform(count, 0.1, 0.4, generator) * side).view(-1, 1, 1, 1)
        start = (torch.rand(count, generator=generator) * side).view(-1, 1, 1, 1) - length / 2
        return (places >= start) & (places < start + length)

    covered = band(rows, height) & band(columns, width)
    covered &= (torch.rand(count, generator=generator) < share).view(-1, 1, 1, 1)
    return torch.where(covered, uniform(count, 0, 255, generator).view(-1, 1, 1, 1), pictures)


# What befalls faces in front of their own cameras: they talk, cover themselves, move, are far, and sit in the dark.

MARKS = ("right eye", "left eye", "right mouth corner", "left mouth corner", "chin")
"""The landmarks that `augment_hard` knows, in this order: outer corners of the eyes and of the mouth, in pixels."""

TYPICAL = ((0.26, 0.40), (0.74, 0.40), (0.36, 0.76), (0.64, 0.76), (0.5, 0.97))
"""Their usual places in a picture of FER2013, as shares of its side, for faces whose landmarks are unknown."""


def augment_hard(pictures: Tensor, size: int, generator: torch.Generator, marks: Tensor) -> Tensor:
    """Augment uint8 [N, 48, 48] to float32 [N, 1, size, size]: `augment`, and talking mouths, masks, hands,
    covered eyes, motion blur, small and compressed pictures, dark rooms with noise.

    Args:
        marks: float32 [N, 5, 2], places of MARKS in pixels of the pictures; NaN where unknown.
    """
    side = pictures.shape[-1]
    marks = torch.where(torch.isfinite(marks), marks, side * torch.tensor(TYPICAL))
    faces = open_mouths(pictures[:, None].to(torch.float32), marks, generator)
    faces = cover_eyes(cover_lower_face(faces, marks, generator), marks, generator)
    moved = move(faces, size, generator)
    seen = shrink(motion_blur(blur(moved, generator), generator), generator)
    seen = add_noise(darken(relight(seen, generator), generator), generator)
    return cover(compress(torch.round(seen.clamp(0, 255)), generator), generator, share=0.25)


def open_mouths(pictures: Tensor, marks: Tensor, generator: torch.Generator, share: float = 0.3) -> Tensor:
    """Open the mouths of a share of the faces by up to 0.4 of their width, as in speech: lower lip, jaw and chin move
    down, and the gap between the lips is dark, sometimes with teeth."""
    count, _, height, width = pictures.shape
    right, left, chin = marks[:, 2], marks[:, 3], marks[:, 4]
    middle, breadth = (right + left) / 2, (left - right).norm(dim=1).clamp(min=4)
    opening = uniform(count, 0.08, 0.4, generator) * breadth
    opening[torch.rand(count, generator=generator) >= share] = 0.0
    rows = torch.arange(height, dtype=torch.float32).view(1, -1, 1)
    columns = torch.arange(width, dtype=torch.float32).view(1, 1, -1)
    slope = ((left - right)[:, 1] / (left - right)[:, 0].abs().clamp(min=1)).clamp(-0.5, 0.5)
    across = columns - middle[:, 0].view(-1, 1, 1)
    lips = middle[:, 1].view(-1, 1, 1) + slope.view(-1, 1, 1) * across
    # The gap is widest in the middle and ends at the corners; the jaw moves over twice that width.
    gap = opening.view(-1, 1, 1) * (1 - (across / (0.5 * breadth.view(-1, 1, 1))) ** 2).clamp(min=0)
    jaw = opening.view(-1, 1, 1) * torch.cos((across / (1.3 * breadth.view(-1, 1, 1))).clamp(-1, 1) * math.pi / 2)
    below = rows - lips
    reach = (chin[:, 1] - middle[:, 1]).clamp(min=4).view(-1, 1, 1) + opening.view(-1, 1, 1)
    moved_by = torch.where(below > 0, jaw * (1 - (below / (1.8 * reach)).clamp(0, 1)), torch.zeros(()))
    source = rows - moved_by
    source = torch.where(below > 0, torch.maximum(source, lips.expand_as(source)), source)
    grid = torch.stack(
        [
            (columns.expand(count, height, width) * 2 + 1) / width - 1,
            (source.expand(count, height, width) * 2 + 1) / height - 1,
        ],
        dim=-1,
    )
    warped = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    softness = ((gap - below).clamp(0, 1) * below.clamp(0, 1)).unsqueeze(1)
    dark = uniform(count, 0.1, 0.5, generator).view(-1, 1, 1, 1)
    teeth = (torch.rand(count, generator=generator) < 0.4).view(-1, 1, 1, 1) & (below < 0.4 * gap).unsqueeze(1)
    skin = pictures.mean(dim=(2, 3), keepdim=True)
    inside = torch.where(teeth, skin * 1.25, skin * dark)
    opened = warped * (1 - softness) + inside * softness
    return torch.where((opening > 0).view(-1, 1, 1, 1), opened.clamp(0, 255), pictures)


def cover_lower_face(pictures: Tensor, marks: Tensor, generator: torch.Generator, share: float = 0.2) -> Tensor:
    """Cover a share of the faces from the nose down: masks, scarves, hands, the edge of the picture."""
    count, _, height, width = pictures.shape
    eyes, mouth = marks[:, :2, 1].mean(dim=1), marks[:, 2:4, 1].mean(dim=1)
    start = eyes + uniform(count, 0.15, 0.75, generator) * (mouth - eyes)
    tilt = uniform(count, -0.25, 0.25, generator).view(-1, 1, 1)
    rows = torch.arange(height, dtype=torch.float32).view(1, -1, 1)
    columns = torch.arange(width, dtype=torch.float32).view(1, 1, -1)
    half = uniform(count, 0.3, 1.0, generator).view(-1, 1, 1) * width
    beside = (columns - marks[:, 2:4, 0].mean(dim=1).view(-1, 1, 1)).abs() < half
    covered = (rows + tilt * (columns - width / 2) >= start.view(-1, 1, 1)) & beside
    return _painted(pictures, covered, generator, share)


def cover_eyes(pictures: Tensor, marks: Tensor, generator: torch.Generator, share: float = 0.17) -> Tensor:
    """Cover the eyes of a share of the faces: sunglasses, hair, a hand."""
    count, _, height, width = pictures.shape
    middle, apart = marks[:, :2].mean(dim=1), (marks[:, 1] - marks[:, 0]).norm(dim=1).clamp(min=6)
    rows = torch.arange(height, dtype=torch.float32).view(1, -1, 1)
    columns = torch.arange(width, dtype=torch.float32).view(1, 1, -1)
    tall = (uniform(count, 0.15, 0.4, generator) * apart).view(-1, 1, 1)
    wide = (uniform(count, 0.5, 1.3, generator) * apart).view(-1, 1, 1)
    covered = (rows - middle[:, 1].view(-1, 1, 1)).abs() < tall
    covered = covered & ((columns - middle[:, 0].view(-1, 1, 1)).abs() < wide)
    return _painted(pictures, covered, generator, share)


def _painted(pictures: Tensor, covered: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """Paint `covered` bool [N, H, W] of a share of the pictures in a grey of its own, a little shaded."""
    count, _, height, width = pictures.shape
    covered = covered & (torch.rand(count, generator=generator) < share).view(-1, 1, 1)
    colour = uniform(count, 0, 255, generator).view(-1, 1, 1, 1)
    shade = uniform(count, -40, 40, generator).view(-1, 1, 1, 1) * torch.linspace(-1, 1, width).view(1, 1, 1, -1)
    grain = uniform(count, 0, 8, generator).view(-1, 1, 1, 1) * torch.randn(
        (count, 1, height, width), generator=generator
    )
    return torch.where(covered.unsqueeze(1), (colour + shade + grain).clamp(0, 255), pictures)


def motion_blur(pictures: Tensor, generator: torch.Generator, share: float = 0.22) -> Tensor:
    """Blur a share of the pictures along a line of 1/16 to 1/5 of their side, in any direction."""
    count, channels, height, width = pictures.shape
    chosen = torch.rand(count, generator=generator) < share
    length = uniform(count, 1 / 16, 1 / 5, generator) * width
    angle = uniform(count, 0, math.pi, generator)
    if not chosen.any():
        return pictures
    reach = 5
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    along = places.view(1, 1, -1) * torch.cos(angle[chosen]).view(-1, 1, 1)
    along = along + places.view(1, -1, 1) * torch.sin(angle[chosen]).view(-1, 1, 1)
    off = places.view(1, -1, 1) * torch.cos(angle[chosen]).view(-1, 1, 1)
    off = off - places.view(1, 1, -1) * torch.sin(angle[chosen]).view(-1, 1, 1)
    half = (length[chosen] / 2).view(-1, 1, 1)
    taps = (half + 0.5 - along.abs()).clamp(0, 1) * (1 - off.abs()).clamp(0, 1)
    taps = (taps / taps.sum(dim=(1, 2), keepdim=True)).unsqueeze(1).repeat_interleave(channels, dim=0)
    part = pictures[chosen]
    stack = functional.pad(part.reshape(1, -1, height, width), (reach,) * 4, mode="replicate")
    result = pictures.clone()
    result[chosen] = functional.conv2d(stack, taps, groups=len(part) * channels).view_as(part)
    return result


def shrink(pictures: Tensor, generator: torch.Generator, share: float = 0.25) -> Tensor:
    """Take a share of the pictures down to 10–32 pixels and up again, as a face far from the camera is enlarged."""
    count, _, height, width = pictures.shape
    result = pictures.clone()
    drawn = torch.rand(count, generator=generator)
    for part in range(4):
        chosen = (drawn >= part * share / 4) & (drawn < (part + 1) * share / 4)
        side = int(torch.randint(10, 33, (1,), generator=generator))
        if chosen.any() and side < height:
            small = functional.interpolate(pictures[chosen], (side, side), mode="bilinear", antialias=True)
            result[chosen] = functional.interpolate(small.round(), (height, width), mode="bilinear")
    return result


def darken(pictures: Tensor, generator: torch.Generator, share: float = 0.18) -> Tensor:
    """Take a share of the pictures to 0.05–0.5 of their light, with the noise and the coarse steps of a sensor in the
    dark."""
    count = len(pictures)
    factor = torch.exp(uniform(count, math.log(0.05), math.log(0.5), generator))
    noise = uniform(count, 0, 2.5, generator)
    chosen = torch.rand(count, generator=generator) < share
    factor[~chosen], noise[~chosen] = 1.0, 0.0
    grain = noise.view(-1, 1, 1, 1) * torch.randn(pictures.shape, generator=generator)
    return torch.where(
        chosen.view(-1, 1, 1, 1), torch.round((pictures * factor.view(-1, 1, 1, 1) + grain).clamp(0, 255)), pictures
    )


def compress(pictures: Tensor, generator: torch.Generator, share: float = 0.15) -> Tensor:
    """Compress a share of the pictures (one or three channels) as JPEG of quality 15–70."""
    quality = torch.randint(15, 71, (len(pictures),), generator=generator)
    chosen = torch.rand(len(pictures), generator=generator) < share
    result = pictures.clone()
    for place in torch.nonzero(chosen)[:, 0].tolist():
        pixels: NDArray[np.uint8] = pictures[place].permute(1, 2, 0).to(torch.uint8).numpy()
        _, code = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, int(quality[place])))
        how = cv2.IMREAD_GRAYSCALE if pixels.shape[2] == 1 else cv2.IMREAD_COLOR
        back = np.asarray(cv2.imdecode(code, how), np.float32).reshape(pixels.shape)
        result[place] = torch.from_numpy(back).permute(2, 0, 1)
    return result
