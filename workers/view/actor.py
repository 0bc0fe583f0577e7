"""The live page's process: the actor's loop here, the bus and the HTTP server in a thread each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from pathlib import Path

import cv2

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import ViewError
from bimodal.workers.observer import Watched, Watcher
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.live_socket import packed
from bimodal.workers.view.server import Server, address_of, listen
from bimodal.workers.view.state import View

# In the session's directory, which vanishes with it.
PORT_FILE = "view.port"


class ViewActor:
    """Serves the page.

    Attributes:
        address: where people open it; the heartbeat carries it.
    """

    def __init__(self, settings: ActorSettings, _mailbox: Mailbox) -> None:
        """Take a port and begin to serve; raises ViewError where that fails."""
        self.models: dict[str, str] = {}
        cv2.setNumThreads(1)
        mine = own(settings, ViewActorSettings)
        bound = self._bound(mine, Path(settings.directory) / PORT_FILE)
        self.address = address_of(mine, bound)
        self._view = View(mine, Path(settings.directory), self.address)
        self._server = Server(self._view, bound)
        self._bus = BusReader(self._view, Path(settings.slots), self._server.loop)
        self._server.start()
        self._bus.start()

    @staticmethod
    def _bound(mine: ViewActorSettings, remembered: Path) -> socket.socket:
        """At the port of our life before, where there was one and it is free."""
        before = remembered.read_text() if remembered.exists() else ""
        bound = listen(mine, int(before) if before.isdigit() else None)
        remembered.write_text(str(bound.getsockname()[1]))
        return bound

    def on_connected(self) -> None:
        """The broker has nothing for us."""

    def on_message(self, body: Body) -> None:
        """Nor does it send anything."""

    def on_idle(self) -> None:
        """Threads do the work."""

    def figures(self) -> dict[str, float]:
        """Pages that are open, frames encoded, frames sent, and frames that slow pages did not get."""
        audience = self._view.audience
        return {
            "pages": float(len(audience)),
            "encoded": float(self._bus.encoded),
            "sent": float(audience.sent),
            "skipped": float(audience.skipped),
        }

    def degraded_reason(self) -> str | None:
        """None: what fails here fails the process."""
        return None

    def finished(self) -> int | None:
        """Never by itself. Raises ViewError where the server has ended."""
        if not self._server.alive:
            raise ViewError("the live page's server has ended; the log has the details")
        return None

    def close(self) -> None:
        """Hang up, then let go of the bus."""
        self._server.stop()
        self._bus.stop()


# The thread that reads the bus: encodes frames while somebody looks, and hands everything on to the server's loop.


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
