"""Drawing primitives: rectangles, lines and text, drawn in place and clipped at the picture's edge."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.drawing.style import GROUND, Colour, Pixels

OPACITY = 0.8


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def overlaps(self, other: Box) -> bool:
        """True if the two share a pixel."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def shade(pixels: Pixels, box: Box, opacity: float = OPACITY) -> None:
    """Darken a part of the picture, so that text on it is readable."""
    part = _part(pixels, box)
    if part.size:
        part[:] = cv2.convertScaleAbs(part, alpha=1 - opacity, beta=GROUND[0] * opacity)


def fill(pixels: Pixels, box: Box, colour: Colour) -> None:
    """Fill a rectangle."""
    _part(pixels, box)[:] = colour


def fill_share(pixels: Pixels, box: Box, share: float, colour: Colour) -> None:
    """Fill the left share, 0…1, of a rectangle; the last pixel is blended according to its share."""
    end = box.left + (box.right - box.left) * min(1.0, max(0.0, share))
    whole = int(end)
    fill(pixels, Box(box.left, box.top, whole, box.bottom), colour)
    edge = _part(pixels, Box(whole, box.top, min(whole + 1, box.right), box.bottom))
    edge[:] = (edge * (1 - (end - whole)) + np.array(colour) * (end - whole)).astype(np.uint8)


def frame(pixels: Pixels, box: Box, colour: Colour, stroke: int) -> None:
    """Draw a rectangle's outline inside of it, with a dark rim that makes it visible on any picture."""
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


# Lines, with places between pixels; OpenCV clips them at the picture's edge.

SHIFT = 4
FARTHEST = 100_000.0


def path(pixels: Pixels, lines: Sequence[NDArray[Any]], colour: Colour, stroke: int, *, rim: bool = True) -> None:
    """Draw lines through points [P, 2] in pixels, antialiased; with a dark rim they show on any picture."""
    fixed = [_fixed(line) for line in lines]
    if rim:
        cv2.polylines(pixels, fixed, False, GROUND, stroke + 2 * max(1, stroke // 2), cv2.LINE_AA, SHIFT)
    cv2.polylines(pixels, fixed, False, colour, stroke, cv2.LINE_AA, SHIFT)


def dots(pixels: Pixels, points: NDArray[Any], colour: Colour, radius: int) -> None:
    """Draw a disc at each of the points [P, 2]."""
    for x, y in _fixed(points).tolist():
        cv2.circle(pixels, (x, y), radius << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)


def _fixed(points: NDArray[Any]) -> NDArray[np.int32]:
    near = np.clip(np.nan_to_num(points), -FARTHEST, FARTHEST)
    fixed: NDArray[np.int32] = np.rint(near * (1 << SHIFT)).astype(np.int32)
    return fixed


# Text, with OpenCV 5's own font and layout: antialiased, in most scripts; not thread-safe

REGULAR, BOLD = 400, 650
LONGEST = 300
ELLIPSIS = "…"


def plain(text: str) -> str:
    """Make text drawable: one line of printable characters. (A lone surrogate would crash OpenCV.)"""
    whole = text[:LONGEST].encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else " " for character in whole)


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=4096)
def width(text: str, em: int, weight: int = REGULAR) -> int:
    """The width of a line of text, in pixels."""
    if not text:
        return 0
    _, _, wide, _ = cv2.getTextSize((0, 0), plain(text), (0, 0), _font(), em, weight)
    return int(wide)


def fitted(text: str, most: int, em: int, weight: int = REGULAR) -> str:
    """Shorten a text to `most` pixels, with an ellipsis at its end; empty if nothing fits."""
    text = plain(text)
    if width(text, em, weight) <= most:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle] + ELLIPSIS, em, weight) <= most:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + ELLIPSIS if low else ""


def write(pixels: Pixels, text: str, left: int, middle: int, em: int, colour: Colour, weight: int = REGULAR) -> None:
    """Draw a text into `pixels` from `left` on, with its lowercase letters centred vertically on `middle`.

    A character that the font lacks is drawn as a question mark.
    """
    if text:
        cv2.putText(pixels, plain(text), (left, middle + round(em * 0.36)), colour, _font(), em, weight)
