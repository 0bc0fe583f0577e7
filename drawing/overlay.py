"""Overlay of an event on its picture: boxes with captions, headline and bars."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from bimodal.broker.events import Emotion, TrackedFace, leading
from bimodal.drawing import canvas
from bimodal.drawing.canvas import Box, fill, fill_share, frame, shade
from bimodal.drawing.captions import Piece, Row, caption, headline, percent, rows, shown_set
from bimodal.drawing.faces import Points, affect_plane, marks
from bimodal.drawing.style import (
    FAINT,
    FUSED,
    GROUND,
    SPEECH,
    TEXT,
    TROUGH,
    VIDEO,
    Colour,
    Metrics,
    Pixels,
    Style,
    metrics,
)
from bimodal.models.emotions import SEVEN, EmotionSet

MOST_LINES = 2
PLAIN = Style()


def overlay(pixels: Pixels, event: Emotion, style: Style = PLAIN, meshes: Sequence[Points | None] = ()) -> Pixels:
    """Draw an event on a copy of its picture and return that.

    Args:
        pixels: uint8 [H, W, 3] RGB, the event's picture at any size; readable from 160×120 on. Boxes are scaled from
            the event's `size`; those of an event without one are in pixels of this picture.
        style: which elements are shown.
        meshes: of the event's faces in their order, for a style that draws them: float32 [468 or 478, 2 or more] in
            pixels of this picture; None where one has none. Events hold none.
    """
    height, width = pixels.shape[:2]
    scale = (width / event.size[0], height / event.size[1]) if event.size is not None else (1.0, 1.0)
    drawn = ground(width, height) if style.faces == "hide" else np.array(pixels, np.uint8, order="C")
    size = metrics(width, height)
    pieces = _lines(headline(event, style), width - 2 * size.gap, size)
    head = size.line * len(pieces) + size.gap
    foot = height - (size.line * 4 + size.gap if style.bars else 0)
    speaking = leading(event)
    within = Box(0, head, width, foot) if foot - head >= size.line else Box(0, 0, width, height)
    placed = [_on_picture(face, scale, width, height) for face in event.faces]
    for face, box in zip(event.faces, placed, strict=True):
        frame(drawn, box, FUSED, size.stroke * (2 if face is speaking else 1))
    marks(drawn, event, style.draw, scale, size, meshes)
    _captions(drawn, event.faces, placed, within, size)
    if style.bars:
        bars(drawn, rows(event), size, shown_set(event, style))
    if "affect" in style.draw:
        affect_plane(drawn, event, head, size)
    _headline(drawn, pieces, size)
    return drawn


def ground(width: int = 640, height: int = 360) -> Pixels:
    """Make a plain dark picture, for hidden faces and for streams without picture."""
    return np.full((height, width, 3), GROUND, np.uint8)


def _lines(pieces: list[Piece], room: int, size: Metrics) -> list[list[Piece]]:
    """Break the pieces into at most two lines; pieces that do not fit are shortened or left out."""
    lines: list[list[Piece]] = [[]]
    left = room
    for piece in pieces:
        weight = canvas.BOLD if piece.bold else canvas.REGULAR
        wide = canvas.width(piece.text, size.em, weight)
        if wide > left and lines[-1] and len(lines) < MOST_LINES:
            lines.append([])
            left = room
        text = canvas.fitted(piece.text, left, size.em, weight)
        if text:
            lines[-1].append(piece._replace(text=text))
            left -= canvas.width(text, size.em, weight) + size.em
    return [line for line in lines if line]


def _headline(pixels: Pixels, lines: list[list[Piece]], size: Metrics) -> None:
    for number, line in enumerate(lines):
        weights = [canvas.BOLD if piece.bold else canvas.REGULAR for piece in line]
        widths = [canvas.width(piece.text, size.em, weight) for piece, weight in zip(line, weights, strict=True)]
        top = number * size.line
        wide = sum(widths) + size.em * (len(line) - 1) + 2 * size.gap
        shade(pixels, Box(0, top, wide, top + size.line + (size.gap if number == len(lines) - 1 else 0)))
        left = size.gap
        for piece, weight, taken in zip(line, weights, widths, strict=True):
            middle = top + (size.line + size.gap) // 2
            canvas.write(pixels, piece.text, left, middle, size.em, piece.colour, weight)
            left += taken + size.em


# Boxes


def _captions(pixels: Pixels, faces: Sequence[TrackedFace], placed: Sequence[Box], within: Box, size: Metrics) -> None:
    """Write every face's caption at its box; captions stay `within` that box."""
    taken: list[Box] = []
    for face, box in zip(faces, placed, strict=True):
        text = canvas.fitted(caption(face), within.right - within.left - 2 * size.gap, size.em, canvas.BOLD)
        label = place_caption(box, canvas.width(text, size.em, canvas.BOLD) + 2 * size.gap, size, within, taken)
        taken.append(label)
        fill(pixels, label, FUSED)
        middle = (label.top + label.bottom) // 2
        canvas.write(pixels, text, label.left + size.gap, middle, size.em, TEXT, canvas.BOLD)


def _on_picture(face: TrackedFace, scale: tuple[float, float], width: int, height: int) -> Box:
    """The face's box in pixels of the picture, clipped at its edges."""
    x, y, wide, high = face.box
    left, right = round(x * scale[0]), round((x + wide) * scale[0])
    top, bottom = round(y * scale[1]), round((y + high) * scale[1])
    across = [max(0, min(value, width)) for value in (left, right)]
    down = [max(0, min(value, height)) for value in (top, bottom)]
    return Box(across[0], down[0], across[1], down[1])


def place_caption(box: Box, wide: int, size: Metrics, within: Box, taken: Iterable[Box]) -> Box:
    """Place a caption `wide` pixels wide above its box, in it, below or at its foot, clear of the `taken` places."""
    high = size.line
    left = max(within.left, min(box.left, within.right - wide))
    candidates = []
    for top in (box.top - high, box.top, box.bottom, box.bottom - high):
        top = max(within.top, min(top, within.bottom - high))
        candidates.append(Box(left, top, left + wide, top + high))
    return next((spot for spot in candidates if not any(spot.overlaps(other) for other in taken)), candidates[0])


# Bars

COLOURS: Mapping[str, Colour] = {"video": VIDEO, "speech": SPEECH, "fused": FUSED}
SHORT = 3
SPARE = "23456789abcdefghijklmnopqrstuvwxyz"


def bars(pixels: Pixels, rows: Mapping[str, Row], size: Metrics, about: EmotionSet = SEVEN) -> int:
    """Draw a row of bars for each of `rows` at the foot of `pixels`, one for each emotion and category of the set;
    return the y at which the panel begins."""
    labels = (*about.emotions, *about.categories)
    height, width = (int(side) for side in pixels.shape[:2])
    top = max(0, height - size.line * (len(rows) + 1) - size.gap)
    shade(pixels, Box(0, top, width, height))
    names = max(canvas.width(name, size.em, canvas.BOLD) for name in rows) + 2 * size.gap
    left, cell = size.gap + names, (width - names - 2 * size.gap) / len(labels)
    edges = [round(left + cell * number) for number in range(len(labels) + 1)]
    cells = [(begin, end - size.gap) for begin, end in pairwise(edges)]
    _heading(pixels, labels, cells, top + (size.line + size.gap) // 2, size)
    for number, (name, row) in enumerate(rows.items(), start=1):
        above = top + size.gap // 2 + number * size.line
        below = above + size.line - max(1, size.gap // 2)
        middle = (above + 1 + below) // 2
        canvas.write(pixels, name, size.gap, middle, size.em, TEXT, canvas.BOLD)
        if row.probabilities is None:
            room = width - left - size.gap
            canvas.write(pixels, canvas.fitted(row.reason, room, size.em), left, middle, size.em, FAINT)
            continue
        for label, (begin, end) in zip(labels, cells, strict=True):
            box = Box(begin, above + 1, end, below)
            shares = row.probabilities if label in about.emotions else row.other
            _bar(pixels, box, shares.get(label), COLOURS[name], size)
    return top


def _heading(pixels: Pixels, labels: Sequence[str], cells: list[tuple[int, int]], middle: int, size: Metrics) -> None:
    """Write the names, all cut to as many letters as fit into a bar, but to no less than three."""
    names = _fitting(tuple(labels), cells[0][1] - cells[0][0], size.em)
    for name, (begin, _) in zip(names, cells, strict=True):
        canvas.write(pixels, name, begin, middle, size.em, FAINT)


@functools.lru_cache(maxsize=32)
def _fitting(labels: tuple[str, ...], room: int, em: int) -> list[str]:
    """The longest names that all fit."""
    cuts = (shortened(labels, length) for length in range(max(map(len, labels)), SHORT, -1))
    fitting = (cut for cut in cuts if all(canvas.width(name, em) <= room for name in cut))
    return next(fitting, None) or shortened(labels, SHORT)


def shortened(labels: Sequence[str], length: int) -> list[str]:
    """Names of at most `length` letters, two or more, of which no two are alike: of confused and contempt, in three
    letters, remain cof and cot."""
    found: list[str] = []
    for label in labels:
        alike = [other for other in labels if other != label and other[:length] == label[:length]]
        apart = [at for at in range(length, len(label)) if all(other[at : at + 1] != label[at] for other in alike)]
        letters = ([label[apart[0]]] if alike and apart else []) + ([label[length - 1]] if len(label) >= length else [])
        names = [label[: length - 1] + letter for letter in (*letters, *label[length:], *SPARE)]
        found.append(next(name for name in (names if len(label) >= length else [label, *names]) if name not in found))
    return found


def _bar(pixels: Pixels, box: Box, share: float | None, colour: Colour, size: Metrics) -> None:
    """Draw one bar with its number; nothing for an emotion that the model does not know."""
    if share is None:
        return
    fill(pixels, box, TROUGH)
    fill_share(pixels, box, share, colour)
    text, room = percent(share), box.right - box.left
    if canvas.width(percent(1.0), size.em) > room - size.gap:
        text = text.removesuffix(" %")
    if canvas.width(text, size.em) <= room:
        inset = min(size.gap, (room - canvas.width(text, size.em)) // 2)
        canvas.write(pixels, text, box.left + inset, (box.top + box.bottom) // 2, size.em, TEXT)
