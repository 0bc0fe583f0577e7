"""Boxes around faces, each with its track, label and confidence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bimodal.broker.messages import TrackedFace
from bimodal.workers.drawing import text
from bimodal.workers.drawing.said import caption
from bimodal.workers.drawing.shapes import Box, fill, frame
from bimodal.workers.drawing.style import FUSED, TEXT, Metrics, Pixels


def boxes(
    pixels: Pixels,
    faces: Sequence[TrackedFace],
    speaking: TrackedFace | None,
    scale: tuple[float, float],
    within: Box,
    size: Metrics,
) -> None:
    """Draw every face's box into `pixels`; `within` is where captions may stand.

    Args:
        speaking: the face that the event's verdict is of; its box is thicker.
        scale: pixels of the picture for one pixel of the frame that was looked at, across and down.
    """
    height, width = pixels.shape[:2]
    placed = [_on_picture(face, scale, width, height) for face in faces]
    for face, box in zip(faces, placed, strict=True):
        frame(pixels, box, FUSED, size.stroke * (2 if face is speaking else 1))
    taken: list[Box] = []
    for face, box in zip(faces, placed, strict=True):
        said = text.fitted(caption(face), within.right - within.left - 2 * size.gap, size.em, text.BOLD)
        label = place_caption(box, text.width(said, size.em, text.BOLD) + 2 * size.gap, size, within, taken)
        taken.append(label)
        fill(pixels, label, FUSED)
        middle = (label.top + label.bottom) // 2
        text.write(pixels, said, label.left + size.gap, middle, size.em, TEXT, text.BOLD)


def _on_picture(face: TrackedFace, scale: tuple[float, float], width: int, height: int) -> Box:
    """The face's box on the picture; what reaches over the edge ends at the edge."""
    x, y, wide, high = face.box
    left, right = round(x * scale[0]), round((x + wide) * scale[0])
    top, bottom = round(y * scale[1]), round((y + high) * scale[1])
    across = [max(0, min(value, width)) for value in (left, right)]
    down = [max(0, min(value, height)) for value in (top, bottom)]
    return Box(across[0], down[0], across[1], down[1])


def place_caption(box: Box, wide: int, size: Metrics, within: Box, taken: Iterable[Box]) -> Box:
    """Where a caption `wide` pixels wide stands: above its box, in it, below or at its foot, clear of the others."""
    high = size.line
    left = max(within.left, min(box.left, within.right - wide))
    candidates = []
    for top in (box.top - high, box.top, box.bottom, box.bottom - high):
        top = max(within.top, min(top, within.bottom - high))
        candidates.append(Box(left, top, left + wide, top + high))
    return next((spot for spot in candidates if not any(spot.overlaps(other) for other in taken)), candidates[0])
