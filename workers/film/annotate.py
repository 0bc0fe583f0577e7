"""A copy of an analysed file with every frame's event drawn into it, its sound kept, at its own size and times."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import av

from bimodal.broker.messages import Emotion
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import Pixels, Style
from bimodal.recordings.reading import read_events
from bimodal.workers.capture import media
from bimodal.workers.capture.conversion import scaled_size
from bimodal.workers.film.errors import FilmError, film_error
from bimodal.workers.film.names import part_name
from bimodal.workers.film.source_sound import SourceSound
from bimodal.workers.film.writer import FilmWriter

VOICE_ONLY = (640, 360)


class _Shown(NamedTuple):
    pts_ns: int
    pixels: Pixels
    event: Emotion | None


def annotate(
    source: Path, events: Path, film: Path, *, max_height: int, style: Style, told: Callable[[int], None]
) -> int:
    """Write `film` and return how many pictures it has; it takes its name only when it is complete.

    The source is decoded again, as capture decodes it, and keeps its size: boxes are scaled from the height at which
    its frames were looked at. A source without picture gets a plain one for each event.

    Args:
        events: the file's NAME.jsonl.
        max_height: higher frames were scaled down to it for the models (capture.max_height).
        told: called with the number of pictures so far, after each.

    Raises SourceError or RecordError where source or events can't be read, FilmError where the film can't be written.
    """
    info = media.probe(source)
    size = (info.width, info.height) if info.has_picture else VOICE_ONLY
    looked_at = scaled_size(*size, max_height) if info.has_picture else size
    scale = (size[0] / looked_at[0], size[1] / looked_at[1])
    shown = _paired(source, events) if info.has_picture else _plain(events)
    part = part_name(film)
    try:
        with _writing(part, size, info.fps, source) as (writer, sound):
            for pts_ns, pixels, event in shown:
                sound.up_to(pts_ns)
                writer.picture(pts_ns, overlay(pixels, event, style, scale) if event is not None else pixels)
                told(writer.pictures)
            sound.up_to(None)
            writer.close()
        part.replace(film)
    except OSError as error:
        raise film_error(error, film) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    return writer.pictures


@contextlib.contextmanager
def _writing(part: Path, size: tuple[int, int], fps: float, source: Path) -> Iterator[tuple[FilmWriter, SourceSound]]:
    writer = FilmWriter(part, size, fps)
    try:
        sound = SourceSound(source, writer)
    except av.FFmpegError as error:
        raise FilmError(f"the sound of {source} can't be read: {error.strerror}") from error
    try:
        yield writer, sound
    finally:
        sound.close()


def _paired(source: Path, events: Path) -> Iterator[_Shown]:
    """Each picture with its event, by number; a picture without one is shown as it is."""
    following = read_events(events)
    event = next(following, None)
    for number, picture in enumerate(media.pictures(source)):
        while event is not None and event.seq < number:
            event = next(following, None)
        found = event if event is not None and event.seq == number else None
        yield _Shown(picture.pts_ns, picture.pixels, found)


def _plain(events: Path) -> Iterator[_Shown]:
    for event in read_events(events):
        yield _Shown(round(event.t * media.NANO), ground(*VOICE_ONLY), event)
