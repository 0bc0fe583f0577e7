"""Errors of the HTTP API, as problem details (RFC 9457): a status, and one sentence that says what to do."""

from __future__ import annotations

import http
import math
from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from bimodal.errors import BimodalError
from bimodal.workers.redaction import safe

PROBLEM_JSON = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was not done.

    Attributes:
        title: the name of the status.
        detail: one sentence, for people.
        code: one word, for programs (`queue_full`, `too_large` …).
        type: about:blank, since the status says the kind.
    """

    status: int
    title: str
    detail: str
    code: str
    type: str = "about:blank"


class ProblemError(BimodalError):
    """A request can't be done.

    Attributes:
        problem: what is answered.
        headers: of the answer.
    """

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.problem = Problem(status=status, title=http.HTTPStatus(status).phrase, detail=safe(detail), code=code)
        self.headers = dict(headers or {})

    @property
    def response(self) -> Response:
        """The answer over HTTP."""
        return Response(msgspec.json.encode(self.problem), self.problem.status, self.headers, media_type=PROBLEM_JSON)


def too_many(code: str, detail: str, after_s: float) -> ProblemError:
    """429, with the whole seconds after which to try again."""
    return ProblemError(429, code, detail, {"retry-after": str(max(1, math.ceil(after_s)))})


async def on_problem(_request: Request, error: Exception) -> Response:
    """Exception handler for ProblemError."""
    assert isinstance(error, ProblemError)
    return error.response


SENTENCES = {
    404: ("not_found", "There is no such address; /v1/openapi.json lists all."),
    405: ("method_not_allowed", "This address does not take this method; /v1/openapi.json lists all."),
}


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Exception handler for what Starlette itself refuses."""
    assert isinstance(error, HTTPException)
    code, sentence = SENTENCES.get(error.status_code, ("refused", str(error.detail)))
    return ProblemError(error.status_code, code, sentence, error.headers).response


async def on_unexpected(_request: Request, error: Exception) -> Response:
    """Exception handler for errors of our own; the server logs them."""
    return ProblemError(500, "unexpected", f"An unexpected {type(error).__name__}; the log has the details.").response
