"""The process of the HTTP API: reads the bus, and serves HTTP in a second thread."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import ViewError
from bimodal.workers.http_api.analyses import Analyses
from bimodal.workers.http_api.app import MOST_MESSAGE_BYTES, Api, application
from bimodal.workers.http_api.settings import ApiSettings
from bimodal.workers.http_api.system import System
from bimodal.workers.http_server import HttpServer
from bimodal.workers.observer import Observer
from bimodal.workers.system_state import SystemState
from bimodal.workers.view.health import unready_reasons
from bimodal.workers.view.listening import RememberedPort, address_of, listen

# In the session's directory, which vanishes with it.
PORT_FILE = "api.port"
WHAT, SECTION = "the HTTP API", "outputs.api"


class ApiActor(Observer):
    """Serves the API: this process's first thread reads the bus, a second one runs the HTTP server.

    Attributes:
        address: URL of the API; the heartbeat carries it.
    """

    topics = ("emotion.", "stream.", "closed.", "process.", "status")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Bind a port and start to serve; raises ViewError where that fails."""
        mine, directory = own(settings, ApiSettings), Path(settings.directory)
        port = RememberedPort(directory / PORT_FILE, mine)
        bound = listen(mine, port.read(), what=WHAT, section=SECTION)
        port.write(bound.getsockname()[1])
        self.address = address_of(mine, bound)
        system = System(directory)
        self._state = SystemState()
        analyses = Analyses(mine.analyze, system.analysis_config, settings.log)
        self.api = Api(mine, analyses, system, self._unready)
        self.server = HttpServer(
            application(self.api),
            bound,
            certificate=mine.tls_certificate,
            key=mine.tls_key,
            on_end=self.api.close,
            on_stop=self.api.feed.close,
            most_message_bytes=MOST_MESSAGE_BYTES,
        )
        super().__init__(settings, mailbox)
        self.server.start()

    async def _unready(self) -> list[str]:
        return unready_reasons(self._state, time.monotonic())

    def on_event(self, event: Emotion) -> None:
        """Pass an event on to the server's thread."""
        self._pass_on(event)

    def on_message(self, body: Body) -> None:
        """Pass a message on to the server's thread."""
        self._pass_on(body)

    def _pass_on(self, body: Body) -> None:
        with contextlib.suppress(RuntimeError):  # the server's loop has ended before us
            self.server.loop.call_soon_threadsafe(self._take, body)

    def _take(self, body: Body) -> None:
        self._state.take(body, time.monotonic())
        if isinstance(body, Emotion):
            self.api.feed.publish(body)

    def figures(self) -> dict[str, float]:
        """Readers of events; clips that are worked on or wait, that were done, and that found the queue full."""
        analyses = self.api.analyses
        return {
            "readers": float(len(self.api.feed)),
            "clips": float(analyses.present),
            "clips_done": float(analyses.done),
            "clips_refused": float(analyses.refused),
        }

    def finished(self) -> int | None:
        """None while the server runs; raises ViewError where it has ended."""
        if not self.server.alive:
            raise ViewError("the HTTP API's server has ended; the log has the details")
        return None

    def close(self) -> None:
        """Close all connections, then disconnect from the bus."""
        self.server.stop()
        super().close()
