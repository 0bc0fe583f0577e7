"""The sections `streams` and `capture` of config.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from bimodal.workers.capture.choice import Channel, Choice, TrackNumber

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


DeviceIndex = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source: `auto`, or a camera and/or a microphone, or a url, or a file, or visitors' browsers, or what programs
    push (`true`: picture and sound, or one of them).

    `loop` repeats a file without end. `video_track`, `audio_track` and `channel` choose among several of a file or an
    address (workers/capture/choice.py). `snapshot_fps` is how often a `url` that gives one picture is polled.
    """

    auto: bool = False
    # OpenCV ends the process at an index below 0.
    camera: DeviceIndex | str | None = None
    microphone: DeviceIndex | str | None = None
    url: str | None = None
    file: str | None = None
    loop: bool = False
    browser: bool = False
    push: bool | Literal["picture", "sound"] = False
    video_track: TrackNumber | None = None
    audio_track: TrackNumber | None = None
    channel: Channel = "mix"
    snapshot_fps: Annotated[float, msgspec.Meta(ge=0.01, le=30)] = 2.0

    def __post_init__(self) -> None:
        devices = self.camera is not None or self.microphone is not None
        sources = [self.auto, devices, self.url is not None, self.file is not None]
        sources += [self.browser, bool(self.push)]
        if sum(sources) != 1:
            raise ValueError(
                "needs exactly one source: 'auto', 'camera' and/or 'microphone', 'url', 'file', 'browser', or 'push'"
            )
        if self.loop and self.file is None:
            raise ValueError("'loop' goes with 'file' only")
        if self.choice != Choice() and self.file is None and self.url is None:
            raise ValueError("'video_track', 'audio_track' and 'channel' go with 'file' or 'url'")
        if self.channel == "each" and self.url is not None:
            raise ValueError("'channel: each' goes with 'file' only")
        if ":/" in str(self.camera) or (self.file is not None and ADDRESS.match(self.file)):
            # As the name of a file or a device its password would be shown.
            raise ValueError("an address goes under 'url'")

    @property
    def choice(self) -> Choice:
        """The choice among several tracks and channels of the source."""
        return Choice(video_track=self.video_track, audio_track=self.audio_track, channel=self.channel)

    @property
    def ends(self) -> bool:
        """True where the source ends: a file that is not looped."""
        return self.file is not None and not self.loop


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reading of sources.

    Attributes:
        max_height: higher pictures are scaled down to this, in pixels.
        memory_mb: limit of the shared slots of a stream, in MiB.
        hop_s, window_s: distance and length of the windows of sound, in seconds.
    """

    max_height: Annotated[int, msgspec.Meta(ge=64, le=8640)] = 720
    memory_mb: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64
    hop_s: Annotated[float, msgspec.Meta(ge=0.1, le=10)] = 0.5
    window_s: Annotated[float, msgspec.Meta(ge=0.5, le=30)] = 4.0
