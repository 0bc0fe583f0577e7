"""Live sources as the reader threads walk them: opened again whenever they are lost, on one time line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, Protocol, TypeVar

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture import discover, network
from bimodal.workers.capture.camera import Camera
from bimodal.workers.capture.microphone import Microphone
from bimodal.workers.capture.types import Connected, Damage, Interruption, OpenSource, Part, Picture, Sound, SourceInfo
from bimodal.workers.errors import SourceError
from bimodal.workers.logs import redact

AUTO = "auto"
DAMAGE_SHOWN_S = 10.0

Item = TypeVar("Item", Picture, Sound)


class Device(Protocol):
    """What a camera and a microphone have in common."""

    info: SourceInfo

    def close(self) -> None:
        """Let it go."""


DeviceType = TypeVar("DeviceType", bound=Device)


def auto_devices() -> tuple[int | None, int | None]:
    """Indexes of the first camera and the first microphone that work, None where there is none."""
    return _first_camera(), _first_microphone()


def _first_camera() -> int | None:
    found = discover.first_camera()
    return found.index if found is not None else None


def _first_microphone() -> int | None:
    found = discover.first_microphone()
    return found.index if found is not None else None


def device_source(
    camera: int | str | None, microphone: int | str | None, max_height: int, *, patient: bool = False
) -> OpenSource | None:
    """A camera and a microphone, each of which may be None; `auto` takes the first that works, if there is one.

    Where one of two can't be opened, the other goes on alone, and the missing one is tried again and again.

    Args:
        patient: try again also where nothing can be opened (a source that once worked), instead of raising.

    None where neither is left. Raises SourceError where no device that was named can be opened.
    """
    anchor_ns = time.monotonic_ns()
    camera = _first_camera() if camera == AUTO else camera
    microphone = _first_microphone() if microphone == AUTO else microphone
    if camera is None and microphone is None:
        return None
    eye = ear = None
    if camera is not None:
        eye = Kept(partial(Camera, camera, anchor_ns=anchor_ns, max_height=max_height))
    if microphone is not None:
        device = None if microphone == "default" else microphone
        ear = Kept(partial(Microphone, device, anchor_ns=anchor_ns))
    missing = [str(kept.missing) for kept in (eye, ear) if kept is not None and kept.missing is not None]
    if len(missing) == sum(kept is not None for kept in (eye, ear)) and not patient:
        raise SourceError("; ".join(missing))
    source = OpenSource(info=_both(camera, eye, microphone, ear))
    if eye is not None:
        source.pictures = partial(eye.items, source, "picture", lambda device: device.pictures(source.stopped))
    if ear is not None:
        source.sounds = partial(ear.items, source, "sound", lambda device: device.sounds(source.stopped))
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
    damage = Damage(source.troubles, DAMAGE_SHOWN_S)
    for item in network.watch(url, source.stopped, max_height=max_height, report=damage):
        if isinstance(item, Interruption):
            source.degraded_reason = f"{item.because}; trying again in {item.retry_s:g} s"
            continue
        if not isinstance(item, Connected):
            source.degraded_reason = None
        yield item


class Kept(Generic[DeviceType]):
    """A device that is opened again whenever it is lost.

    Attributes:
        device: as it was opened first, else None.
        missing: why it could not be opened at first, else None.
    """

    def __init__(self, reopen: Callable[[], DeviceType]) -> None:
        self._reopen = reopen
        self.device: DeviceType | None = None
        self.missing: SourceError | None = None
        try:
            self.device = reopen()
        except SourceError as error:
            self.missing = error

    def items(self, source: OpenSource, part: Part, items: Callable[[DeviceType], Iterator[Item]]) -> Iterator[Item]:
        """The items of the device, through every loss of it, until the source is stopped; says what `part` suffers."""
        waits = BackOff()
        device, self.device = self.device, None
        lost, self.missing = self.missing, None
        while not source.stopped.is_set():
            if lost is not None:
                wait_s = waits.next()
                source.troubles.say(part, f"{lost}; trying again in {wait_s:g} s")
                source.stopped.wait(wait_s)
                lost = None
            try:
                device = device or self._reopen()
                for item in items(device):
                    waits.reset()
                    source.troubles.say(part, None)
                    yield item
                if not device.info.live:
                    return
            except SourceError as error:
                lost = error
            finally:
                if device is not None:
                    device.close()
                    device = None


def _both(
    camera: int | str | None, eye: Kept[Camera] | None, microphone: int | str | None, ear: Kept[Microphone] | None
) -> SourceInfo:
    """What is known of both; of one that is still missing, its name."""
    seen = eye.device.info if eye is not None and eye.device is not None else None
    heard = ear.device.info if ear is not None and ear.device is not None else None
    names = []
    if eye is not None:
        names.append(seen.name if seen is not None else f"camera {camera}")
    if ear is not None:
        names.append(heard.name if heard is not None else f"microphone {microphone}")
    return SourceInfo(
        has_picture=eye is not None,
        has_sound=ear is not None,
        width=seen.width if seen is not None else 0,
        height=seen.height if seen is not None else 0,
        fps=seen.fps if seen is not None else 0.0,
        frames_estimate=None,
        duration_ns=None,
        sample_rate=heard.sample_rate if heard is not None else 0,
        live=seen.live if seen is not None else True,
        name=" and ".join(names),
    )
