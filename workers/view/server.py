"""The page's HTTP and WebSocket server: all routes, under one access control and the same security headers.

Each part of the page brings its routes by a function `routes(view) -> list[BaseRoute]`, named in `PARTS`.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bimodal.workers.errors import ViewError
from bimodal.workers.view import events_socket, live_socket, metrics, visitor
from bimodal.workers.view.access import AccessControl, Decision, is_trustworthy, security_headers
from bimodal.workers.view.state import View

# The page's files, and the form that asks for the token.
FILES = Path(__file__).with_name("page")
MOST_FORM_BYTES = 4096
COOKIE_S = 30 * 24 * 3600


def routes(view: View) -> list[BaseRoute]:
    """Routes of /, /enter and /page/…"""

    async def index(_request: Request) -> Response:
        return FileResponse(FILES / "index.html")

    async def enter(request: Request) -> Response:
        """Set the cookie for a token from the form or from a link, and redirect to the page."""
        if request.method == "GET" and "token" not in request.query_params:
            return FileResponse(FILES / "enter.html")
        given = await _posted(request) if request.method == "POST" else request.query_params["token"]
        if not view.access.is_token(given):
            return FileResponse(FILES / "wrong.html", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            view.access.cookie_name(request.headers.get("host", "")),
            view.access.cookie_value,
            max_age=COOKIE_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    return [
        Route("/", index),
        Route("/enter", enter, methods=["GET", "POST"]),
        Mount("/page", StaticFiles(directory=FILES)),
    ]


async def _posted(request: Request) -> str:
    """Token of the form; empty where the body is longer than any token."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]


PARTS: tuple[Callable[[View], Sequence[BaseRoute]], ...] = (
    routes,
    live_socket.routes,
    visitor.routes,
    events_socket.routes,
    metrics.routes,
)

# The largest message that anyone may send is a visitor's picture.
MOST_MESSAGE_BYTES = 1024 * 1024
STOP_WITHIN_S = 1.0


def application(view: View) -> Starlette:
    """The ASGI application around one View."""
    app = Starlette(routes=[route for part in PARTS for route in part(view)])
    app.add_middleware(AccessMiddleware, access=view.access, camera=bool(view.visitors))
    return app


class Server:
    """uvicorn in a thread of its own; the process's first thread runs the actor."""

    def __init__(self, view: View, bound: socket.socket) -> None:
        """Raises ViewError where the certificate can't be read."""
        self.loop = asyncio.new_event_loop()
        self._bound, self._view = bound, view
        config = uvicorn.Config(
            application(view),
            log_config=None,
            # Lower levels log requests with their headers, the token among them.
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="off",
            ws_max_size=MOST_MESSAGE_BYTES,
            ws_max_queue=4,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=view.settings.tls_certificate,
            ssl_keyfile=view.settings.tls_key,
        )
        try:
            config.load()
        except OSError as error:
            raise ViewError(
                f"the certificate {view.settings.tls_certificate} with the key {view.settings.tls_key} "
                f"can't be used: {error.strerror or error}"
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

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._server.serve(sockets=[self._bound]))
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        finally:
            for close in self._view.closers:
                close()
            self.loop.close()

    def stop(self) -> None:
        """Close all connections and end."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(STOP_WITHIN_S)


SENTENCES: dict[Decision, str] = {
    "foreign host": "This page answers under its own name only; open it by its address.",
    "foreign origin": "Another site's page may not connect here.",
    "no token": "This page needs its token: open it in a browser, or send 'Authorization: Bearer TOKEN'.",
}


class AccessMiddleware:
    """ASGI middleware: refuses requests by AccessControl, and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, access: AccessControl, *, camera: bool = False) -> None:
        self._app = app
        self._access = access
        self._headers = {safe: security_headers(camera=camera, trustworthy=safe) for safe in (True, False)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        websocket = scope["type"] == "websocket"
        decision = self._access.decide(headers, scope["path"], websocket=websocket)
        own = self._headers[is_trustworthy(scope["scheme"], headers.get("host", ""))]
        if decision == "enter":
            await self._app(scope, receive, _with_headers(send, own))
        else:
            # A WebSocket that is not accepted yet is refused by an ordinary HTTP response, too.
            await self._refusal(decision, headers)(scope, receive, _with_headers(send, own))

    def _refusal(self, decision: Decision, headers: Headers) -> Response:
        if decision == "no token" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/enter", 303)
        return PlainTextResponse(SENTENCES[decision] + "\n", 401 if decision == "no token" else 403)


def _with_headers(send: Send, own: Mapping[str, str]) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in own.items():
                headers.setdefault(name, value)
        await send(message)

    return forward
