"""`bimodal work`: run a worker for another machine's system (docs/security.md, docs/operations.md)."""

from __future__ import annotations

import importlib
import os
import shlex
import time
from typing import Annotated, Literal

import msgspec
import setproctitle
import typer

from bimodal.broker.keys import OWN
from bimodal.broker.messages import Hello
from bimodal.broker.remote_mailbox import RemoteMailbox
from bimodal.broker.sockets import log_in
from bimodal.console import open_log, say, user_errors
from bimodal.options import ConfigOption, config_of
from bimodal.supervisor.processes import ProcessSpec, Wanted, processes
from bimodal.workers.actor import ActorClass, ActorSettings, Stop, live
from bimodal.workers.errors import ConfigError


def work(
    kind: Annotated[Literal["face", "audio"], typer.Argument(help="What to look at: faces, or voices.")],
    at: Annotated[str, typer.Option(help="'network.workers' of the other machine.", metavar="tcp://HOST:PORT")],
    server_key: Annotated[
        str, typer.Option(help="Public key of the other machine ('bimodal keys show' there).", metavar="KEY")
    ],
    config: ConfigOption = None,
    key: Annotated[str, typer.Option(help="Which own key to show it.", metavar="NAME")] = OWN,
) -> None:
    """Do jobs of another machine's bimodal, until Ctrl-C: it sends the pictures, this one sends what they show.

    Models and thresholds are those of the config here; use the same as there. One process; start several for more.

    Example: [b]bimodal work face --at tcp://10.0.0.5:5656 --server-key 'KEY'[/b]
    """
    with user_errors():
        login = log_in(server_key, key)
        loaded = config_of(config)
        log_file = open_log(loaded.log.file, loaded.log.level, f"work-{kind}")
        rows = processes(Wanted(loaded, {kind: 1}), (kind,))
        if not rows:
            raise ConfigError("there is no speech model in the config: nobody would listen")
    with user_errors(log_file):
        settings = _settings(rows[0], kind)
        hello = Hello(role="worker", modality=rows[0].kind.modality)
        mailbox = RemoteMailbox(at, login, settings.name, settings.incarnation, hello)
        mailbox.tell = say
        setproctitle.setproctitle(f"bimodal: {settings.name}")
        stop = Stop(alone=True)
        allow = f"bimodal keys allow {shlex.quote(login.own.public)} --name NAME --work"
        typer.echo(f"{settings.name} works for {at}, where its key must be allowed, by: {allow}")
        code = live(_actor(kind), settings, mailbox, stop)
        if mailbox.failed_reason is not None:
            say(mailbox.failed_reason)
        raise typer.Exit(code)


def _settings(row: ProcessSpec, kind: str) -> ActorSettings:
    return ActorSettings(
        name=f"{kind} {os.getpid()}",
        # No supervisor counts its lives; a later one must be a higher one.
        incarnation=time.time_ns(),
        role="worker",
        modality=row.kind.modality,
        directory="",
        slots="",
        own=msgspec.to_builtins(row.settings),
    )


def _actor(kind: str) -> ActorClass:
    """Import the actor of this kind only, since each brings its own libraries."""
    module = importlib.import_module(f"bimodal.workers.{kind}.actor")
    found: ActorClass = module.FaceActor if kind == "face" else module.AudioActor
    return found
