"""The window's process: the newest frame of every stream with its event, until its user wants to quit."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, StreamClosed
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import Pixels, Style
from bimodal.workers.actor import DONE, ActorSettings, own
from bimodal.workers.settings import WindowActorSettings
from bimodal.workers.watching import Watched, Watcher
from bimodal.workers.window.screen import Screen, check_display
from bimodal.workers.window.tiles import fit, scaled, tile_size, tiled

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
        mine = own(settings, WindowActorSettings)
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
