"""Find cameras and microphones, and the ones that work. Quick, and without messages of drivers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from bimodal.workers.capture.microphone import Microphone, MicrophoneDevice
from bimodal.workers.capture.microphone import microphones as list_microphones
from bimodal.workers.errors import SourceError

SYSFS = Path("/sys/class/video4linux")
MOST_INDEXES = 4
PROBE_S = 3.0


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """A camera: its index and its name in the system. `path` is "" on systems without device paths."""

    index: int
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Found:
    """The devices that `auto` takes: the first camera and the first microphone that work.

    If one of them is missing, the other goes alone: a live face with the demo's voice would be invented. The demo clip
    is only played if neither works.
    """

    camera: CameraDevice | None
    microphone: MicrophoneDevice | None

    @property
    def demo(self) -> bool:
        """True if neither camera nor microphone works, so that the demo clip is played."""
        return self.camera is None and self.microphone is None


def cameras() -> list[CameraDevice]:
    """List all cameras. On Linux from sysfs, without opening one; elsewhere the first few indexes are tried."""
    return _video4linux(SYSFS) if sys.platform == "linux" else _tried()


def microphones() -> list[MicrophoneDevice]:
    """List all microphones. Raises SourceError, saying what to install, if PortAudio is missing."""
    return list_microphones()


def first_camera() -> CameraDevice | None:
    """Find the first camera that delivers a picture."""
    return next((camera for camera in cameras() if _gives_pictures(camera.index)), None)


def first_microphone() -> MicrophoneDevice | None:
    """Find the first microphone that can be opened, the system's default first. None also without PortAudio."""
    try:
        devices = sorted(microphones(), key=lambda device: not device.default)
    except SourceError:
        return None
    return next((device for device in devices if _opens(device)), None)


def auto() -> Found:
    """Find the devices that `auto` takes on this machine now."""
    return Found(first_camera(), first_microphone())


def _video4linux(folder: Path, devices: Path = Path("/dev")) -> list[CameraDevice]:
    """List the video nodes with `index` 0; further nodes of a camera carry its metadata."""
    found = []
    for node in sorted(folder.glob("video*"), key=lambda node: int(node.name.removeprefix("video"))):
        path = devices / node.name
        if path.exists() and _text(node / "index") in ("0", ""):
            name = _text(node / "name") or node.name
            found.append(CameraDevice(int(node.name.removeprefix("video")), name, str(path)))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _tried() -> list[CameraDevice]:
    return [CameraDevice(index, f"camera {index}", "") for index in range(MOST_INDEXES) if _gives_pictures(index)]


def _gives_pictures(index: int) -> bool:
    from bimodal.workers.capture.camera import Camera

    try:
        Camera(index, silence_s=PROBE_S).close()
    except SourceError:
        return False
    return True


def _opens(device: MicrophoneDevice) -> bool:
    try:
        Microphone(device.index).close()
    except SourceError:
        return False
    return True
