"""`bimodal doctor`: check this machine, and say what to do."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from bimodal.workers.actor import REFUSED
from bimodal.workers.checkup import check_up
from bimodal.workers.commands.options import ConfigOption, config_of
from bimodal.workers.edge import edge
from bimodal.workers.finding import Finding

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]![/]", "wrong": "[red]wrong[/]"}


def doctor(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    size: Annotated[bool, typer.Option("--size", help="Measure how many workers and threads suit it.")] = False,
    seconds: Annotated[float, typer.Option(help="With --size: for how long each is measured.", min=0.1, max=60)] = 1.5,
) -> None:
    """Check libraries, the execution provider that is really active, camera, microphone, shared memory and models.

    Exit code 1 where something is wrong; a warning (no camera, say) is none. With --size it measures the configured
    face models with more and more workers and threads instead, and proposes the best; nothing else should run then.

    Example: [b]bimodal doctor --config config.yaml[/b]
    """
    with edge():
        if size:
            from bimodal.workers.commands.doctor_size import show_size

            show_size(config_of(config), seconds, as_json=as_json)
            return
        findings = check_up(config_of(config))
        if as_json:
            typer.echo(msgspec.json.encode(findings).decode())
        else:
            _draw(findings)
        if any(finding.verdict == "wrong" for finding in findings):
            raise typer.Exit(REFUSED)


def _draw(findings: list[Finding]) -> None:
    table = Table("check", "", "found", Column("what to do", overflow="fold"), box=None, pad_edge=False)
    for finding in findings:
        table.add_row(finding.check, MARKS[finding.verdict], escape(finding.found), escape(finding.advice or ""))
    Console().print(table)
