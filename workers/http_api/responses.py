"""Responses that last: streams that end when their reader leaves, and refusals before a body has been read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

LINGER_S, LINGER_BYTES = 5.0, 512 * 2**20


class LeftError(Exception):
    """The client has gone: nobody waits for an answer."""


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_left(receive: Receive, work: Awaitable[T]) -> T:
    """Wait for work whose request has been read; cancels it and raises LeftError once the client has gone."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_until_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise LeftError
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


class LiveResponse(StreamingResponse):
    """A stream that ends as soon as its reader leaves; `on_end` is called then, or at its own end."""

    def __init__(self, content: AsyncIterator[bytes], media_type: str, on_end: Callable[[], Awaitable[None]]) -> None:
        super().__init__(content, media_type=media_type)
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            with contextlib.suppress(LeftError, OSError, asyncio.CancelledError):  # cancelled where the server stops
                await unless_left(receive, self.stream_response(send))
        finally:
            await self._on_end()


class EarlyResponse(Response):
    """An answer before the request's body was read: what still comes of it is dropped for a while, since a client that
    is cut off while it sends would not see the answer."""

    def __init__(self, answer: Response, request: Request) -> None:
        super().__init__(answer.body, answer.status_code, media_type=None)
        self.raw_headers = answer.raw_headers
        # A client that waits for "100 Continue" sends nothing.
        self._drain = "expect" not in request.headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        if self._drain:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    await _drain(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    left = LINGER_BYTES
    while left > 0:
        message = await receive()
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
        left -= len(message.get("body", b""))
