"""The live page's process: reads the bus, and serves HTTP in a second thread."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from pathlib import Path

import cv2

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import ViewError
from bimodal.workers.observer import FramedEvent, FrameObserver
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.live_socket import packed
from bimodal.workers.view.server import Server, address_of, listen
from bimodal.workers.view.state import View

log = logging.getLogger(__name__)

# In the session's directory, which vanishes with it.
PORT_FILE = "view.port"


class ViewActor(FrameObserver):
    """Serve the page: this process's first thread reads the bus, a second one runs the HTTP server.

    Attributes:
        address: where people open it; the heartbeat carries it.
        encoded: frames that were turned into JPEG.
    """

    topics = (*FrameObserver.topics, "process.", "status")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Take a port and begin to serve; raises ViewError where that fails."""
        cv2.setNumThreads(1)
        mine = own(settings, ViewActorSettings)
        bound = self._bound(mine, Path(settings.directory) / PORT_FILE)
        self.address = address_of(mine, bound)
        self.view = View(mine, Path(settings.directory), self.address)
        self.server = Server(self.view, bound)
        self.encoded = 0
        super().__init__(settings, mailbox)
        self.server.start()

    @staticmethod
    def _bound(mine: ViewActorSettings, remembered: Path) -> socket.socket:
        """At the port of our life before, where there was one and it is free."""
        before = remembered.read_text() if remembered.exists() else ""
        bound = listen(mine, int(before) if before.isdigit() else None)
        remembered.write_text(str(bound.getsockname()[1]))
        return bound

    def wants_pixels(self, stream: str) -> bool:
        """Only of streams that a page shows, and none where faces are hidden."""
        return self.view.settings.faces == "show" and stream in self.view.audience.looked_at

    def on_message(self, body: Body) -> None:
        """Pass a message on to the page."""
        self._hand_over(body, None)

    def on_frame(self, framed: FramedEvent) -> None:
        """Pass an event on to the page, with its frame as JPEG where a page is ready for one."""
        payload = None
        if framed.stream in self.view.audience.hungry:
            try:
                payload = packed(framed, time.monotonic(), hide=self.view.settings.faces == "hide")
                self.encoded += framed.pixels is not None
            except Exception:  # one frame that can't be shown must not end the page
                log.exception("a frame can't be shown")
        self._hand_over(framed.event, payload)

    def _hand_over(self, body: Body, payload: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):  # the server's loop has ended before us
            self.server.loop.call_soon_threadsafe(self.view.take, body, payload)

    def figures(self) -> dict[str, float]:
        """Pages that are open, frames encoded, frames sent, and frames that slow pages did not get."""
        audience = self.view.audience
        return {
            "pages": float(len(audience)),
            "encoded": float(self.encoded),
            "sent": float(audience.sent),
            "skipped": float(audience.skipped),
        }

    def finished(self) -> int | None:
        """Never by itself. Raises ViewError where the server has ended."""
        if not self.server.alive:
            raise ViewError("the live page's server has ended; the log has the details")
        return None

    def close(self) -> None:
        """Hang up, then let go of the bus."""
        self.server.stop()
        super().close()
