"""An HTTP server in a thread of its own: uvicorn around an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from bimodal.workers.errors import ViewError

STOP_WITHIN_S = 1.0
STREAMS_END_WITHIN_S = 0.4


class HttpServer:
    """Serves an application on a socket; the process's first thread is free for something else.

    Attributes:
        loop: the event loop of its thread.
    """

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        *,
        certificate: str | None,
        key: str | None,
        on_end: Callable[[], object],
        most_message_bytes: int,
        on_stop: Callable[[], object] | None = None,
    ) -> None:
        """
        Args:
            certificate, key: paths of PEM files; None for plain HTTP.
            on_end: called once on the server's thread, after all connections are closed.
            most_message_bytes: of a WebSocket's message.
            on_stop: called on the server's thread when it is about to stop: ends streams that have no end of their own.

        Raises ViewError where the certificate can't be read.
        """
        self.loop = asyncio.new_event_loop()
        self._bound, self._on_end, self._on_stop = bound, on_end, on_stop
        config = uvicorn.Config(
            app,
            log_config=None,
            # Lower levels log requests with their headers, the token among them.
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws_max_size=most_message_bytes,
            ws_max_queue=4,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except OSError as error:
            raise ViewError(
                f"the certificate {certificate} with the key {key} can't be used: {error.strerror or error}"
            ) from error
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while it serves."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(timeout_s)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._server.serve(sockets=[self._bound]))
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            self._on_end()
            self.loop.close()

    def stop(self) -> None:
        """Close all connections and end."""
        self._server.should_exit = True
        if self._on_stop is not None and self.alive:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                self.loop.call_soon_threadsafe(self._on_stop)
            self._thread.join(STREAMS_END_WITHIN_S)
        self._server.force_exit = True
        self._thread.join(STOP_WITHIN_S)
