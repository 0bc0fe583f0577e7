"""An HTTP server on this machine that tests can kill and start again."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Serve = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server:
    """An HTTP server that serves every request by a function, until it is stopped."""

    def __init__(self, serve: Serve, port: int = 0) -> None:
        self.closing = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    serve(self)
                except OSError:
                    self.close_connection = True

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        class QuickServer(http.server.ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

        self._server = QuickServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(serve: Serve, port: int = 0) -> Iterator[Server]:
    server = Server(serve, port)
    try:
        yield server
    finally:
        server.close()
