"""The gate in front of the application: every request passes it, every answer carries the security headers."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bimodal.workers.view.gate import Gate, Verdict, is_trustworthy, security_headers

SENTENCES: dict[Verdict, str] = {
    "foreign host": "This page answers under its own name only; open it by its address.",
    "foreign origin": "Another site's page may not connect here.",
    "no token": "This page needs its token: open it in a browser, or send 'Authorization: Bearer TOKEN'.",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, gate: Gate, *, camera: bool = False) -> None:
        self._app = app
        self._gate = gate
        self._headers = {safe: security_headers(camera=camera, trustworthy=safe) for safe in (True, False)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        websocket = scope["type"] == "websocket"
        verdict = self._gate.judge(headers, scope["path"], websocket=websocket)
        own = self._headers[is_trustworthy(scope["scheme"], headers.get("host", ""))]
        if verdict == "enter":
            await self._app(scope, receive, _with_headers(send, own))
        else:
            # A WebSocket that is not accepted yet is refused with an ordinary answer, too.
            await self._refusal(verdict, headers)(scope, receive, _with_headers(send, own))

    def _refusal(self, verdict: Verdict, headers: Headers) -> Response:
        if verdict == "no token" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/enter", 303)
        return PlainTextResponse(SENTENCES[verdict] + "\n", 401 if verdict == "no token" else 403)


def _with_headers(send: Send, own: Mapping[str, str]) -> Send:
    async def forward(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = MutableHeaders(scope=message)
            for name, value in own.items():
                headers.setdefault(name, value)
        await send(message)

    return forward
