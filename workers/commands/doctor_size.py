"""`bimodal doctor --size`: measure arrangements of workers and threads, draw the curve, propose one."""

from __future__ import annotations

import os

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bimodal.config import Config
from bimodal.models.cuda_libraries import usable_gpus
from bimodal.supervisor.processes import face_workers
from bimodal.supervisor.usage import cores, machine_memory_mb
from bimodal.workers.settings import FaceActorSettings
from bimodal.workers.sizing.choice import SHARE_OF_BARE, Measured, arrangements, choose, config_lines, serves, streams
from bimodal.workers.sizing.measure import measure

BAR = 30


class Sizing(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints: what was measured, what is proposed, and how many 30-fps streams that serves."""

    measured: tuple[Measured, ...]
    proposed: Measured
    streams: int
    config: str


def show_size(config: Config, seconds: float, *, as_json: bool) -> None:
    """Measure for some seconds each, and print. Raises SystemFailedError, CatalogError or ConfigError."""
    settings = face_workers(config, 1)[0].settings
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
        typer.echo(msgspec.json.encode(sizing).decode())
    else:
        _draw(sizing)


def _draw(sizing: Sizing) -> None:
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
