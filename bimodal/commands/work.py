"""`bimodal work`: run a worker for another machine's system (docs/security.md, docs/operations.md)."""

from __future__ import annotations

import importlib
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import setproctitle
import typer
from platformdirs import user_cache_path

from bimodal.broker.keys import OWN
from bimodal.broker.messages import Hello, Instruct
from bimodal.broker.model_files import ModelReceiver
from bimodal.broker.remote_mailbox import RemoteMailbox
from bimodal.broker.sockets import log_in
from bimodal.console import open_log, say, user_errors
from bimodal.models.catalog import entries, path_of, sha256_of
from bimodal.options import ConfigOption, config_of
from bimodal.supervisor.processes import ProcessSpec, Wanted, processes
from bimodal.workers.actor import REFUSED, RELOAD, ActorClass, ActorSettings, Stop, live
from bimodal.workers.errors import ConfigError


def work(
    kind: Annotated[Literal["face", "audio"], typer.Argument(help="What to look at: faces, or voices.")],
    at: Annotated[str, typer.Option(help="'network.workers' of the other machine.", metavar="tcp://HOST:PORT")],
    server_key: Annotated[
        str, typer.Option(help="Public key of the other machine ('bimodal keys show' there).", metavar="KEY")
    ],
    config: ConfigOption = None,
    key: Annotated[str, typer.Option(help="Which own key to show it.", metavar="NAME")] = OWN,
    own_models: Annotated[
        bool,
        typer.Option(
            "--own-models", help="Work with the models and thresholds of the config here only, or not at all."
        ),
    ] = False,
) -> None:
    """Do jobs of another machine's bimodal, until Ctrl-C: it sends the pictures, this one sends what they show.

    Models and thresholds are those of the other machine: where the config here has others, they are sent by their
    sha256, checked, kept, and loaded; also when they are changed there later. 'runtime' is that of the config here. One
    process; start several for more.

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
        setproctitle.setproctitle(f"bimodal: {settings.name}")
        stop = Stop(alone=True)
        allow = f"bimodal keys allow {shlex.quote(login.own.public)} --name NAME --work"
        typer.echo(f"{settings.name} works for {at}, where its key must be allowed, by: {allow}")

        def connect(settings: ActorSettings, refused: Instruct | None) -> RemoteMailbox:
            receiver = None if own_models else ModelReceiver(received_models(), in_catalog, refused)
            mailbox = RemoteMailbox(at, login, settings.name, settings.incarnation, hello, receiver)
            mailbox.tell = say
            return mailbox

        raise typer.Exit(_work(kind, settings, connect, stop))


def _work(
    kind: str, settings: ActorSettings, connect: Callable[[ActorSettings, Instruct | None], RemoteMailbox], stop: Stop
) -> int:
    """Work, each time anew with the models that the other machine has sent. Returns the exit code."""
    given: Instruct | None = None
    refused: Instruct | None = None
    before = settings
    while True:
        mailbox = connect(settings, refused)
        code = live(_actor(kind), settings, mailbox, stop)
        if code == RELOAD and mailbox.receiver is not None and mailbox.receiver.settings is not None:
            given, before = mailbox.receiver.instruct, settings
            own = {**mailbox.receiver.settings, "runtime": settings.own["runtime"]}
            say("the other machine has sent its models: working with them from now on")
            settings = msgspec.structs.replace(settings, own=own, incarnation=time.time_ns())
            continue
        if mailbox.failed_reason is not None:
            say(mailbox.failed_reason)
            if code == REFUSED and given is not None and given is not refused:
                # They can't be used here (no memory, another version): wait with those of before for others.
                refused, settings = given, msgspec.structs.replace(before, incarnation=time.time_ns())
                continue
        return code


def received_models() -> Path:
    """The folder of models that other machines have sent: $XDG_CACHE_HOME/bimodal/received."""
    return user_cache_path("bimodal") / "received"


def in_catalog(sha256: str) -> Path | None:
    """The file of this checksum among those that come with bimodal."""
    for entry in entries():
        path = path_of(entry)
        if entry.sha256 == sha256 and path.is_file() and sha256_of(path) == sha256:
            return path
    return None


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
