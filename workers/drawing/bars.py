"""Three rows of seven bars at the foot of a picture: what the face shows, the voice carries, and both mean."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from bimodal.models.emotions import EMOTIONS
from bimodal.workers.drawing import text
from bimodal.workers.drawing.said import Row, percent
from bimodal.workers.drawing.shapes import Box, fill, fill_share, shade
from bimodal.workers.drawing.style import FAINT, FUSED, SPEECH, TEXT, TROUGH, VIDEO, Colour, Metrics, Pixels

COLOURS: Mapping[str, Colour] = {"video": VIDEO, "speech": SPEECH, "fused": FUSED}
SHORT = 3


def bars(pixels: Pixels, rows: Mapping[str, Row], size: Metrics) -> int:
    """Draw the panel into `pixels` and return the height, in pixels from the top, at which it begins."""
    height, width = (int(side) for side in pixels.shape[:2])
    top = max(0, height - size.line * (len(rows) + 1) - size.gap)
    shade(pixels, Box(0, top, width, height))
    names = max(text.width(name, size.em, text.BOLD) for name in rows) + 2 * size.gap
    left, cell = size.gap + names, (width - names - 2 * size.gap) / len(EMOTIONS)
    edges = [round(left + cell * number) for number in range(len(EMOTIONS) + 1)]
    cells = [(begin, end - size.gap) for begin, end in pairwise(edges)]
    _heading(pixels, cells, top + (size.line + size.gap) // 2, size)
    for number, (name, row) in enumerate(rows.items(), start=1):
        above = top + size.gap // 2 + number * size.line
        below = above + size.line - max(1, size.gap // 2)
        middle = (above + 1 + below) // 2
        text.write(pixels, name, size.gap, middle, size.em, TEXT, text.BOLD)
        if row.probabilities is None:
            room = width - left - size.gap
            text.write(pixels, text.fitted(row.because, room, size.em), left, middle, size.em, FAINT)
            continue
        for emotion, (begin, end) in zip(EMOTIONS, cells, strict=True):
            box = Box(begin, above + 1, end, below)
            _bar(pixels, box, row.probabilities.get(emotion), COLOURS[name], size)
    return top


def _heading(pixels: Pixels, cells: list[tuple[int, int]], middle: int, size: Metrics) -> None:
    """The emotions' names, all of them cut to three letters where one is too long for its bar."""
    room = cells[0][1] - cells[0][0]
    whole = all(text.width(emotion, size.em) <= room for emotion in EMOTIONS)
    for emotion, (begin, _) in zip(EMOTIONS, cells, strict=True):
        text.write(pixels, emotion if whole else emotion[:SHORT], begin, middle, size.em, FAINT)


def _bar(pixels: Pixels, box: Box, share: float | None, colour: Colour, size: Metrics) -> None:
    """One bar with its number; an emotion that the model does not know has neither."""
    if share is None:
        return
    fill(pixels, box, TROUGH)
    fill_share(pixels, box, share, colour)
    said, room = percent(share), box.right - box.left
    if text.width(percent(1.0), size.em) > room - size.gap:
        said = said.removesuffix(" %")
    if text.width(said, size.em) <= room:
        inset = min(size.gap, (room - text.width(said, size.em)) // 2)
        text.write(pixels, said, box.left + inset, (box.top + box.bottom) // 2, size.em, TEXT)
