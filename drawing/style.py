"""Style of the drawing: colours, visible elements, and sizes relative to the picture's."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.drawing.marks import Marks
from bimodal.models.emotions import EmotionSet

Pixels = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]

# RGB. White text has a contrast of at least 3 : 1 on VIDEO, SPEECH and FUSED.
VIDEO: Colour = (34, 150, 70)
SPEECH: Colour = (214, 50, 50)
FUSED: Colour = (136, 76, 220)
GROUND: Colour = (24, 24, 24)
TROUGH: Colour = (62, 62, 70)
TEXT: Colour = (255, 255, 255)
FAINT: Colour = (190, 190, 198)
WARNING: Colour = (255, 200, 60)

SMALLEST_TEXT_PX = 7
LINES_A_HEIGHT = 30
EMS_A_WIDTH = 46


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """Elements that are shown.

    Attributes:
        faces: `hide` draws everything on a plain background, without any pixel of the picture.
        bars: the three rows of bars at the bottom.
        name: the stream's name.
        latency: milliseconds from grab to event.
        draw: what of the faces is drawn beside their boxes.
        emotions: what the bars are of; None: what the event names, and all of the seven where it names no others.
    """

    faces: Literal["show", "hide"] = "show"
    bars: bool = True
    name: bool = True
    latency: bool = False
    draw: Marks = ()
    emotions: EmotionSet | None = None


class Metrics(NamedTuple):
    """Sizes in pixels for a picture's size.

    Attributes:
        em: height of the text.
        line: distance of lines of text.
        gap: space between elements.
        stroke: width of an outline.
    """

    em: int
    line: int
    gap: int
    stroke: int


def metrics(width: int, height: int) -> Metrics:
    """Compute the sizes for a picture; text is never smaller than 7 pixels, the smallest readable size."""
    em = max(SMALLEST_TEXT_PX, round(min(height / LINES_A_HEIGHT, width / EMS_A_WIDTH)))
    return Metrics(em=em, line=round(em * 1.45), gap=max(2, round(em * 0.4)), stroke=max(1, round(em / 8)))
