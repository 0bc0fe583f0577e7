"""The window's process: the newest frame of every stream with its event, until its user wants to quit."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, StreamClosed
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import GROUND, Pixels, Style
from bimodal.workers.actor import DONE, ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.observer import Watched, Watcher
from bimodal.workers.settings import WindowSettings

SHOW_EVERY_S = 1 / 30
MOST_A_TURN = 64


class WindowActor:
    """Its end (q, Escape, the window closed) is the end of everything: the supervisor stops when it is done.

    Attributes:
        turn_s: the loop comes round so often, so that the window stays alive.
    """

    turn_s = 0.0

    def __init__(self, settings: ActorSettings, _mailbox: Mailbox) -> None:
        """Open the window; raises WindowError where there is no display."""
        self.models: dict[str, str] = {}
        mine = own(settings, WindowSettings)
        self._style = Style(faces=mine.faces, latency=mine.latency)
        check_display()
        cv2.setNumThreads(1)
        self._screen = Screen()
        self._screen.show(ground())
        self._watcher = Watcher(Path(settings.directory), Path(settings.slots), told=self._told)
        self._newest: dict[str, Watched] = {}
        self._drawn: dict[str, Pixels] = {}
        self._stale: set[str] = set()
        self._pictured: set[str] = set()
        self._show_due = 0.0
        self._shown = 0
        self._quit = False

    def _told(self, body: Body) -> None:
        if isinstance(body, StreamClosed):
            for known in (self._newest, self._drawn):
                known.pop(body.stream, None)

    def idle(self) -> None:
        """Take what came, show the newest, and let the window live."""
        watched = self._watcher.receive(SHOW_EVERY_S / 3)
        for _ in range(MOST_A_TURN):
            if watched is None:
                break
            if watched.pixels is not None or watched.stream not in self._pictured:
                self._newest[watched.stream] = watched
                self._stale.add(watched.stream)
            watched = self._watcher.receive(0.0)
        now = time.monotonic()
        if self._stale and now >= self._show_due:
            self._show_due = now + SHOW_EVERY_S
            self._show()
        self._quit = self._quit or self._screen.wants_to_quit()

    def _show(self) -> None:
        for stream in self._stale & self._newest.keys():
            self._drawn[stream] = self._draw(self._newest[stream])
        self._stale.clear()
        if self._drawn:
            self._screen.show(tiled([self._drawn[stream] for stream in sorted(self._drawn)]))
            self._shown += 1

    def _draw(self, watched: Watched) -> Pixels:
        """Scaled before it is drawn on, so that text stays sharp."""
        pixels = watched.pixels if watched.pixels is not None else ground()
        if watched.pixels is not None:
            self._pictured.add(watched.stream)
        size = (pixels.shape[1], pixels.shape[0])
        wanted = fit(size, tile_size(len(self._newest)))
        scale = (wanted[0] / size[0], wanted[1] / size[1])
        return overlay(scaled(pixels, wanted), watched.event, self._style, scale)

    def welcome(self) -> None:
        """The broker has nothing for us."""

    def handle(self, body: Body) -> None:
        """Nor does it send anything."""

    def figures(self) -> dict[str, float]:
        """Pictures shown."""
        return {"shown": float(self._shown)}

    def trouble(self) -> str | None:
        """None: without a window there is no process."""
        return None

    def finished(self) -> int | None:
        """Done when its user wants to quit."""
        return DONE if self._quit else None

    def close(self) -> None:
        """Take the window away."""
        self._watcher.close()
        self._screen.close()


# The window itself: OpenCV's, in a process that has a display.


TITLE = "bimodal"
QUIT_KEYS = frozenset(map(ord, "qQ")) | {27}
NO_KEY = -1
TRY_S = 30.0
# Qt ends the whole process where it reaches no display, so a process of its own tries first.
TRY = "import cv2; cv2.namedWindow('bimodal'); cv2.destroyAllWindows()"


class WindowError(WorkerError):
    """No window can be opened."""


def check_display() -> None:
    """Raises WindowError, with what to do, where no window can be opened here."""
    try:
        tried = subprocess.run(
            [sys.executable, "-P", "-c", TRY],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=TRY_S,
            check=False,
        )
        works = tried.returncode == 0
    except subprocess.TimeoutExpired:
        works = False
    if not works:
        display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")
        place = f"the display '{display}' can't be reached" if display else "there is no display (DISPLAY is not set)"
        raise WindowError(
            f"no window can be opened: {place}; start bimodal at a desk, or set outputs.window to false and use the "
            "live page"
        )


class Screen:
    """One window. All of it belongs to the thread that made it."""

    def __init__(self) -> None:
        """Raises WindowError where OpenCV can open none."""
        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise WindowError(f"no window can be opened: {str(error).strip().splitlines()[-1]}") from error
        self._size: tuple[int, int] | None = None

    def show(self, pixels: Pixels) -> None:
        """Show uint8 [H, W, 3] RGB; the window takes the size of the first picture, and of one of another size."""
        size = (pixels.shape[1], pixels.shape[0])
        if size != self._size:
            self._size = size
            cv2.resizeWindow(TITLE, *size)
        cv2.imshow(TITLE, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))

    def wants_to_quit(self) -> bool:
        """Let the window live for a moment; whether its user pressed q or Escape, or closed it."""
        try:
            key = cv2.pollKey()
            visible = float(cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE)) >= 1
        except cv2.error:
            # With its last window OpenCV's Qt has gone too.
            return True
        return not visible or (key != NO_KEY and key & 0xFF in QUIT_KEYS)

    def close(self) -> None:
        """Take it away."""
        with contextlib.suppress(cv2.error):
            cv2.destroyAllWindows()


# Several pictures in one: a grid of tiles, each picture as large as its tile allows. Pure.


MOST_WIDTH, MOST_HEIGHT = 1920, 1080


def grid(count: int) -> tuple[int, int]:
    """(columns, rows) for so many tiles."""
    columns = max(1, math.ceil(math.sqrt(count)))
    return columns, max(1, math.ceil(count / columns))


def fit(size: tuple[int, int], within: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a picture after scaling down into a rectangle; a smaller one stays as it is."""
    factor = min(1.0, within[0] / size[0], within[1] / size[1])
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def tile_size(pictures: int) -> tuple[int, int]:
    """(width, height) that one of so many pictures may take in the window."""
    columns, rows = grid(pictures)
    return MOST_WIDTH // columns, MOST_HEIGHT // rows


def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """uint8 [H, W, 3] scaled to `size` = (width, height)."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def tiled(pictures: Sequence[Pixels]) -> Pixels:
    """The pictures in rows, each in the middle of its tile; all tiles are as large as the largest picture."""
    if len(pictures) == 1:
        return pictures[0]
    columns, rows = grid(len(pictures))
    width = max(picture.shape[1] for picture in pictures)
    height = max(picture.shape[0] for picture in pictures)
    whole = np.full((rows * height, columns * width, 3), GROUND, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top = row * height + (height - picture.shape[0]) // 2
        left = column * width + (width - picture.shape[1]) // 2
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return whole
