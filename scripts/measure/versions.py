"""An older checkout beside this one: the CPU of a frame by what it shows (frame_costs.py), in turn, A B A B.

Run: python -m scripts.measure.versions OLD_CHECKOUT [--rounds 5] [--clip FILE] [--precision int8]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("frame_costs.py")


def main(
    old: Annotated[Path, typer.Argument(help="A checkout of the older commit (git worktree add ../old COMMIT).")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 5,
    clip: Annotated[Path | None, typer.Option(help="A clip of one close face; by default the demo.")] = None,
    precision: Annotated[str | None, typer.Option(help="Variant of the models of this checkout: fp32 or int8.")] = None,
) -> None:
    """Print median CPU milliseconds a frame of both checkouts, and their ratio, by case."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for number in range(rounds):
        for side, checkout in enumerate((old, HERE)):
            for name, cost in _costs(checkout.absolute(), clip, precision if side else None).items():
                found.setdefault(name, ([], []))[side].append(cost)
        typer.echo(f"round {number + 1} of {rounds} is over", err=True)
    for line in lines(found):
        typer.echo(line)


def _costs(checkout: Path, clip: Path | None, precision: str | None) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": str(checkout)} | ({"PRECISION": precision} if precision else {})
    given = [sys.executable, str(PROGRAM), *([str(clip.absolute())] if clip is not None else [])]
    done = subprocess.run(given, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    costs: dict[str, float] = json.loads(done.stdout)
    return costs


def lines(found: dict[str, tuple[list[float], list[float]]], head: str = "CPU ms a frame") -> list[str]:
    """The table: by case the medians of old and new, and the median of the ratios of pairs, with the extremes."""
    wide = max(40, *map(len, found))
    rows = [f"{head:{wide}} {'old':>8} {'new':>8} {'new / old':>10}"]
    for name, (before, after) in found.items():
        ratios = [new / old if old else float("nan") for old, new in zip(before, after, strict=True)]
        middle = statistics.median(ratios)
        rows.append(
            f"{name:{wide}} {statistics.median(before):8.2f} {statistics.median(after):8.2f} {middle:9.2f} × "
            f"({min(ratios):.2f} – {max(ratios):.2f})"
        )
    return rows


if __name__ == "__main__":
    typer.run(main)
