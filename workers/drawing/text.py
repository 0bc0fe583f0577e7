"""Text in pictures, antialiased, in most of the world's scripts: OpenCV 5's own font and layout.

A character that the font does not have is drawn as a question mark. Not for use by several threads at once.
"""

from __future__ import annotations

from functools import cache, lru_cache

import cv2

from bimodal.workers.drawing.style import Colour, Pixels

REGULAR, BOLD = 400, 650
LONGEST = 300
ELLIPSIS = "…"


def plain(text: str) -> str:
    """Text on one line, without what can't be drawn. A lone surrogate would take OpenCV down."""
    whole = text[:LONGEST].encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else " " for character in whole)


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


@lru_cache(maxsize=4096)
def width(text: str, em: int, weight: int = REGULAR) -> int:
    """How many pixels a text takes on its line."""
    if not text:
        return 0
    _, _, wide, _ = cv2.getTextSize((0, 0), plain(text), (0, 0), _font(), em, weight)
    return int(wide)


def fitted(text: str, most: int, em: int, weight: int = REGULAR) -> str:
    """The text, its end replaced by an ellipsis where it is wider than `most` pixels; empty where nothing fits."""
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
    """Draw a text from `left` on, its small letters centred on the height `middle`, into `pixels` itself."""
    if text:
        cv2.putText(pixels, plain(text), (left, middle + round(em * 0.36)), colour, _font(), em, weight)
