"""`bimodal models`: list, show, fetch and verify what is in the catalog and in the user's own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
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
from rich.table import Column, Table
from rich.text import Text

from bimodal.errors import BimodalError
from bimodal.models.catalog import (
    Download,
    Entry,
    download_cache,
    downloads,
    entries,
    find_download,
    installed,
    path_of,
    pin,
    resolve,
    user_models,
    verify,
    verify_installed,
)
from bimodal.models.errors import CatalogError, ModelError
from bimodal.models.fetch import Folders, fetch_model
from bimodal.models.precision import choice_here
from bimodal.models.session import Artifact, milliseconds, open_artifact

# bimodal models fetch


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
            folders = Folders(user_models(), download_cache(), mirror)
            path = fetch_model(wanted, folders, report=bar.console.print, progress=bar.show)
    typer.echo(f"installed {path}; use it in config.yaml as '{name}'")


def terms(wanted: Download, mirror: Path | None) -> str:
    """Source, size, licence and checksum of a model, shown before it is fetched."""
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
        """Show that `have` of `total` bytes have arrived."""
        if self._task is None:
            self._task = self._progress.add_task("", total=total)
        self._progress.update(self._task, completed=have, total=total)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn errors of ours into one sentence on stderr and exit code 1."""
    try:
        yield
    except BimodalError as error:
        typer.echo(f"bimodal: {shown(str(error), lines=False)}", err=True)
        raise typer.Exit(1) from error


def shown(text: str, *, lines: bool = True) -> str:
    """Escape whatever steers a terminal or hides text in the words of others: metadata, names of tensors and files.

    Args:
        lines: whether line breaks and tabs are kept.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(
        char if char.isprintable() or char in kept else char.encode("unicode_escape").decode() for char in text
    )


def say(text: str) -> None:
    """Print a line about a model, whose words may be others'."""
    typer.echo(shown(text))


class Wanted(StrEnum):
    """Variant of a model."""

    AUTO = "auto"
    FP32 = "fp32"
    INT8 = "int8"


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="List, show, fetch and verify models.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List every model that ships, can be fetched, or lies in your own folder, and whether its file is there.

    Where they come from stands in [b]--json[/b] and in [b]bimodal models show NAME[/b].

    Example: [b]bimodal models list[/b]
    """
    with one_sentence():
        own = installed()
        rows = [_row(entry, path_of(entry)) for entry in entries()]
        rows += [_row(entry, own.get(entry.name, user_models() / entry.name / "model.onnx")) for entry in downloads()]
        known = {row["name"] for row in rows}
        rows += [_own_row(path) for name, path in own.items() if name not in known]
    if as_json:
        _print_json(rows)
        return
    columns = [
        Column(title, no_wrap=True, min_width=max(len(str(row[title])) for row in rows)) for title in ("name", "kind")
    ]
    table = Table(*columns, Column("there", min_width=5), Column("licence", no_wrap=True), box=None, pad_edge=False)
    for row in rows:
        there = "yes" if row["present"] else "fetch" if "url" in row else "no"
        words = (str(row["name"]), str(row["kind"]), there, str(row["license"] or row["source"]))
        table.add_row(*(Text(shown(word, lines=False)) for word in words))
    console = Console()
    # Lines are not cut off if the output is no terminal.
    console.print(table, width=None if console.is_terminal else 400, soft_wrap=not console.is_terminal)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of the catalog, or an .onnx file.")],
    as_json: AsJson = False,
    precision: Annotated[
        Wanted, typer.Option(help="Of a model that has both, this variant; auto: the one that runs on this machine.")
    ] = Wanted.AUTO,
) -> None:
    """Show what one model says of itself, whether one run takes a batch, and how long a run takes on one thread here.

    Example: [b]bimodal models show face-robust[/b]
    """
    with one_sentence():
        choice = choice_here(precision.value)
        artifact = open_artifact(resolve(name, precision=choice.precision), provider="cpu")
        both = any(entry.name == name and entry.int8 is not None for entry in entries())
    facts = _facts(artifact)
    if both:
        facts["precision"] = f"{choice.precision} ({choice.reason}); there are fp32 and int8"
    if as_json:
        _print_json(facts)
        return
    table = Table(show_header=False)
    for key, value in facts.items():
        words = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        table.add_row(key, Text(shown(words)))
    Console().print(table)


app.command()(fetch)


@app.command("verify")
def verify_models(
    name: Annotated[str | None, typer.Argument(help="A name; every model that is there where left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check one model or all: checksum, contract and a first run. Exit code 1 where one fails.

    Example: [b]bimodal models verify[/b]
    """
    with one_sentence():
        if name is not None and name.endswith(".onnx"):
            raise CatalogError(
                f"models of the catalog are verified, by name; 'bimodal models show {name}' checks a file"
            )
        checks = {entry.name: partial(verify, entry) for entry in entries()}
        checks = {own: partial(verify_installed, own) for own in installed()} | checks
    chosen = checks if name is None else {name: checks.get(name, partial(verify_installed, name))}
    verdicts = {key: _verdict(check) for key, check in chosen.items()}
    if as_json:
        _print_json([{"name": key, "ok": wrong is None, "because": wrong} for key, wrong in verdicts.items()])
    else:
        for key, wrong in verdicts.items():
            typer.echo(f"{key}: ok" if wrong is None else f"bimodal: {wrong}", err=wrong is not None)
    if any(wrong is not None for wrong in verdicts.values()):
        raise typer.Exit(1)


@app.command("pin")
def pin_models() -> None:
    """Write the checksums of the files that are there into the catalog, after a model was made again.

    Example: [b]bimodal models pin[/b]
    """
    with one_sentence():
        changed = pin()
    typer.echo(f"pinned: {', '.join(changed)}" if changed else "nothing had changed")


def _row(entry: Entry | Download, path: Path) -> dict[str, object]:
    facts: dict[str, object] = msgspec.to_builtins(entry)
    return {**facts, "path": str(path), "present": path.is_file()}


def _own_row(path: Path) -> dict[str, object]:
    """The row of a model that the user made; a damaged one is listed, too."""
    row: dict[str, object] = {"name": path.parent.name, "path": str(path), "present": True}
    try:
        metadata = open_artifact(path, provider="cpu").metadata
    except ModelError as error:
        return {**row, "kind": "damaged", "license": "", "source": str(error)}
    return {**row, "kind": metadata.kind, "license": metadata.license, "source": metadata.source}


def _verdict(check: Callable[[], None]) -> str | None:
    """Run a check; return None, or the sentence that says what is wrong."""
    try:
        check()
    except ModelError as error:
        return str(error)
    return None


def _facts(artifact: Artifact) -> dict[str, object]:
    metadata: dict[str, object] = msgspec.to_builtins(artifact.metadata)
    tensors = {
        "path": str(Path(artifact.path).resolve()),
        "inputs": [msgspec.to_builtins(tensor) for tensor in artifact.inputs],
        "outputs": [msgspec.to_builtins(tensor) for tensor in artifact.outputs],
        "batches": artifact.batches,
        "bytes": artifact.path.stat().st_size,
        "milliseconds_a_run": round(milliseconds(artifact), 2),
    }
    return {key: value for key, value in {**metadata, **tensors}.items() if value is not None}


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
