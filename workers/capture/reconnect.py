"""Live sources that are opened again whenever they are lost, on one time line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Generic, Protocol, TypeVar

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture import discover, network
from bimodal.workers.capture.camera import Camera
from bimodal.workers.capture.choice import DEFAULT, Choice
from bimodal.workers.capture.microphone import Microphone
from bimodal.workers.capture.types import Connected, Damage, Interruption, OpenSource, Part, Picture, Sound, SourceInfo
from bimodal.workers.errors import SourceError
from bimodal.workers.redaction import clean, remember_address, shown_address

AUTO = "auto"
DAMAGE_SHOWN_S = 10.0

Item = TypeVar("Item", Picture, Sound)


class Device(Protocol):
    """Protocol of Camera and Microphone."""

    info: SourceInfo

    def close(self) -> None:
        """Release the device."""


DeviceType = TypeVar("DeviceType", bound=Device)


def auto_devices() -> tuple[int | None, int | None]:
    """Indexes of the first camera and the first microphone that work; None for one that is missing."""
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
    """Open a camera and a microphone, each of which may be None; `auto` takes the first that works, if there is one.

    If one of the two can't be opened, the other starts alone, and the missing one is retried.

    Args:
        patient: retry also if nothing can be opened (for a source that worked before), instead of raising.

    None if neither is wanted or found. Raises SourceError if no device that was named can be opened.
    """
    anchor_ns = time.monotonic_ns()
    camera = _first_camera() if camera == AUTO else camera
    microphone = _first_microphone() if microphone == AUTO else microphone
    if camera is None and microphone is None:
        return None
    kept_camera = kept_mic = None
    if camera is not None:
        kept_camera = Kept(partial(Camera, camera, anchor_ns=anchor_ns, max_height=max_height))
    if microphone is not None:
        device = None if microphone == "default" else microphone
        kept_mic = Kept(partial(Microphone, device, anchor_ns=anchor_ns))
    missing = [str(kept.missing) for kept in (kept_camera, kept_mic) if kept is not None and kept.missing is not None]
    if len(missing) == sum(kept is not None for kept in (kept_camera, kept_mic)) and not patient:
        raise SourceError("; ".join(missing))
    source = OpenSource(info=_both(camera, kept_camera, microphone, kept_mic))
    if kept_camera is not None:
        source.pictures = partial(kept_camera.items, source, "picture", lambda device: device.pictures(source.stopped))
    if kept_mic is not None:
        source.sounds = partial(kept_mic.items, source, "sound", lambda device: device.sounds(source.stopped))
    return source


def network_source(
    url: str, max_height: int, choice: Choice = DEFAULT, snapshot_fps: float = network.SNAPSHOT_FPS
) -> OpenSource:
    """Open a network stream. It need not exist yet; what it carries is known once it is connected."""
    remember_address(url)
    name = clean(shown_address(url))
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
    source.mixed = partial(_watched, source, url, max_height, choice, snapshot_fps)
    return source


def _watched(
    source: OpenSource, url: str, max_height: int, choice: Choice, snapshot_fps: float
) -> Iterator[Picture | Sound | Connected]:
    def on_delay(seconds: float) -> None:
        source.delay_s = seconds

    damage = Damage(source.problems, DAMAGE_SHOWN_S)
    watching = network.watch(
        url,
        source.stopped,
        max_height=max_height,
        report=damage,
        choice=choice,
        snapshot_fps=snapshot_fps,
        on_delay=on_delay,
        on_failed_poll=partial(damage, what="failed answer"),
    )
    for item in watching:
        if isinstance(item, Interruption):
            source.degraded_reason = f"{item.reason}; trying again in {item.retry_s:g} s"
            continue
        if not isinstance(item, Connected):
            source.degraded_reason = None
        yield item


class Kept(Generic[DeviceType]):
    """A device that is opened again whenever it is lost.

    Attributes:
        device: the device as first opened, else None.
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
        """Yield items of the device until the source is stopped, opening it again after each loss.

        Reports problems of `part`.
        """
        waits = BackOff()
        device, self.device = self.device, None
        lost, self.missing = self.missing, None
        while not source.stopped.is_set():
            if lost is not None:
                wait_s = waits.next()
                source.problems.report(part, f"{lost}; trying again in {wait_s:g} s")
                source.stopped.wait(wait_s)
                lost = None
            try:
                device = device or self._reopen()
                for item in items(device):
                    waits.reset()
                    source.problems.report(part, None)
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
    camera: int | str | None,
    kept_camera: Kept[Camera] | None,
    microphone: int | str | None,
    kept_mic: Kept[Microphone] | None,
) -> SourceInfo:
    """Describe both devices; of one that is still missing, only its name is known."""
    seen = kept_camera.device.info if kept_camera is not None and kept_camera.device is not None else None
    heard = kept_mic.device.info if kept_mic is not None and kept_mic.device is not None else None
    names = []
    if kept_camera is not None:
        names.append(seen.name if seen is not None else f"camera {camera}")
    if kept_mic is not None:
        names.append(heard.name if heard is not None else f"microphone {microphone}")
    return SourceInfo(
        has_picture=kept_camera is not None,
        has_sound=kept_mic is not None,
        width=seen.width if seen is not None else 0,
        height=seen.height if seen is not None else 0,
        fps=seen.fps if seen is not None else 0.0,
        frames_estimate=None,
        duration_ns=None,
        sample_rate=heard.sample_rate if heard is not None else 0,
        live=seen.live if seen is not None else True,
        name=" and ".join(names),
    )
