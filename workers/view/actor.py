"""The live page's process: the actor's loop here, the bus and the HTTP server in a thread each."""

from __future__ import annotations

import socket
from pathlib import Path

import cv2

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import ViewError
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.bus import BusReader
from bimodal.workers.view.context import View
from bimodal.workers.view.server import Server, address_of, listen

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

    def welcome(self) -> None:
        """The broker has nothing for us."""

    def handle(self, body: Body) -> None:
        """Nor does it send anything."""

    def idle(self) -> None:
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

    def trouble(self) -> str | None:
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
