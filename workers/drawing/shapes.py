"""Rectangles as the drawing needs them, drawn into the pixels themselves and cut off at the picture's edge."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from bimodal.workers.drawing.style import GROUND, Colour, Pixels

OPACITY = 0.8


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: Box) -> bool:
        """Whether they share a pixel."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def shade(pixels: Pixels, box: Box, opacity: float = OPACITY) -> None:
    """Lay the dark ground over a part of the picture, so that text on it can be read."""
    part = _part(pixels, box)
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=1 - opacity, beta=GROUND[0] * opacity)


def fill(pixels: Pixels, box: Box, colour: Colour) -> None:
    """Fill a rectangle."""
    _part(pixels, box)[:] = colour


def fill_share(pixels: Pixels, box: Box, share: float, colour: Colour) -> None:
    """Fill the left share, 0…1, of a rectangle; the pixel in which it ends gets its part of the colour."""
    end = box.left + (box.right - box.left) * min(1.0, max(0.0, share))
    whole = int(end)
    fill(pixels, Box(box.left, box.top, whole, box.bottom), colour)
    edge = _part(pixels, Box(whole, box.top, min(whole + 1, box.right), box.bottom))
    edge[:] = (edge * (1 - (end - whole)) + np.array(colour) * (end - whole)).astype(np.uint8)


def frame(pixels: Pixels, box: Box, colour: Colour, stroke: int) -> None:
    """The outline of a rectangle, inside of it, with a dark one around: visible on any picture."""
    rim = max(1, stroke // 2)
    _outline(pixels, box, GROUND, stroke + 2 * rim)
    inner = Box(box.left + rim, box.top + rim, box.right - rim, box.bottom - rim)
    _outline(pixels, inner, colour, stroke)


def _outline(pixels: Pixels, box: Box, colour: Colour, stroke: int) -> None:
    left, top, right, bottom = box
    for side in (
        Box(left, top, right, min(top + stroke, bottom)),
        Box(left, max(bottom - stroke, top), right, bottom),
        Box(left, top, min(left + stroke, right), bottom),
        Box(max(right - stroke, left), top, right, bottom),
    ):
        fill(pixels, side, colour)


def _part(pixels: Pixels, box: Box) -> Pixels:
    left, top, right, bottom = (max(0, value) for value in box)
    return pixels[top:bottom, left:right]
