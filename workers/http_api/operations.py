"""What the HTTP API can do, as one table: routes and the OpenAPI document are made from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from bimodal.broker.control import Accepted, ConfigReply, StatusReply
from bimodal.broker.events import Emotion
from bimodal.broker.messages import StreamStatus
from bimodal.models import catalog
from bimodal.values import WrongValueError, convert
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.http_api import analyze
from bimodal.workers.http_api.access import Scope
from bimodal.workers.http_api.events import EventsQuery
from bimodal.workers.http_api.problems import ProblemError
from bimodal.workers.http_api.responses import LiveResponse
from bimodal.workers.http_api.system import Change, System

if TYPE_CHECKING:
    from bimodal.workers.http_api.app import Api

JSON = "application/json"
EVENT_STREAM = "text/event-stream"
MOST_BODY_BYTES = 48 * 1024

Handler = Callable[["Api", Request], Awaitable[Response]]


class NoQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


class ChangeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for a change.

    Attributes:
        wait_s: seconds until the answer says that it is not in force yet.
    """

    wait_s: Annotated[
        float, msgspec.Meta(ge=0, le=120, description="Seconds to wait until the change is in force.")
    ] = 30


Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=1, le=256)]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server can work; `reasons` say why not, one sentence each."""

    ready: bool
    reasons: list[str]


class Streams(msgspec.Struct, frozen=True, kw_only=True):
    """The streams.

    Attributes:
        streams: settings by name, as in config.yaml; secrets are hidden.
        counters: of the broker, as of the last second.
        problems: what is wrong with a source, in one sentence, by name.
    """

    streams: dict[Name, dict[str, Any]]
    counters: list[StreamStatus] = []
    problems: dict[Name, str] = {}


class NewStreams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All streams that shall be there: settings by name, as in config.yaml."""

    streams: dict[Name, dict[str, Any]]


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of workers that run."""

    face: int
    audio: int


class NewScale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Numbers of workers; a kind that is not named stays as it is."""

    face: Count | None = None
    audio: Count | None = None


class KnownModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be named here."""

    name: str
    kind: str
    license: str
    source: str


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The models.

    Attributes:
        config: the section `models` of the config.
        running: name@version of what runs, by kind.
        catalog: models that ship.
    """

    config: dict[str, Any]
    running: dict[str, list[str]]
    catalog: list[KnownModel]


@dataclass(frozen=True)
class Body:
    """What a request holds: a kind of content, and the type that it is decoded to (None: bytes)."""

    content: str
    type: Any = None


@dataclass(frozen=True)
class Operation:
    """One method of one address.

    Attributes:
        handler: does it.
        scope: of the token that it needs.
        summary, description: for people.
        query: type of its parameters after "?".
        body: what it takes; None for nothing.
        answers: by status: in words, and contents with their types.
        problems: further statuses of problems.
        needs_session: only with a running system.
    """

    method: str
    path: str
    handler: Handler
    scope: Scope
    summary: str
    description: str = ""
    query: type[msgspec.Struct] = NoQuery
    body: Body | None = None
    answers: dict[int, tuple[str, Sequence[Body]]] = field(default_factory=dict)
    problems: Sequence[int] = ()
    needs_session: bool = True


# Handlers.


def answer(value: object, status: int = 200) -> Response:
    """A value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


def parameters(request: HTTPConnection, kind: type[msgspec.Struct]) -> Any:
    """The parameters after "?". Raises ProblemError (400) with the name of the wrong one."""
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ProblemError(400, "bad_parameter", "A parameter is given twice.")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        text = f"The parameters after '?' are wrong: {_in_words(given, kind, error)}."
        raise ProblemError(400, "bad_parameter", text) from error


async def body_of(request: Request, kind: Any) -> Any:
    """The JSON in a request. Raises ProblemError: 415, 413, 400 for what is no JSON, 422 for wrong values."""
    content = request.headers.get("content-type", JSON).split(";")[0].strip().lower()
    if content != JSON:
        raise ProblemError(415, "no_json", f"The body must be {JSON}.")
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_BODY_BYTES:
            raise ProblemError(413, "too_large", f"The body may have {MOST_BODY_BYTES // 1024} KiB.")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        text = f"The body's values are wrong: {_in_words(data, kind, error)}."
        raise ProblemError(422, "wrong_values", text) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ProblemError(400, "no_json", "The body is no JSON.") from error


def _in_words(given: object, kind: Any, error: msgspec.ValidationError) -> str:
    """Sentence about wrong values, given as they are or as JSON, in the words of an error of the config."""
    try:
        convert(msgspec.json.decode(given) if isinstance(given, bytearray) else given, kind)
    except WrongValueError as wrong:
        return str(wrong)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass  # no JSON at all, but wrong from its beginning
    return str(error)


def system_of(api: Api) -> System:
    """The running system; its handlers are routed only where there is one."""
    assert api.system is not None
    return api.system


async def livez(_api: Api, _request: Request) -> Response:
    return answer(Health(ready=True, reasons=[]))


async def readyz(api: Api, _request: Request) -> Response:
    reasons = await api.unready_reasons()
    return answer(Health(ready=not reasons, reasons=reasons), 503 if reasons else 200)


async def openapi(api: Api, _request: Request) -> Response:
    return answer(api.openapi)


async def analyze_clip(api: Api, request: Request) -> Response:
    return await analyze.analyze(api.analyses, request, parameters(request, analyze.AnalyzeQuery))


async def events(api: Api, request: Request) -> Response:
    query = parameters(request, EventsQuery)
    if request.method == "HEAD":
        return Response(media_type=EVENT_STREAM)
    stream = api.feed.server_sent(query)
    first = await anext(stream)

    async def pieces() -> Any:
        yield first
        async for piece in stream:
            yield piece

    return LiveResponse(pieces(), EVENT_STREAM, stream.aclose)


async def status(api: Api, _request: Request) -> Response:
    return answer(await system_of(api).status())


_PLAIN = msgspec.to_builtins(StreamSettings(auto=True)) | {"auto": False}


def _without_defaults(settings: Any) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value != _PLAIN.get(key)}


def _streams(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: _without_defaults(settings) for name, settings in config["streams"].items()}


async def get_streams(api: Api, _request: Request) -> Response:
    config = (await system_of(api).config()).config
    status = await system_of(api).status()
    streams = _streams(config)
    sources = {process.name.partition(" ")[2]: process for process in status.processes if process.role == "capture"}
    problems = {name: source.because for name, source in sources.items() if source.because and name in streams}
    return answer(Streams(streams=streams, counters=list(status.streams), problems=problems))


async def put_streams(api: Api, request: Request) -> Response:
    query = parameters(request, ChangeQuery)
    wanted = await body_of(request, NewStreams)
    return await _changed(api, {"streams": wanted.streams}, "sections", query)


async def put_stream(api: Api, request: Request) -> Response:
    query, name = parameters(request, ChangeQuery), request.path_params["name"]
    settings = await body_of(request, dict[str, Any])
    config: dict[str, Any] = (await system_of(api).config()).config
    return await _changed(api, {"streams": config["streams"] | {name: settings}}, "sections", query)


async def delete_stream(api: Api, request: Request) -> Response:
    query, name = parameters(request, ChangeQuery), request.path_params["name"]
    config: dict[str, Any] = (await system_of(api).config()).config
    if name not in config["streams"]:
        raise ProblemError(404, "no_such_stream", "There is no stream of this name.")
    left = {other: settings for other, settings in config["streams"].items() if other != name}
    return await _changed(api, {"streams": left}, "sections", query)


async def get_scale(api: Api, _request: Request) -> Response:
    running = (await system_of(api).status()).processes
    return answer(Scale(**{kind: sum(process.role == kind for process in running) for kind in ("face", "audio")}))


async def put_scale(api: Api, request: Request) -> Response:
    counts = msgspec.to_builtins(await body_of(request, NewScale))
    return answer(await system_of(api).scale(counts))


async def get_models(api: Api, _request: Request) -> Response:
    config: dict[str, Any] = (await system_of(api).config()).config
    running: dict[str, list[str]] = {}
    for process in (await system_of(api).status()).processes:
        for kind, model in process.models.items():
            if model not in running.setdefault(kind, []):
                running[kind].append(model)
    known = [
        KnownModel(name=entry.name, kind=entry.kind, license=entry.license, source=entry.source)
        for entry in catalog.entries()
    ]
    return answer(Models(config=config["models"], running=running, catalog=known))


async def put_models(api: Api, request: Request) -> Response:
    query = parameters(request, ChangeQuery)
    return await _changed(api, {"models": await body_of(request, dict[str, Any])}, "merge", query)


async def get_config(api: Api, _request: Request) -> Response:
    return answer(await system_of(api).config())


async def put_config(api: Api, request: Request) -> Response:
    query = parameters(request, ChangeQuery)
    return await _changed(api, await body_of(request, dict[str, Any]), "whole", query)


async def patch_config(api: Api, request: Request) -> Response:
    query = parameters(request, ChangeQuery)
    return await _changed(api, await body_of(request, dict[str, Any]), "merge", query)


async def _changed(api: Api, values: dict[str, Any], mode: Any, query: ChangeQuery) -> Response:
    reply, in_force = await system_of(api).change(values, mode, query.wait_s)
    change = Change(in_force=in_force, tried=reply.tried, config=reply.config)
    return answer(change, 200 if in_force else 202)


# The table.

CHANGED: dict[int, tuple[str, Sequence[Body]]] = {
    200: ("It is in force.", [Body(JSON, Change)]),
    202: ("It is still being carried out; GET /v1/config says how it ends.", [Body(JSON, Change)]),
}
ROLLED_BACK = (
    "It is checked, new workers are tried on real frames, and what does not work changes nothing (409). A change that "
    "makes things worse within half a minute is rolled back; `refused` of GET /v1/config then says why. It holds until "
    "the config file is edited or the system is started again."
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/livez", livez, "open", "Whether the server answers",
        answers={200: ("It does.", [Body(JSON, Health)])}, needs_session=False,
    ),
    Operation(
        "GET", "/readyz", readyz, "open", "Whether results come out",
        answers={200: ("They do.", [Body(JSON, Health)]), 503: ("They don't.", [Body(JSON, Health)])},
        needs_session=False,
    ),
    Operation(
        "GET", "/v1/openapi.json", openapi, "open", "This document",
        answers={200: ("OpenAPI 3.1.", [Body(JSON, dict[str, Any])])}, needs_session=False,
    ),
    Operation(
        "POST", "/v1/analyze", analyze_clip, "read", "Analyse a clip, a picture or a sound",
        "The body is the file itself. With `Accept: application/x-ndjson` each event is a line as soon as it is known: "
        "`opened`, then `emotion`, `hop` and `segment` lines, then `end`, or `problem`. Clips wait in a bounded queue; "
        "where that is full the answer is 429 with Retry-After.",
        query=analyze.AnalyzeQuery, body=Body("application/octet-stream"),
        answers={200: ("What it shows and says.", [Body(JSON, analyze.Analysis), Body(analyze.NDJSON)])},
        problems=(400, 406, 408, 413, 415, 422, 500, 503), needs_session=False,
    ),
    Operation(
        "GET", "/v1/events", events, "read", "Live events",
        "Server-sent events: `emotion`, one a frame, and `lost` with a count where this reader was too slow. The same "
        "address takes WebSockets: one text message an event. Programs in browsers offer the subprotocols `bimodal` "
        "and their token.",
        query=EventsQuery, answers={200: ("Events.", [Body(EVENT_STREAM, Emotion)])}, problems=(400,),
    ),
    Operation(
        "GET", "/v1/status", status, "read", "Processes and streams, as `bimodal status`",
        answers={200: ("The state.", [Body(JSON, StatusReply)])}, problems=(503,),
    ),
    Operation(
        "GET", "/v1/streams", get_streams, "read", "The streams, their settings and counters",
        answers={200: ("The streams.", [Body(JSON, Streams)])}, problems=(409, 503),
    ),
    Operation(
        "PUT", "/v1/streams", put_streams, "control", "Replace all streams", ROLLED_BACK,
        query=ChangeQuery, body=Body(JSON, NewStreams), answers=CHANGED, problems=(400, 409, 413, 415, 422, 503),
    ),
    Operation(
        "PUT", "/v1/streams/{name}", put_stream, "control", "Add or change one stream", ROLLED_BACK,
        query=ChangeQuery, body=Body(JSON, dict[str, Any]), answers=CHANGED, problems=(400, 409, 413, 415, 422, 503),
    ),
    Operation(
        "DELETE", "/v1/streams/{name}", delete_stream, "control", "End one stream", ROLLED_BACK,
        query=ChangeQuery, answers=CHANGED, problems=(400, 404, 409, 422, 503),
    ),
    Operation(
        "GET", "/v1/scale", get_scale, "read", "Numbers of workers",
        answers={200: ("The numbers.", [Body(JSON, Scale)])}, problems=(503,),
    ),
    Operation(
        "PUT", "/v1/scale", put_scale, "control", "Have more or fewer workers, as `bimodal scale`",
        body=Body(JSON, NewScale), answers={200: ("It is under way.", [Body(JSON, Accepted)])},
        problems=(400, 413, 415, 422, 503),
    ),
    Operation(
        "GET", "/v1/models", get_models, "read", "Models that run, and that can be named",
        answers={200: ("The models.", [Body(JSON, Models)])}, problems=(409, 503),
    ),
    Operation(
        "PUT", "/v1/models", put_models, "control", "Swap models, as keys of the section `models`", ROLLED_BACK,
        query=ChangeQuery, body=Body(JSON, dict[str, Any]), answers=CHANGED, problems=(400, 409, 413, 415, 422, 503),
    ),
    Operation(
        "GET", "/v1/config", get_config, "read", "The config in force, secrets hidden",
        answers={200: ("The config.", [Body(JSON, ConfigReply)])}, problems=(409, 503),
    ),
    Operation(
        "PUT", "/v1/config", put_config, "control", "Replace the config",
        f"`outputs`, `network` and `log` can be changed in the file only, and stay where they are not named. "
        f"{ROLLED_BACK}",
        query=ChangeQuery, body=Body(JSON, dict[str, Any]), answers=CHANGED, problems=(400, 409, 413, 415, 422, 503),
    ),
    Operation(
        "PATCH", "/v1/config", patch_config, "control", "Change some keys of the config (JSON merge patch, RFC 7396)",
        ROLLED_BACK, query=ChangeQuery, body=Body(JSON, dict[str, Any]), answers=CHANGED,
        problems=(400, 409, 413, 415, 422, 503),
    ),
)  # fmt: skip
