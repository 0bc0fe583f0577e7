"""A file played again and again, on one time line that never turns back: the demo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bimodal.workers.capture import media
from bimodal.workers.capture.items import Picture, Sound
from bimodal.workers.capture.media import Report
from bimodal.workers.errors import SourceError

NANO = 1_000_000_000


def pictures(path: Path | str, max_height: int | None = None, report: Report | None = None) -> Iterator[Picture]:
    """Round after round without an end; round n is moved by n times the file's duration.

    A picture at or after the duration's end is left out. Raises SourceError where the file can't be read, or does
    not say how long it is.
    """
    period_ns = _period_ns(path)
    shift_ns = 0
    while True:
        for picture in media.pictures(path, max_height, report):
            if picture.pts_ns < period_ns:
                yield replace(picture, pts_ns=picture.pts_ns + shift_ns)
        shift_ns += period_ns


def sounds(path: Path | str, report: Report | None = None) -> Iterator[Sound]:
    """Round after round without an end, in step with `pictures`; what is after the duration's end is cut off.

    Raises SourceError as `pictures` does.
    """
    period_ns = _period_ns(path)
    shift_ns = 0
    while True:
        for sound in media.sounds(path, report):
            samples = sound.samples[: max(0, (period_ns - sound.pts_ns) * sound.rate // NANO)]
            if samples.size:
                yield replace(sound, pts_ns=sound.pts_ns + shift_ns, samples=samples)
        shift_ns += period_ns


def _period_ns(path: Path | str) -> int:
    info = media.probe(path)
    if info.duration_ns is None:
        raise SourceError(f"{path} can't be played in a loop: it does not say how long it is")
    return info.duration_ns
