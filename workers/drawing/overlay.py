"""An event, drawn into the picture that it speaks of."""

from __future__ import annotations

import numpy as np

from bimodal.broker.messages import Emotion
from bimodal.workers.drawing import text
from bimodal.workers.drawing.bars import bars
from bimodal.workers.drawing.boxes import boxes
from bimodal.workers.drawing.said import Piece, headline, rows
from bimodal.workers.drawing.shapes import Box, shade
from bimodal.workers.drawing.style import GROUND, Metrics, Pixels, Style, metrics
from bimodal.workers.verdict import leading

MOST_LINES = 2
PLAIN = Style()


def overlay(pixels: Pixels, event: Emotion, style: Style = PLAIN, scale: tuple[float, float] = (1.0, 1.0)) -> Pixels:
    """The picture with the event drawn into it, as a new array.

    Args:
        pixels: uint8 [H, W, 3] RGB; 160×120 and larger is readable, any size is drawn.
        style: what is shown.
        scale: pixels of this picture for one pixel of the frame that the event speaks of, across and down.
    """
    height, width = pixels.shape[:2]
    drawn = ground(width, height) if style.faces == "hide" else np.array(pixels, np.uint8, order="C")
    size = metrics(width, height)
    pieces = _lines(headline(event, style), width - 2 * size.gap, size)
    head = size.line * len(pieces) + size.gap
    foot = height - (size.line * 4 + size.gap if style.bars else 0)
    speaking = leading(event)
    within = Box(0, head, width, foot) if foot - head >= size.line else Box(0, 0, width, height)
    boxes(drawn, event.faces, speaking, scale, within, size)
    if style.bars:
        bars(drawn, rows(event), size)
    _headline(drawn, pieces, size)
    return drawn


def ground(width: int = 640, height: int = 360) -> Pixels:
    """A plain dark picture: for hidden faces, and for a stream without picture."""
    return np.full((height, width, 3), GROUND, np.uint8)


def _lines(pieces: list[Piece], room: int, size: Metrics) -> list[list[Piece]]:
    """The pieces on lines, at most two; what does not fit is shortened or left out."""
    lines: list[list[Piece]] = [[]]
    left = room
    for piece in pieces:
        weight = text.BOLD if piece.bold else text.REGULAR
        wide = text.width(piece.text, size.em, weight)
        if wide > left and lines[-1] and len(lines) < MOST_LINES:
            lines.append([])
            left = room
        said = text.fitted(piece.text, left, size.em, weight)
        if said:
            lines[-1].append(piece._replace(text=said))
            left -= text.width(said, size.em, weight) + size.em
    return [line for line in lines if line]


def _headline(pixels: Pixels, lines: list[list[Piece]], size: Metrics) -> None:
    for number, line in enumerate(lines):
        weights = [text.BOLD if piece.bold else text.REGULAR for piece in line]
        widths = [text.width(piece.text, size.em, weight) for piece, weight in zip(line, weights, strict=True)]
        top = number * size.line
        wide = sum(widths) + size.em * (len(line) - 1) + 2 * size.gap
        shade(pixels, Box(0, top, wide, top + size.line + (size.gap if number == len(lines) - 1 else 0)))
        left = size.gap
        for piece, weight, taken in zip(line, weights, widths, strict=True):
            middle = top + (size.line + size.gap) // 2
            text.write(pixels, piece.text, left, middle, size.em, piece.colour, weight)
            left += taken + size.em
