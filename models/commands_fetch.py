"""`bimodal models fetch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bimodal.models.catalog import Download, find_download
from bimodal.models.errors import ModelError
from bimodal.models.fetch import Place, fetch_model
from bimodal.models.folders import download_cache, user_models


def fetch(
    name: Annotated[str, typer.Argument(help="A name of 'bimodal models list'.")],
    mirror: Annotated[
        Path | None, typer.Option("--from", help="A folder with the authors' files, instead of the web.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Download a model of others, check its sha256, convert it, compare it with the original, and install it.

    Shows licence and source first, and asks. Works behind HTTPS_PROXY; a download that broke off goes on where it
    stopped. Converting needs bimodal's extra 'convert'.

    Example: [b]bimodal models fetch emo-affectnet[/b]
    """
    with one_sentence():
        wanted = find_download(name)
        typer.echo(terms(wanted, mirror))
        if not yes:
            typer.confirm("Fetch it?", abort=True)
        with _Bar() as bar:
            place = Place(user_models(), download_cache(), mirror)
            path = fetch_model(wanted, place, say=bar.console.print, progress=bar.show)
    typer.echo(f"installed {path}; use it in config.yaml as '{name}'")


def terms(wanted: Download, mirror: Path | None) -> str:
    """What a user must know before anything is fetched."""
    size = f", {wanted.bytes / 1e6:.1f} MB" if wanted.bytes else ""
    known = wanted.sha256 or "not known yet: this fetch pins it, and every later one must agree"
    return (
        f"{wanted.name} ({wanted.kind}{size})\n  source:  {wanted.source}\n  from:    {mirror or wanted.url}\n"
        f"  licence: {wanted.license}\n  sha256:  {known}"
    )


class _Bar:
    """A progress bar, drawn only on a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True, markup=False)
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        hidden = not self.console.is_terminal
        self._progress = Progress(*columns, console=self.console, transient=True, disable=hidden)
        self._task: TaskID | None = None

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, have: int, total: int | None) -> None:
        """So many bytes are here, of so many."""
        if self._task is None:
            self._task = self._progress.add_task("", total=total)
        self._progress.update(self._task, completed=have, total=total)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Errors as one sentence and exit code 1."""
    try:
        yield
    except ModelError as error:
        typer.echo(f"bimodal: {error}", err=True)
        raise typer.Exit(1) from error
