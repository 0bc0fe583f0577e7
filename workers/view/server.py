"""The page's HTTP and WebSocket server: all routes, under one access control and the same security headers.

Each part of the page brings its routes by a function `routes(view) -> list[BaseRoute]`, named in `PARTS`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bimodal.workers.http_server import HttpServer
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
        answer = RedirectResponse(address_within(request.url.path, ""), 303)
        answer.set_cookie(
            view.access.cookie_name(request.headers.get("host", "")),
            view.access.cookie_value,
            max_age=COOKIE_S,
            path=view.settings.base_path,
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


def application(view: View) -> Starlette:
    """The ASGI application around one View."""
    app = Starlette(routes=[route for part in PARTS for route in part(view)])
    app.add_middleware(AccessMiddleware, access=view.access, camera=bool(view.visitors))
    app.add_middleware(BasePathMiddleware, base_path=view.settings.base_path)
    return app


class Server(HttpServer):
    """The page's server."""

    def __init__(self, view: View, bound: socket.socket) -> None:
        """Raises ViewError where the certificate can't be read."""
        super().__init__(
            application(view),
            bound,
            certificate=view.settings.tls_certificate,
            key=view.settings.tls_key,
            on_end=lambda: [close() for close in view.closers],
            most_message_bytes=MOST_MESSAGE_BYTES,
        )


def address_within(path: str, target: str) -> str:
    """A relative address of `target` for a page at `path`, both from the page's root: right behind any proxy, whether
    or not it takes its own prefix away."""
    return "../" * (path.count("/") - 1) + target or "./"


class BasePathMiddleware:
    """ASGI middleware: takes the prefix of a reverse proxy away from paths that have it; others stay as they are."""

    def __init__(self, app: ASGIApp, base_path: str) -> None:
        self._app = app
        self._prefix = base_path.rstrip("/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, prefix = scope.get("path", ""), self._prefix
        if prefix and path == prefix:
            # The page's relative addresses need the slash at the end.
            await RedirectResponse(f"{prefix.rpartition('/')[2]}/", 308)(scope, receive, send)
            return
        if prefix and path.startswith(f"{prefix}/"):
            scope = {**scope, "path": path[len(prefix) :], "raw_path": scope.get("raw_path", b"")[len(prefix) :]}
        await self._app(scope, receive, send)


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
            await self._refusal(decision, headers, scope["path"])(scope, receive, _with_headers(send, own))

    def _refusal(self, decision: Decision, headers: Headers, path: str) -> Response:
        if decision == "no token" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(address_within(path, "enter"), 303)
        return PlainTextResponse(SENTENCES[decision] + "\n", 401 if decision == "no token" else 403)


def _with_headers(send: Send, own: Mapping[str, str]) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in own.items():
                headers.setdefault(name, value)
        await send(message)

    return forward
