"""Cameras and microphones that are missing, unplugged, plugged in again, or come back as others.

The hardware is what these tests do not have: what OpenCV gives is made here, everything above it is real.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bimodal.workers.backoff import BackOff
from bimodal.workers.capture import camera as camera_module
from bimodal.workers.capture import discover, reconnect
from bimodal.workers.capture.camera import Camera
from bimodal.workers.capture.discover import CameraDevice
from bimodal.workers.capture.open_source import open_source
from bimodal.workers.capture.settings import CaptureSettings, StreamSettings
from bimodal.workers.capture.types import OpenSource, Picture, Sound, SourceInfo
from bimodal.workers.capture.windows import HopCutter
from bimodal.workers.errors import SourceError
from bimodal.workers.settings import CaptureActorSettings
from tests import media as made

PATIENCE_S = 30.0


class Plug:
    """The cable of a camera: plugged in or not, and what the camera shows."""

    def __init__(self) -> None:
        self.there = True
        self.hangs = False
        self.goes_on = threading.Event()
        self.size = (160, 96)
        self.opened = 0
        self._number = itertools.count()

    def capture(self, *_: object) -> FromOpenCV:
        return FromOpenCV(self)

    def picture(self) -> np.ndarray:
        return made.numbered(next(self._number), *self.size)


class FromOpenCV:
    """What cv2.VideoCapture gives for a camera on this plug."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug
        plug.opened += plug.there

    def isOpened(self) -> bool:  # noqa: N802 OpenCV's name
        return self._plug.there

    def grab(self) -> bool:
        if self._plug.hangs:
            self._plug.goes_on.wait(PATIENCE_S)
        return self._plug.there

    def retrieve(self) -> tuple[bool, Any]:
        return True, self._plug.picture()

    def get(self, _: int) -> float:
        return 30.0

    def set(self, *_: object) -> bool:
        return True

    def release(self) -> None:
        pass


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Plug:
    found = Plug()
    monkeypatch.setattr(cv2, "VideoCapture", found.capture)
    monkeypatch.setattr(camera_module.Camera, "_why_not", lambda self: f"there is no {self._name}")
    monkeypatch.setattr(reconnect, "BackOff", lambda: BackOff(0.01, 0.05))
    return found


def until(pictures: Iterator[Picture], wanted: threading.Event, most: int = 10_000) -> int:
    """Take pictures until something has happened; how many they were."""
    for count, _ in enumerate(pictures):
        if wanted.is_set():
            return count
        assert count < most
    raise AssertionError("the pictures ended")


def test_a_camera_that_is_unplugged_is_named_and_goes_on_when_it_is_back(plug: Plug) -> None:
    source = reconnect.device_source(0, None, 720)
    assert source is not None
    assert source.pictures is not None
    pictures = source.pictures()
    before = [next(pictures) for _ in range(5)]
    plug.there = False
    told: list[str] = []

    def plug_in() -> None:
        while not told:
            if source.degraded_reason is not None:
                told.append(source.degraded_reason)
        plug.there = True

    hand = threading.Thread(target=plug_in)
    hand.start()
    # Pictures that were grabbed before still come; then none, until the camera is back.
    after = next(itertools.islice((p for p in pictures if told and not hand.is_alive()), 5, None))
    hand.join(PATIENCE_S)
    assert told[0].startswith(("camera 0 stopped giving pictures; was it unplugged?; trying", "there is no camera 0"))
    assert source.degraded_reason is None
    assert after.pts_ns > before[-1].pts_ns
    assert plug.opened == 2
    source.stopped.set()
    assert list(pictures) == []


def test_a_camera_that_hangs_is_named(plug: Plug) -> None:
    with Camera(0, silence_s=0.3) as camera:
        plug.hangs = True
        with pytest.raises(SourceError, match=r"camera 0 gave no picture for 0.3 s; is it plugged in and free\?"):
            list(camera.pictures(threading.Event()))
        plug.goes_on.set()


def test_a_camera_that_changes_its_size_goes_on(plug: Plug) -> None:
    with Camera(0, max_height=96) as camera:
        pictures = camera.pictures(threading.Event())
        shapes = {next(pictures).pixels.shape}
        plug.size = (640, 480)
        shapes |= {next(pictures).pixels.shape for _ in range(10)}
        assert shapes == {(96, 160, 3), (96, 128, 3)}


def test_a_microphone_that_is_missing_does_not_stop_its_camera(plug: Plug) -> None:
    source = reconnect.device_source(0, "no such microphone", 720)
    assert source is not None
    assert source.pictures is not None
    assert source.sounds is not None
    assert (source.info.has_picture, source.info.has_sound, source.info.live) == (True, True, True)
    assert source.info.name == "camera 0 and microphone no such microphone"
    listener = threading.Thread(target=lambda: list(source.sounds()))  # type: ignore[misc]
    listener.start()
    for _ in zip(range(50), source.pictures(), strict=False):
        pass
    while source.degraded_reason is None:
        pass
    assert "trying again" in source.degraded_reason
    assert "microphone" in source.degraded_reason or "PortAudio" in source.degraded_reason
    for _ in zip(range(50), source.pictures(), strict=False):
        assert source.degraded_reason is not None, "pictures that come do not say that the microphone is well"
    source.stopped.set()
    listener.join(PATIENCE_S)
    assert not listener.is_alive()


def test_what_is_nowhere_at_the_start_is_refused_but_waited_for_once_it_was_there(plug: Plug) -> None:
    plug.there = False
    with pytest.raises(SourceError, match=r"there is no camera 0; .*microphone"):
        reconnect.device_source(0, "no such microphone", 720)
    source = reconnect.device_source(0, None, 720, patient=True)
    assert source is not None
    assert source.pictures is not None
    waiting = source.pictures()
    plug.there = True
    assert next(waiting).pixels.shape == (96, 160, 3)
    source.stopped.set()


def test_what_auto_took_is_waited_for_and_never_becomes_the_demo(
    plug: Plug, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = CameraDevice(0, "webcam", "/dev/video0")
    monkeypatch.setattr(discover, "first_camera", lambda: there if plug.there else None)
    monkeypatch.setattr(discover, "first_microphone", lambda: None)
    settings = CaptureActorSettings(
        stream="desk",
        source=StreamSettings(auto=True),
        capture=CaptureSettings(max_height=96),
        policy="latest",
        realtime=True,
        speech=True,
    )
    first = open_source(settings, tmp_path, tmp_path)
    assert (first.info.name, first.info.live) == ("camera 0", True)
    assert first.pictures is not None
    first.stopped.set()
    assert list(first.pictures()) == []
    plug.there = False
    later = open_source(settings, tmp_path, tmp_path, again=True)
    assert (later.info.name, later.info.live) == ("camera 0", True)
    assert later.pictures is not None
    plug.there = True
    assert next(later.pictures()).pixels.shape == (96, 160, 3)
    later.stopped.set()
    plug.there = False
    for again in (False, True):
        assert "the demo clip" in open_source(settings, tmp_path, tmp_path, again=again).info.name


class Headset:
    """A device that gives a second of sound at one rate, and is then lost."""

    def __init__(self, rate: int, at_s: float) -> None:
        self.rate, self.at_ns = rate, round(at_s * 1e9)
        self.closed = False
        self.info = SourceInfo(False, True, 0, 0, 0.0, None, None, rate, True, f"headset at {rate} Hz")

    def close(self) -> None:
        self.closed = True

    def sounds(self, _stop: threading.Event) -> Iterator[Sound]:
        for number in range(10):
            samples = np.full(self.rate // 10, self.rate / 1e6, np.float32)
            yield Sound(self.at_ns + number * 100_000_000, 0, samples, self.rate)
        raise SourceError(f"{self.info.name} stopped")


def test_a_microphone_that_comes_back_with_another_rate_goes_on_in_the_same_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconnect, "BackOff", lambda: BackOff(0.01, 0.05))
    devices = [Headset(48000, 0.0), Headset(16000, 1.7), Headset(44100, 12.0)]
    coming = iter(devices)
    kept = reconnect.Kept(lambda: next(coming))
    source = OpenSource(info=devices[0].info)
    cutter = HopCutter(1.0, 0.5, most_gap_s=1.0)
    windows = []
    for sound in itertools.islice(kept.items(source, "sound", lambda device: device.sounds(source.stopped)), 30):
        windows += list(cutter.feed(sound))
    assert [(window.end_ns / 1e9, window.rate) for window in windows] == [
        (0.5, 48000), (1.0, 48000), (2.0, 16000), (2.5, 16000), (12.5, 44100), (13.0, 44100),
    ]  # fmt: skip
    for window in windows:
        assert np.allclose(window.samples, window.rate / 1e6), "no window mixes two devices"
    assert all(device.closed for device in devices[:2]), "a device that was lost is let go"


def test_pictures_as_files_end_where_they_end(tmp_path: Path) -> None:
    for number in range(4):
        assert cv2.imwrite(str(tmp_path / f"f_{number:04d}.png"), made.numbered(number))
    source = reconnect.device_source(str(tmp_path / "f_%04d.png"), None, 720)
    assert source is not None
    assert source.pictures is not None
    assert [made.read_number(picture.pixels) for picture in source.pictures()] == [0, 1, 2, 3]
