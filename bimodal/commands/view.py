"""`bimodal view`: one live page and one /metrics over several running systems (docs/scale.md)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer

from bimodal.broker.keys import OWN
from bimodal.broker.sockets import events_endpoint, log_in, slots_directory
from bimodal.console import open_log, say, user_errors
from bimodal.options import ConfigOption, config_of
from bimodal.supervisor.session import directory_of, running_directory
from bimodal.workers.errors import ConfigError
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.several import Place, SeveralSessions


def view(
    at: Annotated[
        list[str],
        typer.Option(
            help="A session of this machine, or [b]NAME=tcp://HOST:PORT[/b] of another ('outputs.events' there); once "
            "for each.",
            metavar="SESSION",
        ),
    ],
    server_key: Annotated[
        list[str] | None,
        typer.Option(help="Public key of a session on another machine.", metavar="NAME=KEY"),
    ] = None,
    config: ConfigOption = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="By default that of 'outputs.view'.")] = None,
    key: Annotated[str, typer.Option(help="Which own key to show other machines.", metavar="NAME")] = OWN,
) -> None:
    """Show several running systems on one live page, with one /metrics, until Ctrl-C.

    Streams and processes have their session's name before their own (lab/desk). Pictures come from sessions of this
    machine; others send events. 'outputs.view' of the config says where the page is served, and its token.

    Example: [b]bimodal view --at lab --at hall[/b]
    """
    with user_errors():
        loaded = config_of(config)
        log_file = open_log(loaded.log.file, loaded.log.level, "view")
        section = msgspec.structs.asdict(loaded.outputs.view)
        if port is not None:
            section["port"] = port
        keys = dict(_pair(given, "--server-key") for given in server_key or ())
        places = [_place(given, keys, key) for given in at]
        names = [place.name for place in places]
        if len(set(names)) < len(names):
            raise ConfigError("two sessions have one name: write NAME=tcp://… with another")
        if unknown := keys.keys() - set(names):
            raise ConfigError(f"--server-key names '{min(unknown)}', and no --at does")
    with user_errors(log_file):
        page = SeveralSessions(places, ViewActorSettings(**section))
        try:
            over = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: over.set())
            typer.echo(f"live page at {page.address}")
            for name in _waited_for(places):
                say(f"no bimodal runs as session '{name}' on this machine; the page shows it once one does")
            while not over.wait(0.5):
                if not page.server.alive:
                    say("the page's server has ended; the log has the details")
                    raise typer.Exit(1)
        finally:
            page.close()


def _waited_for(places: Iterable[Place]) -> list[str]:
    """Names of the sessions of this machine that do not run yet."""
    return [place.name for place in places if place.slots is not None and running_directory(place.name) is None]


def _pair(given: str, option: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals and value):
        raise ConfigError(f"{option} is NAME=…, not '{given}'")
    return name, value.strip("'\"")


def _place(given: str, keys: dict[str, str], key: str) -> Place:
    if "://" not in given:
        return Place(given, events_endpoint(directory_of(given)), slots_directory(given))
    name, endpoint = _pair(given, "--at") if "=" in given.partition("://")[0] else (given.partition("://")[2], given)
    login = log_in(keys[name], key) if name in keys else None
    return Place(name, endpoint, None, login)
