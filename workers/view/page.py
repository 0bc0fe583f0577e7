"""The page itself: files that lie in `page/`, and the door where the token is asked for."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from bimodal.workers.view.context import View

FILES = Path(__file__).with_name("page")
MOST_FORM_BYTES = 4096
COOKIE_S = 30 * 24 * 3600


def routes(view: View) -> list[BaseRoute]:
    """/, /enter, /page/…"""

    async def index(_request: Request) -> Response:
        return FileResponse(FILES / "index.html")

    async def enter(request: Request) -> Response:
        """The door: a form, or a link that carries the token and is left again at once."""
        if request.method == "GET" and "token" not in request.query_params:
            return FileResponse(FILES / "enter.html")
        given = await _posted(request) if request.method == "POST" else request.query_params["token"]
        if not view.gate.right(given):
            return FileResponse(FILES / "wrong.html", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            view.gate.cookie_name(request.headers.get("host", "")),
            view.gate.cookie_value,
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
    """The token of the form; nothing of a body that is longer than any token."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            return ""
    return parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
