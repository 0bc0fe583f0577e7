"""A small reverse proxy on this machine: one path of its own port is another server's root."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOST_HEAD = 64 * 1024
WITHIN_S = 60.0


class ReverseProxy:
    """Passes requests below `prefix` on to 127.0.0.1:`port`, WebSockets too; anything else is answered by 404.

    As proxies do by default, it keeps the Host header. `strip`: whether it takes its prefix away.
    """

    def __init__(self, port: int, prefix: str, *, strip: bool) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    _serve(self.request, port, prefix, strip=strip)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}{prefix}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def proxying(port: int, prefix: str, *, strip: bool) -> Iterator[ReverseProxy]:
    proxy = ReverseProxy(port, prefix, strip=strip)
    try:
        yield proxy
    finally:
        proxy.close()


def _serve(client: socket.socket, port: int, prefix: str, *, strip: bool) -> None:
    client.settimeout(WITHIN_S)
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MOST_HEAD:
        piece = client.recv(4096)
        if not piece:
            return
        head += piece
    line, _, rest = head.partition(b"\r\n")
    method, target, version = line.split(b" ")
    if target != prefix.encode() and not target.startswith(prefix.encode() + b"/"):
        client.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        return
    if strip:
        target = target[len(prefix) :] or b"/"
    if b"upgrade: websocket" not in rest.lower():
        # One request a connection, so that every one comes by here.
        rest = b"\r\n".join(
            one for one in rest.split(b"\r\n") if not one.lower().startswith((b"connection:", b"keep-alive:"))
        )
        rest = b"connection: close\r\n" + rest
    with socket.create_connection(("127.0.0.1", port), WITHIN_S) as server:
        server.sendall(b" ".join((method, target, version)) + b"\r\n" + rest)
        up = threading.Thread(target=_pump, args=(client, server), daemon=True)
        up.start()
        _pump(server, client)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
