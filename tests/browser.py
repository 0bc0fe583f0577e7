"""A real browser for tests: Chromium, driven by Playwright. Where it is missing tests are skipped; in CI they fail."""

from __future__ import annotations

import os
import shutil
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from workers.capture import media

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="needs chromium (apt-get install chromium)"
)


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A browser without a window; `arguments` are its own switches."""
    assert CHROMIUM is not None, "needs chromium (apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=False, args=[*arguments, "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


def errors_of(page: Page) -> list[str]:
    """Everything that the page's console calls an error, from now on; the list grows."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


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
        for picture in media.pictures(clip):
            if picture.pts_ns >= seconds * 1e9:
                break
            pixels = cv2.resize(picture.pixels, (width, height), interpolation=cv2.INTER_AREA)
            frame = av.VideoFrame.from_ndarray(np.asarray(pixels, np.uint8), format="rgb24")
            file.write(b"FRAME\n" + frame.reformat(format="yuv420p").to_ndarray().tobytes())
    return path


def write_wav(path: Path, clip: Path, seconds: float) -> Path:
    """The beginning of a clip's sound."""
    pieces = list(media.sounds(clip))
    rate = pieces[0].rate
    samples = np.concatenate([piece.samples for piece in pieces])[: round(seconds * rate)]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path
