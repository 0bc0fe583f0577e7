"""`bimodal status` and `bimodal scale`: the state of a running system, and its number of workers."""

from __future__ import annotations

import time
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from bimodal.broker.control import Accepted, ProcessReport, ScaleRequest, StatusReply, StatusRequest
from bimodal.broker.errors import ControlError
from bimodal.broker.messages import Modality, StreamStatus
from bimodal.console import MIDDLE, NARROW, PIPE_WIDTH, WIDE, Column, Table, drawn, fit, plain, user_errors
from bimodal.options import SessionOption, ask_session
from bimodal.supervisor.autoscale import KINDS

DEGRADED = 3

PROCESS_COLUMNS = (
    Column("process"),
    Column("state"),
    Column("pid", NARROW, number=True),
    Column("restarts", NARROW, number=True),
    Column("up", WIDE, number=True),
    Column("cpu %", number=True),
    Column("memory MiB", number=True),
    Column("models", MIDDLE),
)
STREAM_COLUMNS = (
    Column("stream"),
    Column("modality"),
    Column("offered", NARROW, number=True),
    Column("done", number=True),
    Column("dropped", number=True),
    Column("failed", NARROW, number=True),
    Column("source", MIDDLE),
)


def status(
    session: SessionOption = "default",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the processes of a running system, its streams, and whether the newest config is in force.

    Exit code 0: all is well. 3: it runs, but something in it fails, or an edited config was refused; the output says
    what. 1: no such system runs.

    Example: [b]bimodal status --session lab --json[/b]
    """
    with user_errors():
        reply = ask_session(session, StatusRequest(), StatusReply)
        if as_json:
            typer.echo(msgspec.json.encode(reply).decode())
        else:
            _draw(reply)
        if troubles(reply):
            raise typer.Exit(DEGRADED)


def troubles(reply: StatusReply) -> list[str]:
    """One sentence for each problem."""
    found = [reply.because] if reply.because is not None else []
    reported = {process.name for process in reply.processes if process.state == "failed"} | {"supervisor"}
    found += [
        f"{process.name}: {process.because}"
        for process in reply.processes
        if process.because is not None and process.name not in reported
    ]
    return found


def _draw(reply: StatusReply) -> None:
    console = Console()
    width = console.width if console.is_terminal else PIPE_WIDTH
    _print(console, fit(PROCESS_COLUMNS, [_process_row(process) for process in reply.processes], width))
    if reply.streams:
        rows = [_stream_row(stream, modality) for stream in reply.streams for modality in ("face", "speech")]
        _print(console, fit(STREAM_COLUMNS, rows, width))
    if reply.corpus is not None:
        console.print(Text(f"corpus {reply.corpus}"), soft_wrap=True)
    place = f"config {reply.config}" if reply.config is not None else "built-in config"
    state = "a change is on its way" if reply.changing else "in force" if reply.refused is None else "not taken over"
    console.print(Text(f"session {reply.session}, up {_duration(reply.up_s)}, {place}: {state}"), soft_wrap=True)
    for sentence in _elsewhere(reply):
        console.print(Text(sentence), soft_wrap=True)
    if reply.tried is not None:
        console.print(Text(f"newest change: {reply.tried}"), soft_wrap=True)
    for address in (process.address for process in reply.processes if process.address is not None):
        console.print(Text(f"live page at {address}"), soft_wrap=True)
    for trouble in troubles(reply):
        console.print(Text(f"! {trouble}", style="yellow"), soft_wrap=True)


def _elsewhere(reply: StatusReply) -> list[str]:
    """One line for each kind of worker that runs on other machines only."""
    here = {process.role for process in reply.processes}
    return [
        f"{role}: no worker here, {reply.workers[modality]} on other machines"
        for role, modality in KINDS.items()
        if role not in here and reply.workers.get(modality)
    ]


def _print(console: Console, table: Table) -> None:
    if console.is_terminal:
        console.print(drawn(table, {}, fold=True))
    else:
        typer.echo("\n".join(plain(table)))


def _process_row(process: ProcessReport) -> tuple[str, ...]:
    figures = process.figures
    return (
        process.name,
        process.state,
        str(process.pid or "-"),
        f"{figures.get('restarts', 0):.0f}",
        _duration(figures.get("up_s", 0.0)),
        f"{figures.get('cpu_percent', 0):.0f}",
        f"{figures.get('memory_mb', 0):.0f}",
        ", ".join(process.models.values()),
    )


def _stream_row(stream: StreamStatus, modality: Modality) -> tuple[str, ...]:
    counters = (getattr(stream, what).get(modality, 0) for what in ("offered", "done", "dropped", "failed"))
    return stream.stream, modality, *map(str, counters), stream.source


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


# `bimodal scale`.

DONE_WITHIN_S = 90.0
TURN_S = 0.2


def scale(
    counts: Annotated[
        list[str], typer.Argument(help="Kinds and numbers of workers: face=4 audio=2", metavar="KIND=N…")
    ],
    session: SessionOption = "default",
) -> None:
    """Have another number of face or audio workers in a running system, until config.yaml says another number.

    Returns when they work: new ones load beside the others, those that are too many finish what they hold.

    Example: [b]bimodal scale face=4 audio=2[/b]
    """
    wanted = _parse(counts)
    with user_errors():
        accepted = ask_session(session, ScaleRequest(counts=wanted), Accepted)
        _wait(session)
        typer.echo(accepted.sentence)


def _parse(counts: list[str]) -> dict[str, int]:
    wanted: dict[str, int] = {}
    for count in counts:
        kind, _, number = count.partition("=")
        if not number.isascii() or not number.isdigit() or len(number) > 6:
            raise typer.BadParameter(f"'{count}' is not KIND=NUMBER, such as face=4")
        if kind in wanted:
            raise typer.BadParameter(f"'{kind}' is given twice")
        wanted[kind] = int(number)
    return wanted


def _wait(session: str) -> None:
    """Wait until the change is made; raises ControlError with the reason where it was given up."""
    end = time.monotonic() + DONE_WITHIN_S
    while (status := ask_session(session, StatusRequest(), StatusReply)).changing:
        if time.monotonic() > end:
            raise ControlError(f"it is not done after {DONE_WITHIN_S:g} s; 'bimodal status' says how far it is")
        time.sleep(TURN_S)
    if status.given_up is not None:
        raise ControlError(status.given_up)
