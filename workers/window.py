"""The window: shows the newest frame of every stream with its event."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, StreamClosed
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import GROUND, Pixels, Style
from bimodal.workers.actor import DONE, ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.observer import FramedEvent, FrameObserver
from bimodal.workers.settings import WindowSettings

SHOW_EVERY_S = 1 / 30


class WindowActor(FrameObserver):
    """Shows all streams. Ends on q, Escape, or when the window is closed; the supervisor then stops the system.

    Attributes:
        turn_s, read_s: short, so that the window stays responsive.
    """

    turn_s = 0.0
    read_s = SHOW_EVERY_S / 3

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Open the window; raises WindowError where there is no display."""
        mine = own(settings, WindowSettings)
        self._style = Style(faces=mine.faces, latency=mine.latency)
        check_display()
        cv2.setNumThreads(1)
        self._screen = Screen()
        self._screen.show(ground())
        super().__init__(settings, mailbox)
        self._newest: dict[str, FramedEvent] = {}
        self._drawn: dict[str, Pixels] = {}
        self._stale: set[str] = set()
        self._pictured: set[str] = set()
        self._show_due = 0.0
        self._shown = 0
        self._quit = False

    def on_message(self, body: Body) -> None:
        """Take a stream that has ended out of the window."""
        if isinstance(body, StreamClosed):
            for known in (self._newest, self._drawn):
                known.pop(body.stream, None)

    def on_frame(self, framed: FramedEvent) -> None:
        """Keep the newest frame of its stream; one without pixels counts only where no other ever had any."""
        if framed.pixels is not None or framed.stream not in self._pictured:
            self._newest[framed.stream] = framed
            self._stale.add(framed.stream)

    def on_idle(self) -> None:
        """Read the bus, show what is new, and process the window's own events."""
        super().on_idle()
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

    def _draw(self, framed: FramedEvent) -> Pixels:
        """Draw the event; the picture is scaled first, so that text stays sharp."""
        pixels = framed.pixels if framed.pixels is not None else ground()
        if framed.pixels is not None:
            self._pictured.add(framed.stream)
        wanted = fit((pixels.shape[1], pixels.shape[0]), tile_size(len(self._newest)))
        return overlay(scaled(pixels, wanted), framed.event, self._style)

    def figures(self) -> dict[str, float]:
        """Pictures shown."""
        return {"shown": float(self._shown)}

    def finished(self) -> int | None:
        """Exit code once the user has quit."""
        return DONE if self._quit else None

    def close(self) -> None:
        """Close the window."""
        super().close()
        self._screen.close()


# The window itself, OpenCV's.

TITLE = "bimodal"
QUIT_KEYS = frozenset(map(ord, "qQ")) | {27}
NO_KEY = -1
TRY_S = 30.0
# Qt aborts the process where it reaches no display, so a child process tries first.
TRY = "import cv2; cv2.namedWindow('bimodal'); cv2.destroyAllWindows()"


class WindowError(WorkerError):
    """No window can be opened."""


def check_display() -> None:
    """Raise WindowError, with what to do, where no window can be opened."""
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
    """One window. For use in the thread that made it."""

    def __init__(self) -> None:
        """Open the window; raises WindowError where OpenCV can't."""
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
        """Process the window's events; true once the user pressed q or Escape, or closed it."""
        try:
            key = cv2.pollKey()
            visible = float(cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE)) >= 1
        except cv2.error:
            # OpenCV's Qt ends with its last window.
            return True
        return not visible or (key != NO_KEY and key & 0xFF in QUIT_KEYS)

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(cv2.error):
            cv2.destroyAllWindows()


# Tiling: several pictures in one grid. Pure.

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
