"""`bimodal data …`: what data sets there are, and making them ready to train on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bimodal.training.told import one_sentence_errors

app = typer.Typer(help="Make data sets ready to train on.", no_args_is_help=True)


class Split(StrEnum):
    """How a data set is divided."""

    AUTO = "auto"
    OFFICIAL = "official"
    SPEAKER = "speaker"
    RANDOM = "random"


@app.command("list")
def list_datasets() -> None:
    """Every data set that can be read: its name, what it must look like, and its licence.

    Example: bimodal data list
    """
    with one_sentence_errors():
        from bimodal.training.datasets.readers import READERS

        width = max(len(reader.name) for reader in READERS)
        for reader in READERS:
            typer.echo(f"{reader.name:<{width}}  {'/'.join(reader.media):<21}  {reader.needs} ({reader.licence})")


@app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="A name of `bimodal data list`.")],
    source: Annotated[Path, typer.Argument(help="The folder of the data set as published.", metavar="SRC")],
    target: Annotated[Path, typer.Argument(help="The folder to make.", metavar="DST")],
    split: Annotated[
        Split,
        typer.Option(help="auto: the data set's own parts, else by speaker. random is never chosen by itself."),
    ] = Split.AUTO,
    seed: Annotated[int, typer.Option(help="Of the division.")] = 0,
    interval: Annotated[float, typer.Option(help="Seconds between two faces of a video.", min=0.02, max=10)] = 0.2,
    model: Annotated[str, typer.Option(help="The face-static model whose crop the faces of videos get.")] = (
        "face-compact"
    ),
) -> None:
    """Write DST/manifest.csv with pictures and sounds. Killed in the middle, the same command goes on.

    Example: bimodal data prepare ravdess-video RAVDESS prepared
    """
    with one_sentence_errors():
        from tqdm import tqdm

        from bimodal.models.catalog import resolve
        from bimodal.models.session import open_artifact
        from bimodal.training.datasets.items import divided, summary
        from bimodal.training.datasets.prepare import PROBLEMS
        from bimodal.training.datasets.prepare import prepare as make
        from bimodal.training.datasets.readers import missing_from, reader_named

        reader = reader_named(name)
        found = reader.read(source)
        missing = missing_from(reader, found)
        if missing:
            typer.echo(f"incomplete: {missing}", err=True)
        if split is Split.RANDOM:
            typer.echo(
                "warning: a random split puts the same people on both sides; its figures are too good, and no figures "
                "to report",
                err=True,
            )
        items = divided(found, split.value, seed)
        with tqdm(total=len(items), desc=name, unit="item", disable=None) as bar:
            made = make(
                items,
                source,
                target,
                static=lambda: open_artifact(resolve(model), "face-static", provider="cpu"),
                interval_s=interval,
                done=lambda count: bar.update(count - bar.n),
            )
        typer.echo(f"{target}: {summary(made.items)}")
        if made.problems:
            typer.echo(f"{len(made.problems)} of {len(items)} could not be had whole: {target / PROBLEMS}", err=True)
