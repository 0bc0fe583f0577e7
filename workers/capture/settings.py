"""What a user may set about streams and how they are read (`streams` and `capture` in config.yaml)."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


class StreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source: `auto`, or a camera and/or a microphone, or a url, or a file, or visitors' browsers.

    `loop` begins a file again at its end, for ever.
    """

    auto: bool = False
    camera: int | str | None = None
    microphone: int | str | None = None
    url: str | None = None
    file: str | None = None
    loop: bool = False
    browser: bool = False

    def __post_init__(self) -> None:
        devices = self.camera is not None or self.microphone is not None
        sources = [self.auto, devices, self.url is not None, self.file is not None, self.browser]
        if sum(sources) != 1:
            raise ValueError(
                "needs exactly one source: 'auto', 'camera' and/or 'microphone', 'url', 'file', or 'browser'"
            )
        if self.loop and self.file is None:
            raise ValueError("'loop' goes with 'file' only")
        if ":/" in str(self.camera) or (self.file is not None and ADDRESS.match(self.file)):
            # As a file's or a device's name its password would be shown.
            raise ValueError("an address goes under 'url'")

    @property
    def ends(self) -> bool:
        """Whether the source is over some time: a file that is not looped."""
        return self.file is not None and not self.loop


class CaptureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sources are read.

    Attributes:
        max_height: higher pictures are scaled down to it.
        memory_mb: what the shared slots of a stream may take.
        hop_s, window_s: how sound is cut into windows.
    """

    max_height: Annotated[int, msgspec.Meta(ge=64, le=8640)] = 720
    memory_mb: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64
    hop_s: Annotated[float, msgspec.Meta(ge=0.1, le=10)] = 0.5
    window_s: Annotated[float, msgspec.Meta(ge=0.5, le=30)] = 4.0
