"""A file played again and again, on one time line that never turns back: the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from workers.capture.items import Picture, Sound, SourceInfo
from workers.errors import SourceError

NANO = 1_000_000_000


def loop_period_ns(info: SourceInfo) -> int:
    """How long one round of a file is; picture and sound of a file must be looped with the same period.

    Raises SourceError where the file does not say how long it is.
    """
    if info.duration_ns is None:
        raise SourceError(f"{info.name} can't be played in a loop: it does not say how long it is")
    return info.duration_ns


def looped_pictures(pictures: Callable[[], Iterator[Picture]], period_ns: int) -> Iterator[Picture]:
    """Round after round; round n is moved by n · period. A picture at or after the period's end is left out."""
    shift_ns = 0
    while True:
        for picture in pictures():
            if picture.pts_ns < period_ns:
                yield replace(picture, pts_ns=picture.pts_ns + shift_ns)
        shift_ns += period_ns


def looped_sounds(sounds: Callable[[], Iterator[Sound]], period_ns: int) -> Iterator[Sound]:
    """Round after round; round n is moved by n · period. Sound after the period's end is cut off."""
    shift_ns = 0
    while True:
        for sound in sounds():
            samples = sound.samples[: max(0, (period_ns - sound.pts_ns) * sound.rate // NANO)]
            if samples.size:
                yield replace(sound, pts_ns=sound.pts_ns + shift_ns, samples=samples)
        shift_ns += period_ns
