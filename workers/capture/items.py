"""What sources give: pictures, sounds, what is known of a source, and word of what happens to a live one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One video frame.

    Attributes:
        pts_ns: its place on the stream's own time line, strictly increasing.
        grab_ns: `time.monotonic_ns()` when it was grabbed (of a file: read). For latency only.
        pixels: uint8 [H, W, 3] RGB, upright, contiguous.
    """

    pts_ns: int
    grab_ns: int
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A stretch of sound.

    Attributes:
        pts_ns: when its first sample was, on the stream's own time line.
        grab_ns: `time.monotonic_ns()` when its last sample was grabbed. For latency only.
        samples: float32 [n] mono, −1…1.
        rate: samples a second, the source's own.
    """

    pts_ns: int
    grab_ns: int
    samples: NDArray[np.float32]
    rate: int


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source when it is opened.

    Attributes:
        width, height: of an upright picture before `max_height` scales it; 0 without a picture.
        fps: nominal; 0 where unknown.
        frames_estimate: how many pictures there may be; None where unknown.
        duration_ns: from the start of the source to its end; None where unknown or live.
        sample_rate: Hz; 0 without sound.
        sound_start_ns: `pts_ns` of the first sound of a file; the grid of hops begins there.
        live: it can't wait, and has no end of its own.
        name: as users see it, without passwords.
        promised_ns: how long a file's header says it is, where that can be trusted; less than that is a file cut off.
    """

    has_picture: bool
    has_sound: bool
    width: int
    height: int
    fps: float
    frames_estimate: int | None
    duration_ns: int | None
    sample_rate: int
    live: bool
    name: str
    sound_start_ns: int = 0
    promised_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """A network source was opened, for the first time or again."""

    info: SourceInfo


@dataclass(frozen=True, slots=True)
class Interruption:
    """A network source was lost or could not be opened; it is tried again after `retry_s` seconds."""

    because: str
    retry_s: float
