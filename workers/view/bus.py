"""The thread that reads the bus: encodes frames while somebody looks, and hands everything on to the server's loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from pathlib import Path

from bimodal.broker.messages import Body
from bimodal.workers.view.context import View
from bimodal.workers.view.frames import packed
from bimodal.workers.watching import Watched, Watcher

log = logging.getLogger(__name__)

TURN_S = 0.25


class BusReader:
    """Reads until it is stopped.

    Attributes:
        encoded: frames that were turned into JPEG.
    """

    def __init__(self, view: View, slots: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.encoded = 0
        self._view = view
        self._loop = loop
        self._stopped = threading.Event()
        self._watcher = Watcher(view.directory, slots, also=("process.", "status"), told=self._told)
        self._watcher.wants_pixels = view.settings.faces == "show"
        self._watcher.pixels_of = view.audience
        self._thread = threading.Thread(target=self._read, name="bus", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and let go of the bus."""
        self._stopped.set()
        self._thread.join()
        self._watcher.close()

    def _read(self) -> None:
        while not self._stopped.is_set():
            try:
                watched = self._watcher.receive(TURN_S)
                if watched is not None:
                    self._shown(watched)
            except Exception:  # one frame that can't be shown must not end the page
                log.exception("a frame can't be shown")

    def _told(self, body: Body) -> None:
        self._hand_over(body, None)

    def _shown(self, watched: Watched) -> None:
        payload = None
        if watched.stream in self._view.audience.hungry:
            hide = self._view.settings.faces == "hide"
            payload = packed(watched, time.monotonic(), hide=hide)
            self.encoded += watched.pixels is not None
        self._hand_over(watched.event, payload)

    def _hand_over(self, body: Body, payload: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended before us
            self._loop.call_soon_threadsafe(self._view.take, body, payload)
