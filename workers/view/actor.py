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
from bimodal.workers.view.listening import RememberedPort, address_of, listen
from bimodal.workers.view.live_socket import frame_message
from bimodal.workers.view.server import Server
from bimodal.workers.view.state import View

log = logging.getLogger(__name__)

# While nobody watches, messages are read so late, many in one go: history and metrics need no more.
UNWATCHED_S = 0.1
# In the session's directory, which vanishes with it.
PORT_FILE = "view.port"


class ViewActor(FrameObserver):
    """Serves the page: this process's first thread reads the bus, a second one runs the HTTP server.

    Attributes:
        address: URL of the page; the heartbeat carries it.
        encoded: frames that were turned into JPEG.
    """

    topics = (*FrameObserver.topics, "process.", "status")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Bind a port and start to serve; raises ViewError where that fails."""
        cv2.setNumThreads(1)
        mine = own(settings, ViewActorSettings)
        bound = self._bind(mine, Path(settings.directory) / PORT_FILE)
        self.address = address_of(mine, bound)
        self.view = View(mine, Path(settings.directory), self.address)
        self.server = Server(self.view, bound)
        self.encoded = 0
        super().__init__(settings, mailbox)
        self.server.start()

    @staticmethod
    def _bind(mine: ViewActorSettings, remembered: Path) -> socket.socket:
        """Prefer the port that this process had before a restart, unless the config asks for another now."""
        port = RememberedPort(remembered, mine)
        bound = listen(mine, port.read())
        port.write(bound.getsockname()[1])
        return bound

    def wants_pixels(self, stream: str) -> bool:
        """True for streams that a page shows, unless faces are hidden."""
        return self.view.settings.faces == "show" and stream in self.view.viewers.shown

    def _gather(self) -> None:
        if not self.view.watched:
            time.sleep(UNWATCHED_S)

    def on_message(self, body: Body) -> None:
        """Pass a message on to the page."""
        self._pass_on(body, None)

    def on_frame(self, framed: FramedEvent) -> None:
        """Pass an event on to the page, with its frame as JPEG where a page awaits one."""
        payload = None
        if framed.stream in self.view.viewers.awaiting:
            try:
                settings = self.view.settings
                hide = settings.faces == "hide"
                payload = frame_message(framed, time.monotonic(), hide=hide, about=settings.emotions)
                self.encoded += framed.pixels is not None
            except Exception:  # one frame that can't be shown must not end the page
                log.exception("a frame can't be shown")
        self._pass_on(framed.event, payload)

    def _pass_on(self, body: Body, payload: bytes | None) -> None:
        with contextlib.suppress(RuntimeError):  # the server's loop has ended before us
            self.server.loop.call_soon_threadsafe(self.view.take, body, payload)

    def figures(self) -> dict[str, float]:
        """Open pages, frames encoded, frames sent, and frames that slow pages did not get."""
        viewers = self.view.viewers
        return {
            "pages": float(len(viewers)),
            "encoded": float(self.encoded),
            "sent": float(viewers.sent),
            "skipped": float(viewers.skipped),
        }

    def finished(self) -> int | None:
        """None while the server runs; raises ViewError where it has ended."""
        if not self.server.alive:
            raise ViewError("the live page's server has ended; the log has the details")
        return None

    def close(self) -> None:
        """Close all connections, then disconnect from the bus."""
        self.server.stop()
        super().close()
