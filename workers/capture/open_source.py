"""Opens the source that a stream's settings name."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from bimodal.broker.paths import unpack
from bimodal.workers.capture.choice import Choice
from bimodal.workers.capture.types import Damage, OpenSource, Picture, Sound, SourceProblems
from bimodal.workers.demo import DEMO
from bimodal.workers.errors import SourceError
from bimodal.workers.settings import CaptureActorSettings

LOOP_DAMAGE_SHOWN_S = 10.0

Item = TypeVar("Item", Picture, Sound)


def open_source(settings: CaptureActorSettings, directory: Path, slots: Path, *, again: bool = False) -> OpenSource:
    """Open the source that the settings name; `directory` and `slots` are the session's. Raises SourceError with the
    reason.

    `again`: the source worked before in this session, so a device that is missing now is waited for.
    """
    wanted, max_height = settings.source, settings.capture.max_height
    if wanted.file is not None:
        return file_source(unpack(wanted.file), max_height, loop=wanted.loop, choice=wanted.choice)
    if wanted.browser:
        from bimodal.workers.capture import browser

        return browser.browser_source(settings.stream, directory, max_height)
    if wanted.push:
        from bimodal.workers.capture import push

        return push.push_source(settings.stream, directory, slots, max_height, wanted.push)
    # Loaded for live sources only: OpenCV alone takes 0.1 s.
    from bimodal.workers.capture import reconnect

    if wanted.url is not None:
        return reconnect.network_source(wanted.url, max_height, wanted.choice, wanted.snapshot_fps)
    if wanted.auto:
        return _auto_source(directory / f"{settings.stream}.devices", max_height, again=again)
    found = reconnect.device_source(wanted.camera, wanted.microphone, max_height, patient=again)
    if found is None:
        raise SourceError(f"stream '{settings.stream}' has neither a camera nor a microphone; see 'bimodal devices'")
    return found


def _auto_source(taken: Path, max_height: int, *, again: bool) -> OpenSource:
    """Open the first camera and microphone that work, else the demo clip.

    The choice is kept in the file `taken`: after a restart of the process the same devices are waited for, because an
    unplugged camera must not be replaced by the demo's face.
    """
    from bimodal.workers.capture import reconnect

    if again and taken.exists():
        camera, microphone = msgspec.json.decode(taken.read_bytes(), type=tuple[int | None, int | None])
        found = reconnect.device_source(camera, microphone, max_height, patient=True)
    else:
        camera, microphone = reconnect.auto_devices()
        found = reconnect.device_source(camera, microphone, max_height)
    if found is None:
        taken.unlink(missing_ok=True)
        return demo_source(max_height)
    taken.write_bytes(msgspec.json.encode((camera, microphone)))
    return found


class Begun(Generic[Item]):
    """A reader of a file whose first item was read to describe it: the first call goes on with that item, instead of
    opening the file once more; each later one begins anew."""

    def __init__(self, begin: Callable[[], Iterator[Item]]) -> None:
        self._begin: Callable[[], Iterator[Item]] = begin
        self._begun: tuple[Item, Iterator[Item]] | None = None

    def first(self) -> Item | None:
        """Begin, and read the first item; None where there is none."""
        reading = self._begin()
        item = next(reading, None)
        self._begun = None if item is None else (item, reading)
        return item

    def __call__(self) -> Iterator[Item]:
        """Read from the beginning."""
        begun, self._begun = self._begun, None
        if begun is None:
            yield from self._begin()
            return
        item, reading = begun
        yield replace(item, grab_ns=time.monotonic_ns())
        yield from reading


def file_source(path: Path, max_height: int, *, loop: bool = False, choice: Choice | None = None) -> OpenSource:
    """Open a media file; sound and picture are demuxed apart, so that a badly interleaved one can't deadlock."""
    from bimodal.workers.capture import files

    choice = choice or Choice()
    problems = SourceProblems()
    if loop:
        info = files.probe(path, choice)
        source = OpenSource(info=info, problems=problems)
        damage = Damage(problems, LOOP_DAMAGE_SHOWN_S)
        for sentence in info.notes:
            problems.note(sentence)
        if info.has_picture:
            source.pictures = partial(files.looped_pictures, path, max_height, damage, choice)
        if info.has_sound:
            source.sounds = partial(files.looped_sounds, path, damage, choice, problems.note)
        return source
    damage = Damage(problems)
    pictures = Begun(partial(files.pictures, path, max_height, damage, choice))
    sounds = Begun(partial(files.sounds, path, damage, choice, problems.note))
    info = files.describe(path, choice, pictures.first, sounds.first, problems.note)
    return OpenSource(
        info=info,
        pictures=pictures if info.has_picture else None,
        sounds=sounds if info.has_sound else None,
        problems=problems,
    )


def demo_source(max_height: int) -> OpenSource:
    """Open the demo clip, looped for ever."""
    source = file_source(DEMO, max_height, loop=True)
    source.info = replace(source.info, name="the demo clip (no camera and no microphone was found)")
    return source
