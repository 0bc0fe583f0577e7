"""Clips in which a flash and a beep come at the same moment, and what a film shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bimodal.recordings.tables import event_line
from bimodal.workers.capture import files
from tests.drawing.making import event
from tests.media import tone, write_clip

FPS = 25
FLASHES = (20, 50)
WIDTH, HEIGHT = 160, 120
# Of the strip between headline and panel.
LOOK_AT = (slice(45, 60), slice(0, 20))
BRIGHT, DARK = 250, 20


class Seen(NamedTuple):
    """Times in seconds of every picture, of the flashes and of the beeps; (width, height) of the pictures."""

    pictures: list[float]
    flashes: list[float]
    beeps: list[float]
    size: tuple[int, int]


def flash_and_beep(
    path: Path,
    *,
    count: int = 75,
    rate: int = 48000,
    times_ms: Sequence[int] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    **how: Any,
) -> Path:
    """`count` pictures, white at FLASHES, with a beep of 50 ms that begins with each of them."""
    shown_ms = list(times_ms) if times_ms is not None else [round(number * 1000 / FPS) for number in range(count)]
    pictures = [
        np.full((size[1], size[0], 3), BRIGHT if number in FLASHES else DARK, np.uint8)
        for number in range(len(shown_ms))
    ]
    sound = np.zeros(round((shown_ms[-1] + 40) * rate / 1000), np.float32)
    for number in (flash for flash in FLASHES if flash < len(shown_ms)):
        begin = round(shown_ms[number] * rate / 1000)
        beep = tone(0.05, rate, 1000.0)
        sound[begin : begin + beep.size] = beep
    return write_clip(path, pictures, fps=FPS, sound=sound, rate=rate, times_ms=times_ms, **how)


def events_for(path: Path, count: int) -> Path:
    """An event for each of `count` pictures."""
    lines = [event_line(event(seq=number, t=number / FPS)) for number in range(count)]
    path.write_bytes(b"".join(lines))
    return path


def seen(path: Path) -> Seen:
    """What a film shows, as capture decodes it."""
    times, flashes, size = [], [], (0, 0)
    for picture in files.pictures(path):
        times.append(picture.pts_ns / 1e9)
        size = (picture.pixels.shape[1], picture.pixels.shape[0])
        if picture.pixels[LOOK_AT].mean() > (BRIGHT + DARK) / 2:
            flashes.append(times[-1])
    return Seen(times, flashes, beeps(path), size)


def beeps(path: Path) -> list[float]:
    """When sound begins after silence."""
    loud: list[float] = []
    for sound in files.sounds(path):
        begin_s = sound.pts_ns / 1e9
        loud += [begin_s + int(index) / sound.rate for index in np.flatnonzero(np.abs(sound.samples) > 0.1)]
    return [time for before, time in zip([-1.0, *loud], loud, strict=False) if time - before > 0.2]
