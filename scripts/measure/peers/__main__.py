"""Our faces beside those of other programs, on the same pictures in one run.

python -m scripts.measure.peers --envs ~/peers --make                       # installs the others, once
python -m scripts.measure.peers accuracy --envs ~/peers --data ../shared/data --models ../shared/models
python -m scripts.measure.peers speed --envs ~/peers --clip talk.mp4 --models ../shared/models
"""

from __future__ import annotations

import contextlib
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from bimodal.bench.figures import BenchError
from bimodal.console import say, user_errors
from bimodal.workers.demo import DEMO
from scripts.measure.peers import environments
from scripts.measure.peers.compare import (
    PeerLoop,
    Score,
    Shown,
    Speed,
    each,
    filled,
    score,
    score_table,
    speed_table,
    speeds,
    start,
)
from scripts.measure.peers.environments import PEERS, WITHOUT_WEIGHTS
from scripts.measure.peers.pictures import Index, frames_of, labelled_sets, write

MOST_FRAMES = 120
SOME_FAILED = 1


class Part(StrEnum):
    """What is measured."""

    ACCURACY = "accuracy"
    SPEED = "speed"


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The results of a run, as --json writes them."""

    scores: tuple[Score, ...]
    speeds: tuple[Speed, ...]
    programs: dict[str, tuple[str, ...]]
    failed: tuple[str, ...]


def main(
    parts: Annotated[list[Part] | None, typer.Argument(help="accuracy, speed; by default none.")] = None,
    envs: Annotated[Path, typer.Option(help="Folder of the environments, elsewhere.")] = Path("peers"),
    make: Annotated[bool, typer.Option("--make", help="Install what is missing first (some GB).")] = False,
    only: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(PEERS)}. May be repeated.")] = None,
    data: Annotated[Path, typer.Option(help="Folder with fer2013/ and press_faces/.")] = Path("../shared/data"),
    models: Annotated[Path, typer.Option(help="Folder with face_landmarker.task.")] = Path("../shared/models"),
    clip: Annotated[Path, typer.Option(help="The clip for the speed; by default the demo clip.")] = DEMO,
    limit: Annotated[int | None, typer.Option(min=1, help="So many pictures of each set, spread evenly.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each program, in turn.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long one run lasts.")] = 5.0,
    log: Annotated[Path | None, typer.Option(help="File for what the programs print.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write all that was found to this file.")] = None,
) -> None:
    """Measure the programs whose environments are below --envs; those that can't run are said, and the others are."""
    with user_errors():
        names = _chosen(only)
        failed: list[str] = []
        if make:
            failed += each(names, lambda name: environments.make(envs, name), say)
        left = [name for name in names if name not in failed]
        scores: list[Score] = []
        found: list[Speed] = []
        with tempfile.TemporaryDirectory(prefix="bimodal-peers-") as place:
            if Part.ACCURACY in (parts or ()):
                for number, labelled in enumerate(labelled_sets(data, limit)):
                    shown = Shown(labelled, Path(place) / f"set-{number}")

                    def ask(name: str, shown: Shown = shown) -> None:
                        say(f"{shown.labelled.name}: {name}")
                        index, missing = shown.to(name)
                        with contextlib.closing(start(name, envs, index, models, log)) as loop:
                            scores.append(score(name, shown.labelled, filled(loop.answers(len(index.sizes)), missing)))

                    failed += each([name for name in left if name not in failed], ask, say)
            if Part.SPEED in (parts or ()):
                index = write(frames_of(clip, MOST_FRAMES), Path(place) / "clip.rgb")
                with contextlib.ExitStack() as stack:
                    begun: dict[str, PeerLoop] = {}
                    ready = [name for name in left if name not in failed and not PEERS[name].cut]

                    def begin(name: str, stack: contextlib.ExitStack = stack, index: Index = index) -> None:
                        begun[name] = stack.enter_context(contextlib.closing(start(name, envs, index, models, log)))

                    failed += each(ready, begin, say)
                    found = speeds(begun, repeats, seconds, say)
        for line in [*(score_table(scores) if scores else ()), *(speed_table(found) if found else ())]:
            typer.echo(line)
        typer.echo(f"Not measured, since no package carries their weights: {', '.join(WITHOUT_WEIGHTS)}.")
        if json is not None:
            packages = {name: PEERS[name].packages for name in names}
            told = Found(scores=tuple(scores), speeds=tuple(found), programs=packages, failed=tuple(failed))
            json.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
        if failed:
            raise typer.Exit(SOME_FAILED)


def _chosen(only: list[str] | None) -> list[str]:
    for name in only or ():
        if name not in PEERS:
            raise BenchError(f"there is no program '{name}'; there are {', '.join(PEERS)}")
    return [name for name in PEERS if name in (only or PEERS)]


if __name__ == "__main__":
    typer.run(main)
