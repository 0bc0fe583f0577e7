"""Live sources as the reader threads walk them: opened again whenever they are lost, on one time line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol, TypeVar

from workers.back_off import BackOff
from workers.capture import discover, network
from workers.capture.camera import Camera
from workers.capture.items import Connected, Interruption, Picture, Sound, SourceInfo
from workers.capture.microphone import Microphone
from workers.capture.opened import OpenSource
from workers.capture.redact import redact
from workers.errors import SourceError

log = logging.getLogger(__name__)

AUTO = "auto"

Item = TypeVar("Item", Picture, Sound)


class Device(Protocol):
    """What a camera and a microphone have in common."""

    info: SourceInfo

    def close(self) -> None:
        """Let it go."""


DeviceType = TypeVar("DeviceType", bound=Device)


def device_source(camera: int | str | None, microphone: int | str | None, max_height: int) -> OpenSource | None:
    """A camera and a microphone, each of which may be None; `auto` takes the first that works, if there is one.

    None where neither is left. Raises SourceError where a device that was named can't be opened.
    """
    anchor_ns = time.monotonic_ns()
    if camera == AUTO:
        found = discover.first_camera()
        camera = found.index if found is not None else None
    if microphone == AUTO:
        heard = discover.first_microphone()
        microphone = heard.index if heard is not None else None
    if camera is None and microphone is None:
        return None
    eye = ear = None
    if camera is not None:
        open_camera = partial(Camera, camera, anchor_ns=anchor_ns, max_height=max_height)
        eye = open_camera()
    if microphone is not None:
        open_microphone = partial(Microphone, None if microphone == "default" else microphone, anchor_ns=anchor_ns)
        ear = open_microphone()
    source = OpenSource(info=_both(eye.info if eye else None, ear.info if ear else None))
    if eye is not None:
        source.pictures = partial(_kept_open, source, eye, open_camera, lambda device: device.pictures(source.stopped))
    if ear is not None:
        source.sounds = partial(_kept_open, source, ear, open_microphone, lambda device: device.sounds(source.stopped))
    return source


def network_source(url: str, max_height: int) -> OpenSource:
    """A network stream. It need not be there yet; what it carries is known once it is connected."""
    name = redact(url)
    info = SourceInfo(
        has_picture=True,
        has_sound=True,
        width=0,
        height=0,
        fps=0.0,
        frames_estimate=None,
        duration_ns=None,
        sample_rate=0,
        live=True,
        name=name,
    )
    source = OpenSource(info=info)
    source.mixed = partial(_watched, source, url, max_height)
    return source


def _watched(source: OpenSource, url: str, max_height: int) -> Iterator[Picture | Sound | Connected]:
    for item in network.watch(url, source.stopped, max_height=max_height):
        if isinstance(item, Interruption):
            source.trouble = f"{item.because}; trying again in {item.retry_s:g} s"
            log.warning("%s", source.trouble)
        else:
            source.trouble = None
            yield item


def _kept_open(
    source: OpenSource,
    device: DeviceType,
    reopen: Callable[[], DeviceType],
    items: Callable[[DeviceType], Iterator[Item]],
) -> Iterator[Item]:
    """The items of a device, through every loss of it, until the source is stopped."""
    waits = BackOff()
    held: DeviceType | None = device
    while not source.stopped.is_set():
        try:
            held = held or reopen()
            for item in items(held):
                waits.reset()
                source.trouble = None
                yield item
            if not held.info.live:
                held.close()
                return
        except SourceError as error:
            wait_s = waits.next()
            source.trouble = f"{error}; trying again in {wait_s:g} s"
            log.warning("%s", source.trouble)
            source.stopped.wait(wait_s)
        finally:
            if held is not None and (source.trouble is not None or source.stopped.is_set()):
                held.close()
                held = None


def _both(eye: SourceInfo | None, ear: SourceInfo | None) -> SourceInfo:
    info = eye or ear
    assert info is not None
    return SourceInfo(
        has_picture=eye is not None,
        has_sound=ear is not None,
        width=eye.width if eye else 0,
        height=eye.height if eye else 0,
        fps=eye.fps if eye else 0.0,
        frames_estimate=eye.frames_estimate if eye else None,
        duration_ns=None,
        sample_rate=ear.sample_rate if ear else 0,
        live=info.live,
        name=" and ".join(found.name for found in (eye, ear) if found is not None),
    )
