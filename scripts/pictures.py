"""Make the pictures of the docs from the demo clip: `python -m scripts.pictures`, or only `report` or `live`.

`live`, the pages of a running system, is for a quiet machine, since they show frames a second and latency. It takes
three minutes and needs Chromium. Look at each picture afterwards.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from bimodal.broker.events import accord
from bimodal.drawing.overlay import overlay
from bimodal.recordings.reading import read_events

ROOT = Path(__file__).parents[1]
DOCS, DEMO = ROOT / "docs", ROOT / "workers" / "demo" / "demo.mp4"
PORT = 8599
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
MOST_BYTES = 150_000
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 1180}
AGREE = (
    "() => document.querySelector('#label').textContent === 'happy'"
    " && document.querySelector('#voice-says').textContent === 'happy'"
)
CONFLICT = "() => document.querySelector('.together.conflict') !== null"
FAILED = "() => document.querySelector(\"[data-name='face 2'] .failed\") !== null"


def small(png: bytes, path: Path) -> None:
    """Write a picture as PNG with a palette of its own, of at most 150 kB where 96 colours allow it."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), np.uint8)
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    for count in (256, 192, 128, 96):
        palette = Image.new("P", (1, 1))
        palette.putpalette(_palette(colours, counts, count).flatten().tolist())
        picture = Image.fromarray(pixels).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        picture.save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(path.relative_to(ROOT), path.stat().st_size)


def _palette(colours: NDArray[np.uint8], counts: NDArray[Any], count: int) -> NDArray[np.uint8]:
    """The sixteen most frequent colours, and the middles of clusters of all."""
    share = np.sqrt(counts)
    drawn = np.random.default_rng(0).choice(len(colours), 30_000, p=share / share.sum())
    cv2.setRNGSeed(1)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 1.0)
    samples = colours[drawn].astype(np.float32)
    _, _, middles = cv2.kmeans(samples, count - 16, None, stop, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    frequent = colours[np.argsort(-counts)[:16]]
    return np.concatenate([frequent, np.clip(np.rint(middles), 0, 255).astype(np.uint8)])


def page_of(browser: Browser, address: str, **context: Any) -> Page:
    """A page of its own."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    return page


def live(browser: Browser, folder: Path) -> None:
    """Pictures of the live page: agreement in light, dark and on a phone, a contradiction, a failed worker."""
    config = folder / "config.yaml"
    config.write_text(
        f"streams: {{desk: {{file: '{DEMO}', loop: true}}}}\nworkers: {{face: {{count: 2}}}}\n"
        f"log: {{file: '{folder / 'log'}'}}\n"
        f"outputs: {{view: {{port: {PORT}}}, record: {{folder: '{folder / 'sessions'}', begin: by_button}}}}\n"
    )
    command = [sys.executable, "-m", "bimodal", "up", "--config", str(config), "--session", "demo"]
    system = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    address = f"http://127.0.0.1:{PORT}/"
    try:
        _wait_for_page()
        time.sleep(60)  # a timeline with something in it
        shots: list[tuple[str, str, dict[str, Any]]] = [
            ("view", AGREE, {"viewport": WIDE}),
            ("view-conflict", CONFLICT, {"viewport": WIDE}),
            ("view-dark", AGREE, {"viewport": WIDE, "color_scheme": "dark"}),
            ("view-phone", AGREE, {"viewport": PHONE, "is_mobile": True, "has_touch": True}),
        ]
        for name, wanted, context in shots:
            page = page_of(browser, address, **context)
            page.wait_for_timeout(3000)
            page.wait_for_function(wanted)
            small(page.screenshot(), DOCS / f"{name}.png")
        page = page_of(browser, address, viewport=WIDE)
        while not page.evaluate(FAILED):
            pid = page.inner_text("[data-name='face 2'] td:nth-child(3)")
            if pid.isdigit():
                with contextlib.suppress(ProcessLookupError):  # the page still shows the one before
                    os.kill(int(pid), signal.SIGKILL)
            page.wait_for_timeout(2000)
        page.wait_for_function(AGREE)
        small(page.screenshot(), DOCS / "view-degraded.png")
    finally:
        os.killpg(system.pid, signal.SIGINT)
        system.wait()


def _wait_for_page() -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", PORT)).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise SystemExit(f"no page answers on port {PORT}")


def report(browser: Browser, folder: Path) -> None:
    """Pictures of the report, its film beside it, and of frames of films with and without marks."""
    clip = Path(shutil.copy(DEMO, folder / "demo.mp4"))
    command = [sys.executable, "-m", "bimodal", "analyze", str(clip), "--out", str(folder / "results"), "--report"]
    subprocess.run([*command, "--draw", "mesh,pose,gaze,affect"], cwd=ROOT, check=True)
    address = (folder / "results" / "demo.html").as_uri()
    for name, context, top in (
        ("report", {"viewport": {"width": 1480, "height": 1150}}, 0),
        ("report-phone", {"viewport": {"width": 390, "height": 844}, "is_mobile": True}, 560),
    ):
        page = page_of(browser, address, **context)
        page.evaluate("() => { document.querySelectorAll('.track details')[1].open = true; }")
        page.click(".seg >> nth=0")
        page.wait_for_timeout(1500)
        page.evaluate("() => { const v = document.querySelector('video'); v.pause(); v.currentTime = 3.2; }")
        page.wait_for_timeout(800)
        page.evaluate("(top) => scrollTo(0, top)", top)
        page.wait_for_timeout(300)
        small(page.screenshot(), DOCS / f"{name}.png")
    film = cv2.VideoCapture(str(folder / "results" / "demo.annotated.mp4"))
    film.set(cv2.CAP_PROP_POS_FRAMES, 60)
    _, frame = film.read()
    small(cv2.imencode(".png", frame)[1].tobytes(), DOCS / "marks.png")
    conflict = next(event for event in read_events(folder / "results" / "demo.jsonl") if accord(event) == "conflict")
    film = cv2.VideoCapture(str(clip))
    film.set(cv2.CAP_PROP_POS_FRAMES, conflict.seq)
    _, frame = film.read()
    drawn = overlay(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8), conflict)
    small(cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1].tobytes(), DOCS / "annotated.png")


def main() -> None:
    """Make all of them, or those that are named."""
    parts = {"report": report, "live": live}
    named = sys.argv[1:] or list(parts)
    if not set(named) <= parts.keys():
        raise SystemExit(f"there are {', '.join(parts)}")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        for name in named:
            parts[name](browser, Path(scratch))
        browser.close()


if __name__ == "__main__":
    main()
