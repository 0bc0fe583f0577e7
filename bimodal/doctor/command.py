"""The command `bimodal doctor`: check this machine, and advise."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from bimodal.config import Config
from bimodal.console import put_json, rich_text, user_errors
from bimodal.doctor.checks import Finding, run_checks
from bimodal.doctor.sizing import SHARE_OF_BARE, Measured, arrangements, choose, config_lines, measure, serves, streams
from bimodal.models.cuda import usable_gpus
from bimodal.options import ConfigOption, config_of
from bimodal.supervisor.processes import Wanted, processes
from bimodal.supervisor.usage import cores, machine_memory_mb
from bimodal.workers.actor import REFUSED
from bimodal.workers.settings import FaceActorSettings

MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]![/]", "wrong": "[red]wrong[/]"}


def doctor(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    size: Annotated[bool, typer.Option("--size", help="Measure how many workers and threads suit it.")] = False,
    seconds: Annotated[float, typer.Option(help="With --size: for how long each is measured.", min=0.1, max=60)] = 1.5,
) -> None:
    """Check libraries, the execution provider that is really active, camera, microphone, shared memory and models.

    The exit code is 1 if something is wrong; a warning (no camera, for example) does not count. With --size it measures
    the configured face models with more and more workers and threads instead, and proposes the best; nothing else
    should run meanwhile.

    Example: [b]bimodal doctor --config config.yaml[/b]
    """
    with user_errors():
        if size:
            show_size(config_of(config), seconds, as_json=as_json)
            return
        findings = run_checks(config_of(config))
        if as_json:
            put_json(findings)
        else:
            _draw(findings)
        if any(finding.verdict == "wrong" for finding in findings):
            raise typer.Exit(REFUSED)


def _draw(findings: list[Finding]) -> None:
    table = Table("check", "", "found", Column("what to do", overflow="fold"), box=None, pad_edge=False)
    for finding in findings:
        table.add_row(finding.check, MARKS[finding.verdict], rich_text(finding.found), rich_text(finding.advice or ""))
    Console().print(table)


# `bimodal doctor --size`: measure arrangements of workers and threads, draw the curve, propose one.


BAR = 30


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """The output of `--size --json`: measurements, the proposal, and the number of 30-fps streams it serves."""

    measured: tuple[Measured, ...]
    proposed: Measured
    streams: int
    config: str


def show_size(config: Config, seconds: float, *, as_json: bool) -> None:
    """Measure each arrangement for `seconds` and print. Raises SystemFailedError, CatalogError or ConfigError."""
    settings = processes(Wanted(config, {"face": 1}), ("face",))[0].settings
    assert isinstance(settings, FaceActorSettings)
    wanted = arrangements(cores(), usable_gpus(config.runtime.provider))
    places = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else ()
    measured = []
    console = Console(stderr=True)
    for arrangement in wanted:
        with console.status(f"{arrangement.workers} workers × {arrangement.threads} threads"):
            measured.append(measure(settings, arrangement, places, seconds))
    chosen = choose(measured, machine_memory_mb())
    sizing = Sizing(
        measured=tuple(measured), proposed=chosen, streams=streams(chosen.frames_s), config=config_lines(chosen)
    )
    if as_json:
        put_json(sizing)
    else:
        _draw_sizes(sizing)


def _draw_sizes(sizing: Sizing) -> None:
    table = Table("workers × threads", "frames/s", "ms a frame", "memory", "", box=None, pad_edge=False)
    most = max(one.frames_s for one in sizing.measured)
    for one in sizing.measured:
        name = f"{one.workers} × {one.threads}"
        if one == sizing.proposed:
            name = f"[b]{name}  ←[/b]"
        bar = "█" * round(BAR * one.frames_s / most)
        table.add_row(name, f"{one.frames_s:.1f}", f"{one.frame_ms:.1f}", f"{one.memory_mb:.0f} MiB", bar)
    console = Console()
    console.print(table)
    console.print(
        f"\nThese are bare models on a frame with one face; the whole system does {SHARE_OF_BARE:.0%} of it or more.\n"
        f"{sizing.proposed.workers} × {sizing.proposed.threads} {serves(sizing.proposed.frames_s)}. In config.yaml:\n",
        highlight=False,
    )
    console.print(escape(sizing.config), highlight=False)
