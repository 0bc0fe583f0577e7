"""`POST /v1/analyze`: a clip, picture or sound in; its events out, all at the end or each as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from bimodal.broker.events import Emotion, Hop, Stretch
from bimodal.workers.http_api.analyses import Analyses, ClipWorker
from bimodal.workers.http_api.problems import ProblemError
from bimodal.workers.http_api.responses import EarlyResponse, LeftError, LiveResponse, unless_left
from bimodal.workers.http_api.worker_messages import Answer, End, Item, Opened, Task

NDJSON = "application/x-ndjson"
JSON = "application/json"
SILENT_S = 30.0
MEGA = 1_000_000
EMPTY = "empty"

Track = Annotated[int, msgspec.Meta(ge=1, le=64)]


class AnalyzeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to read the clip; the same as the options of `bimodal analyze`.

    Attributes:
        name: of the stream in its events.
        video_track, audio_track: number of a track from 1.
        channel: mix, left, right, each, or a number from 1.
    """

    name: Annotated[
        str, msgspec.Meta(pattern=r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,63}$", examples=["clip"])
    ] = "clip"
    video_track: Track | None = None
    audio_track: Track | None = None
    channel: Annotated[
        str, msgspec.Meta(pattern="^(mix|left|right|each|[1-9][0-9]?)$", examples=["mix", "left", "2"])
    ] = "mix"

    def task(self, file: Path) -> Task:
        """The task for a worker."""
        channel = int(self.channel) if self.channel.isdecimal() else self.channel
        return Task(
            file=str(file), name=self.name, video_track=self.video_track, audio_track=self.audio_track, channel=channel
        )


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """A clip that was analysed.

    Attributes:
        models: name@version of every model, by kind.
        events: one a frame; one a hop of sound where there is no picture.
        hops: what the voice carries, one a hop of sound.
        segments: stretches with one label, turns, blinks, shots.
        note: what was wrong with a clip that has results all the same.
    """

    name: str
    models: dict[str, str]
    events: list[Emotion]
    hops: list[Hop]
    segments: list[Stretch]
    note: str | None


async def analyze(analyses: Analyses, request: Request, query: AnalyzeQuery) -> Response:
    """Answer one request. Raises ProblemError once its body was read."""
    streamed = _wants_lines(request.headers.get("accept", ""))
    with contextlib.ExitStack() as stack:
        try:
            _check_kind(request.headers.get("content-type", ""))
            place = stack.enter_context(analyses.place())
            await _receive(request, place, analyses.settings.max_mbytes * MEGA, analyses.settings.max_seconds)
        except ProblemError as error:
            if error.problem.code == EMPTY:
                raise
            return EarlyResponse(error.response, request)
        except ClientDisconnect:
            return Response(status_code=400)
        answers = analyses.run(query.task(place))
        try:
            async with contextlib.AsyncExitStack() as running:
                running.push_async_callback(answers.aclose)
                # Whether a clip can be read is known before the status is sent.
                first = await unless_left(request.receive, anext(answers))
                if not streamed:
                    body = await unless_left(request.receive, _whole(query.name, first, answers))
                    return Response(body, media_type=JSON)
                running.pop_all()
                held = stack.pop_all()

                async def end() -> None:
                    await answers.aclose()
                    held.close()

                return LiveResponse(_lines(first, answers), NDJSON, end)
        except LeftError:
            return Response(status_code=400)


def _wants_lines(accept: str) -> bool:
    """Whether NDJSON is wanted; JSON is the default. Raises ProblemError (406) where neither will do."""
    kinds = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    if NDJSON in kinds:
        return True
    if not {"", "*/*", "application/*", JSON}.isdisjoint(kinds):
        return False
    raise ProblemError(406, "not_acceptable", f"The answer is {JSON}, or {NDJSON} as it goes: accept one of them.")


def _check_kind(content_type: str) -> None:
    """Raise ProblemError for a form. curl calls every body "application/x-www-form-urlencoded", so that is none."""
    if content_type.lower().startswith("multipart/"):
        raise ProblemError(
            415, "no_form", "Send the file itself as the body, not a form: curl --data-binary @clip.mp4, not -F."
        )


async def _receive(request: Request, place: Path, most_bytes: int, within_s: float) -> None:
    """Write the body into a file."""
    too_large = ProblemError(
        413, "too_large", f"A clip may have {most_bytes // MEGA} MB (outputs.api.analyze.max_mbytes)."
    )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > most_bytes:
        raise too_large
    size, deadline = 0, time.monotonic() + within_s
    body = request.stream()
    with place.open("wb") as file:
        while True:
            try:
                async with asyncio.timeout(min(SILENT_S, max(0.0, deadline - time.monotonic()))):
                    piece = await anext(body, None)
            except TimeoutError:
                raise ProblemError(408, "too_slow", "The clip did not arrive in time.") from None
            if piece is None:
                break
            size += len(piece)
            if size > most_bytes:
                raise too_large
            file.write(piece)
    if not size:
        raise ProblemError(400, EMPTY, "The body is empty: send a clip, a picture or a sound.")


async def _whole(
    name: str, first: tuple[ClipWorker, Answer], answers: AsyncIterator[tuple[ClipWorker, Answer]]
) -> bytes:
    """The answer as one JSON object."""
    parts: dict[str, list[bytes]] = {"emotion": [], "hop": [], "segment": []}
    worker, note = first[0], None
    async for _, answer in answers:
        if isinstance(answer, Item):
            parts[answer.kind].append(answer.json)
        elif isinstance(answer, End):
            note = answer.note
    encode = msgspec.json.encode
    fields = {
        "name": encode(name),
        "models": encode(worker.models),
        "events": b"[%s]" % b",\n".join(parts["emotion"]),
        "hops": b"[%s]" % b",\n".join(parts["hop"]),
        "segments": b"[%s]" % b",\n".join(parts["segment"]),
        "note": encode(note),
    }
    return b"{%s}\n" % b",\n".join(encode(key) + b":" + value for key, value in fields.items())


async def _lines(
    first: tuple[ClipWorker, Answer], answers: AsyncIterator[tuple[ClipWorker, Answer]]
) -> AsyncIterator[bytes]:
    """The answer as lines: `opened`, events as they come, `end`; or `problem`, where the clip can't be done."""
    worker, opened = first
    assert isinstance(opened, Opened)
    yield msgspec.json.encode(msgspec.to_builtins(opened) | {"models": worker.models}) + b"\n"
    try:
        async for _, answer in answers:
            yield (answer.json if isinstance(answer, Item) else msgspec.json.encode(answer)) + b"\n"
    except ProblemError as error:
        yield msgspec.json.encode(msgspec.to_builtins(error.problem) | {"type": "problem"}) + b"\n"
