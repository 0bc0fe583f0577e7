"""The ASGI application of the HTTP API: routes of the table of operations, under one access control."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from bimodal.workers.http_api.access import ApiAccess
from bimodal.workers.http_api.analyses import Analyses
from bimodal.workers.http_api.events import EventsQuery, Feed, no_session
from bimodal.workers.http_api.openapi import document
from bimodal.workers.http_api.operations import OPERATIONS, Operation, parameters
from bimodal.workers.http_api.problems import ProblemError, on_http_exception, on_problem, on_unexpected
from bimodal.workers.http_api.settings import ApiSettings
from bimodal.workers.http_api.system import System

EVENTS = "/v1/events"
# Readers of events send nothing.
MOST_MESSAGE_BYTES = 16 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Api:
    """What all handlers share.

    Attributes:
        system: the running system; None where there is none, and clips only are analysed.
        unready_reasons: says why no results come out, one sentence each.
        openapi: the OpenAPI document.
    """

    def __init__(
        self,
        settings: ApiSettings,
        analyses: Analyses,
        system: System | None,
        unready_reasons: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self.access = ApiAccess(settings)
        self.settings, self.analyses, self.system = settings, analyses, system
        self.feed = Feed(settings.readers)
        self.unready_reasons = unready_reasons
        self.operations = [one for one in OPERATIONS if system is not None or not one.needs_session]
        self.openapi: dict[str, Any] = document(self.operations)

    def close(self) -> None:
        """End all workers and streams."""
        self.feed.close()
        self.analyses.close()


def application(api: Api) -> Starlette:
    """The ASGI application around one Api."""
    app = Starlette(
        routes=_routes(api),
        exception_handlers={
            ProblemError: on_problem,
            HTTPException: on_http_exception,
            Exception: on_unexpected,
        },
    )
    app.add_middleware(ApiMiddleware, access=api.access)
    if api.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.rstrip("/") for origin in api.settings.origins],
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
            expose_headers=["retry-after"],
        )
    return app


def _routes(api: Api) -> list[BaseRoute]:
    by_path: dict[str, list[Operation]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, []).append(operation)
    routes: list[BaseRoute] = [WebSocketRoute(EVENTS, _events_over_websocket(api))]
    for path, operations in by_path.items():
        routes.append(Route(path, _endpoint(api, operations), methods=[one.method for one in operations]))
    return routes


def _endpoint(api: Api, operations: list[Operation]) -> Callable[[Request], Awaitable[Response]]:
    by_method = {operation.method: operation for operation in operations}

    async def serve(request: Request) -> Response:
        operation = by_method["GET" if request.method == "HEAD" else request.method]
        _check_token(api, request, operation)
        if operation.needs_session and api.system is None:
            raise no_session()
        parameters(request, operation.query)
        return await operation.handler(api, request)

    return serve


def _check_token(api: Api, request: HTTPConnection, operation: Operation) -> None:
    api.access.check_token(request.headers, client_of(request.scope), operation.scope, time.monotonic())


def _events_over_websocket(api: Api) -> Callable[[WebSocket], Awaitable[None]]:
    async def serve(socket: WebSocket) -> None:
        try:
            api.access.check_token(socket.headers, client_of(socket.scope), "read", time.monotonic())
            if api.system is None:
                raise no_session()
            await api.feed.serve(socket, parameters(socket, EventsQuery))
        except ProblemError as error:
            await socket.send_denial_response(error.response)

    return serve


def client_of(scope: Scope) -> str:
    """The address from which a request comes."""
    client = scope.get("client")
    return client[0] if client else ""


class ApiMiddleware:
    """ASGI middleware: refuses requests by name, origin and rate, and adds headers to every response."""

    def __init__(self, app: ASGIApp, access: ApiAccess) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def forward(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._access.check(Headers(scope=scope), client_of(scope), time.monotonic())
        except ProblemError as error:
            # A WebSocket that is not accepted yet is refused by an ordinary HTTP response, too.
            await error.response(scope, receive, forward)
            return
        await self._app(scope, receive, forward)
