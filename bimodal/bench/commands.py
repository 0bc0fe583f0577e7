"""The command `bimodal bench`: measure this machine's limit, and how near the pipeline comes to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bimodal.bench.figures import BenchError
from bimodal.bench.machine import this_machine
from bimodal.bench.plan import PARTS, Part, Plan, chosen, moved
from bimodal.bench.show import Found, draw, measure, write_picture
from bimodal.console import open_log, say, user_errors
from bimodal.extras import require
from bimodal.options import ConfigOption, config_of
from bimodal.supervisor.usage import cores
from bimodal.workers.actor import REFUSED
from bimodal.workers.errors import ConfigError

FLOOR_BROKEN = 3
WIDE = 160
QUICK_REPEATS, QUICK_SECONDS = 1, 1.5


def bench(
    parts: Annotated[
        list[str] | None, typer.Argument(help="The parts to measure; by default all of them.", metavar="[PART…]")
    ] = None,
    config: ConfigOption = None,
    json: Annotated[Path | None, typer.Option(help="Write all that was found to this file.", metavar="FILE")] = None,
    png: Annotated[Path | None, typer.Option(help="Draw all that was found into this file.", metavar="FILE")] = None,
    repeats: Annotated[int, typer.Option(min=1, max=100, help="How often each figure is measured.", metavar="N")] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.2, max=600, help="How long one measurement lasts, about.", metavar="S")
    ] = 6.0,
    quick: Annotated[bool, typer.Option("--quick", help="One short repeat of each: does it run at all?")] = False,
    torch: Annotated[bool, typer.Option("--torch", hidden=True)] = False,
    resnet: Annotated[bool, typer.Option("--resnet", hidden=True)] = False,
    mediapipe: Annotated[str | None, typer.Option(hidden=True)] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 3 where a floor does not hold.")] = False,
) -> None:
    """Measure what this machine can do at most, and how much of it the pipeline reaches. Every figure is compared with
    one of the same run; 'wanted' is what it must reach (docs/performance.md). On a machine that is busy with something
    else the figures mean nothing.

    If a part can't be measured, the others are, and the exit code is 1.

    Example: [b]bimodal bench limit pipeline --json found.json --png found.png[/b]
    """
    with user_errors():
        for name, given in (("torch", torch), ("resnet", resnet), ("mediapipe", mediapipe is not None)):
            if given:
                raise BenchError(moved(name))
    measure_parts(
        PARTS,
        parts or [],
        config=config,
        json=json,
        png=png,
        repeats=QUICK_REPEATS if quick else repeats,
        seconds=QUICK_SECONDS if quick else seconds,
        check=check,
    )


def measure_parts(
    table: Mapping[str, Part],
    names: list[str],
    *,
    config: list[Path] | None,
    json: Path | None,
    png: Path | None,
    repeats: int,
    seconds: float,
    check: bool,
) -> None:
    """Measure the named parts of a table, all of them if none is named; print and write the results.

    Raises typer.Exit: 1 if a part can't be measured or a file can't be written, 3 if `check` is set and a figure is
    below its floor.
    """
    with user_errors():
        loaded = config_of(config)
        wanted = {name: table[name] for name in chosen(names, table)}
        log_file = open_log(loaded.log.file, loaded.log.level, "bench")
        for file in (json, png):
            _check_place(file)
        if png is not None:
            require("bench --png", "bench", "matplotlib")
    with user_errors(log_file):
        machine = this_machine(loaded, cores())
        with tempfile.TemporaryDirectory(prefix="bimodal-bench-") as folder, _progress_lines() as progress:
            plan = Plan(
                config=loaded,
                folder=Path(folder),
                log=log_file,
                cores=cores(),
                repeats=repeats,
                seconds=seconds,
                progress=progress,
            )
            found = measure(plan, wanted, machine, datetime.now().astimezone().isoformat(timespec="seconds"))
        # A file or pipe has no width to fit.
        console = Console()
        draw(found, console if console.is_terminal else Console(width=WIDE), table)
        _keep(found, json, png)
        for sentence in found.failed.values():
            say(sentence)
        if found.failed:
            raise typer.Exit(REFUSED)
        if check and found.broken_floors:
            raise typer.Exit(FLOOR_BROKEN)


@contextmanager
def _progress_lines() -> Iterator[Callable[[str], None]]:
    """A callback that shows progress lines on stderr: the newest at a terminal, all of them in a file."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield say
        return
    with console.status("beginning") as status:
        yield status.update


def _check_place(file: Path | None) -> None:
    """Check, before half an hour of measuring, that a file can be written. Raises ConfigError."""
    if file is None:
        return
    folder = file.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{file} can't be written: there is no folder {folder}")
    if file.is_dir():
        raise ConfigError(f"{file} can't be written: it is a folder; name a file in it")
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise ConfigError(f"{file} can't be written: you have no right to; name another place")


def _keep(found: Found, json: Path | None, png: Path | None) -> None:
    if json is not None:
        try:
            json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
        except OSError as error:
            raise BenchError(f"{json} can't be written: {error.strerror}") from error
    if png is not None and found.outcomes:
        write_picture(found, png)
