"""`streams`: what to watch and listen to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, model_validator

from bimodal.workers.config.section import Section

ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def _stream_name(name: str) -> str:
    if not name or len(name) > 64 or name.startswith(".") or any(c in "/\\\0" or not c.isprintable() for c in name):
        raise ValueError("a stream's name is 1 to 64 printable characters without slashes")
    return name


class StreamConfig(Section):
    """One stream: `auto`, or a camera and/or a microphone, or a url, or a file, or visitors' browsers."""

    auto: bool = False
    camera: int | str | None = None
    microphone: int | str | None = None
    url: str | None = None
    file: Path | None = None
    loop: bool = False
    browser: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> StreamConfig:
        devices = self.camera is not None or self.microphone is not None
        sources = [self.auto, devices, self.url is not None, self.file is not None, self.browser]
        if sum(sources) != 1:
            raise ValueError(
                "needs exactly one source: 'auto', 'camera' and/or 'microphone', 'url', 'file', or 'browser'"
            )
        if self.loop and self.file is None:
            raise ValueError("'loop' goes with 'file' only")
        if ":/" in str(self.camera) or (self.file is not None and ADDRESS.match(str(self.file))):
            # As a file's or a device's name its password would be shown.
            raise ValueError("an address goes under 'url'")
        return self


StreamName = Annotated[str, AfterValidator(_stream_name)]
