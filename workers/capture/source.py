"""The source of a stream, opened: what it is, and the iterators that the reader threads walk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from workers.capture.items import Connected, Picture, Sound, SourceInfo
from workers.errors import SourceError
from workers.settings import CaptureSettings

DEMO = Path(__file__).parents[1] / "demo" / "demo.mp4"


@dataclass
class OpenSource:
    """What a run reads from.

    Attributes:
        info: what the source is.
        pictures, sounds: begin to read one of both, each in a thread of its own; None where there is none.
        mixed: begins to read both from one connection, which says what it carries with `Connected`; None where
            they are read apart.
        stopped: ends live readers soon once it is set.
        trouble: what a live source suffers at the moment, in one sentence, else None.
    """

    info: SourceInfo
    pictures: Callable[[], Iterator[Picture]] | None = None
    sounds: Callable[[], Iterator[Sound]] | None = None
    mixed: Callable[[], Iterator[Picture | Sound | Connected]] | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    trouble: str | None = None


def open_source(settings: CaptureSettings) -> OpenSource:
    """Open what the settings name. Raises SourceError, with the reason, where that fails."""
    if settings.file is not None:
        return file_source(Path(settings.file), settings.max_height, loop=settings.loop)
    # What only live sources need is loaded only for them: OpenCV alone takes a tenth of a second.
    from workers.capture import live

    if settings.url is not None:
        return live.network_source(settings.url, settings.max_height)
    if settings.auto:
        return live.device_source("auto", "auto", settings.max_height) or demo_source(settings.max_height)
    found = live.device_source(settings.camera, settings.microphone, settings.max_height)
    if found is None:
        raise SourceError(f"stream '{settings.stream}' has neither a camera nor a microphone; see 'bimodal devices'")
    return found


def file_source(path: Path, max_height: int, *, loop: bool = False) -> OpenSource:
    """A media file; sound and picture are demuxed apart, so that a badly interleaved one can't deadlock."""
    from workers.capture import looped, media

    info = media.probe(path)
    reads = looped if loop else media
    return OpenSource(
        info=info,
        pictures=partial(reads.pictures, path, max_height) if info.has_picture else None,
        sounds=partial(reads.sounds, path) if info.has_sound else None,
    )


def demo_source(max_height: int) -> OpenSource:
    """The clip that the project ships, for ever."""
    source = file_source(DEMO, max_height, loop=True)
    source.info = replace(source.info, name="the demo clip (no camera and no microphone was found)")
    return source
