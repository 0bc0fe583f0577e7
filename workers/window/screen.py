"""The window itself: OpenCV's, in a process that has a display."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import cv2

from bimodal.drawing.style import Pixels
from bimodal.workers.errors import WorkerError

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
