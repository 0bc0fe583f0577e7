"""`bimodal status` and `bimodal scale`: the state of a running system, and its number of workers."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from bimodal.broker.control import Accepted, ScaleRequest, StatusReply, StatusRequest
from bimodal.broker.errors import ControlError
from bimodal.console import user_errors
from bimodal.options import SessionOption, ask_session
from bimodal.status_page import show_status


def status(
    session: Annotated[
        str | None,
        typer.Option(
            help="Name of the running system; by default 'default', else the only one that runs.", metavar="NAME"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show the processes of a running system, its streams, and whether the newest config is in force.

    Runs over corpora ('bimodal analyze study/ …') that are under way are shown too.

    Exit code 0: all is well. 3: it runs, but something in it fails, or an edited config was refused; the output says
    what. 1: no such system runs.

    Example: [b]bimodal status --session lab --json[/b]
    """
    with user_errors():
        code = show_status(session, as_json=as_json)
        if code:
            raise typer.Exit(code)


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
