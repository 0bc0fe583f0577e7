"""A real browser for tests: Chromium, driven by Playwright. Where it is missing tests are skipped; in CI they fail."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from bimodal.workers.capture import files

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PATIENCE_MS = 60_000


def require_chromium() -> None:
    """Skip without a Chromium; where everything must be there (CI) fail instead."""
    if Path(CHROMIUM).exists():
        return
    if os.environ.get("CI"):
        pytest.fail(f"there is no Chromium at {CHROMIUM}; .ci/run installs it")
    pytest.skip(f"needs Chromium (none at {CHROMIUM}; apt-get install chromium)")


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser without a window; `arguments` are its own switches."""
    require_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=False, args=[*arguments, "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Seen:
    """What a page says and asks for, from now on.

    Attributes:
        errors: everything that its console calls an error.
        hosts: every host and port that it has asked for anything.
    """

    def __init__(self, page: Page) -> None:
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda line: self.hosts.add(urlsplit(line.url).netloc))


@contextmanager
def opened(browser: Browser, **context: Any) -> Iterator[tuple[Page, Seen]]:
    """A page of its own, with no cookies of another; `context` as Playwright's new_context."""
    own = browser.new_context(**context)
    own.set_default_timeout(PATIENCE_MS)
    page = own.new_page()
    try:
        yield page, Seen(page)
    finally:
        own.close()


def fake_devices(pictures: Path, sound: Path) -> Sequence[str]:
    """Switches that make a .y4m and a .wav the camera and the microphone, both in a loop, without a question."""
    return (
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={pictures}",
        f"--use-file-for-fake-audio-capture={sound}",
        "--autoplay-policy=no-user-gesture-required",
    )


def write_y4m(path: Path, clip: Path, seconds: float, width: int = 320, height: int = 180) -> Path:
    """The beginning of a clip as uncompressed pictures, 25 a second."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for picture in files.pictures(clip):
            if picture.pts_ns >= seconds * 1e9:
                break
            pixels = cv2.resize(picture.pixels, (width, height), interpolation=cv2.INTER_AREA)
            frame = av.VideoFrame.from_ndarray(np.asarray(pixels, np.uint8), format="rgb24")
            file.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())
    return path


def write_wav(path: Path, clip: Path, seconds: float) -> Path:
    """The beginning of a clip's sound."""
    pieces = list(files.sounds(clip))
    rate = pieces[0].rate
    samples = np.concatenate([piece.samples for piece in pieces])[: round(seconds * rate)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path
