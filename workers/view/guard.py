"""The gate in front of the application: every request passes it, every answer carries the security headers."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.view.gate import Gate, Verdict, security_headers

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
        self._headers = security_headers(camera=camera)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        websocket = scope["type"] == "websocket"
        verdict = self._gate.judge(headers, scope["path"], websocket=websocket)
        if verdict == "enter":
            await self._app(scope, receive, self._with_headers(send))
        else:
            # A WebSocket that is not accepted yet is refused with an ordinary answer, too.
            await self._refusal(verdict, headers)(scope, receive, self._with_headers(send))

    def _refusal(self, verdict: Verdict, headers: Headers) -> Response:
        if verdict == "no token" and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/enter", 303)
        return PlainTextResponse(SENTENCES[verdict] + "\n", 401 if verdict == "no token" else 403)

    def _with_headers(self, send: Send) -> Send:
        async def forward(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return forward
