"""`bimodal serve`: analyses of clips over HTTP, without a running system (docs/http-api.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bimodal.commands.up import StopSignal
from bimodal.config import Config
from bimodal.config.reading import Document, origin_of
from bimodal.console import open_log, put, say, user_errors
from bimodal.options import ConfigOption, documents_of
from bimodal.workers.errors import ConfigError, SystemFailedError
from bimodal.workers.http_api.actor import SECTION, WHAT
from bimodal.workers.http_api.analyses import Analyses
from bimodal.workers.http_api.app import MOST_MESSAGE_BYTES, Api, application
from bimodal.workers.http_api.problems import ProblemError
from bimodal.workers.http_api.settings import ApiSettings
from bimodal.workers.http_api.system import ANALYSED
from bimodal.workers.http_server import HttpServer
from bimodal.workers.view.listening import address_of, listen

TURN_S = 0.2
LOADED_WITHIN_S = 180.0


def serve(
    config: ConfigOption = None,
    host: Annotated[str | None, typer.Option(help="Where to listen; beyond this machine only with a token.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port, or the next free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Clips at a time, a process each.")] = None,
    queue: Annotated[int | None, typer.Option(min=0, max=1024, help="Clips that may wait; more get 429.")] = None,
) -> None:
    """Analyse clips, pictures and sounds that programs send over HTTP, until Ctrl-C.

    Limits, tokens and certificates are those of `outputs.api` in the config; its first line says which config that is.
    A running system serves the same, and its live streams, with `outputs.api: true`.

    Example: [b]bimodal serve[/b], then [b]curl --data-binary @clip.mp4 http://127.0.0.1:8485/v1/analyze[/b]
    """
    with user_errors():
        loaded, documents, files = documents_of(config)
        settings = settings_of(loaded, host, port, workers, queue)
        say(source_of(settings, documents, files))
        log_file = open_log(loaded.log.file, loaded.log.level, "serve")
    with user_errors(log_file):
        stop = StopSignal()
        server, api, address = start(loaded, settings, log_file)
        try:
            put(f"HTTP API at {address}, its description at {address}v1/openapi.json, log in {log_file}")
            while not stop.asked and server.alive:
                server.wait(TURN_S)
            if not stop.asked:
                raise SystemFailedError("the HTTP server has ended; the log has the details")
        finally:
            say("stopping")
            server.stop()
            api.close()


def source_of(settings: ApiSettings, documents: Sequence[Document], files: Sequence[Path]) -> str:
    """Say which config is in force, and where the tokens are from that it asks for."""
    what = f"config {' and '.join(map(str, files))}" if files else "no config file, so the built-in defaults"
    names = [name for name in ("token", "control_token") if getattr(settings, name) is not None]
    found = [f"{name} ({origin_of(documents, (*SECTION.split('.'), name)) or what})" for name in names]
    if settings.token is None:
        return f"{what}; requests need no token"
    return f"{what}; requests need the {' or the '.join(found)}"


def settings_of(
    config: Config, host: str | None, port: int | None, workers: int | None, queue: int | None
) -> ApiSettings:
    """The section `outputs.api` with the options over it. Raises ConfigError."""
    section = config.outputs.api
    limits = {"workers": workers, "queue": queue}
    analyze = msgspec.structs.replace(
        section.analyze, **{name: value for name, value in limits.items() if value is not None}
    )
    places = {"host": host, "port": port}
    fields = msgspec.structs.asdict(section) | {name: value for name, value in places.items() if value is not None}
    try:
        return ApiSettings(**fields | {"enabled": True, "analyze": analyze})
    except ValueError as error:
        raise ConfigError(f"outputs.api: {error}") from error


def start(config: Config, settings: ApiSettings, log_file: Path | None) -> tuple[HttpServer, Api, str]:
    """Load the models of one worker, then serve. Gives the server, what it serves, and its address.

    Raises ViewError where it can't listen, SystemFailedError where the models can't be used.
    """
    values = {section: msgspec.to_builtins(getattr(config, section)) for section in ANALYSED}

    async def config_values() -> dict[str, object]:
        return values

    async def ready() -> list[str]:
        return []

    bound = listen(settings, what=WHAT, section=SECTION)
    analyses = Analyses(settings.analyze, config_values, str(log_file) if log_file is not None else None)
    api = Api(settings, analyses, None, ready)
    server = HttpServer(
        application(api),
        bound,
        certificate=settings.tls_certificate,
        key=settings.tls_key,
        on_end=api.close,
        on_stop=api.feed.close,
        most_message_bytes=MOST_MESSAGE_BYTES,
    )
    server.start()
    try:
        asyncio.run_coroutine_threadsafe(analyses.warm(), server.loop).result(LOADED_WITHIN_S)
    except (ProblemError, TimeoutError) as error:
        server.stop()
        api.close()
        raise SystemFailedError(str(error) or "the models were not loaded in time; the log has the details") from error
    return server, api, address_of(settings, bound)
