"""`bimodal models`: list, show and verify what is in the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from models.catalog import Entry, entries, find, path_of, pin, resolve, verify
from models.errors import ModelError
from models.session import Artifact, open_artifact

app = typer.Typer(no_args_is_help=True, add_completion=False, help="List, show and verify models.")

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Every model of the catalog, and whether its file is there."""
    with _one_sentence():
        rows = [
            {**msgspec.to_builtins(entry), "path": str(path_of(entry)), "present": path_of(entry).is_file()}
            for entry in entries()
        ]
    if as_json:
        _print_json(rows)
        return
    table = Table("name", "kind", "there", "licence", "source")
    for row in rows:
        table.add_row(row["name"], row["kind"], "yes" if row["present"] else "no", row["license"], row["source"])
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of the catalog, or an .onnx file.")], as_json: AsJson = False
) -> None:
    """What one model says of itself: inputs, outputs and metadata."""
    with _one_sentence():
        artifact = open_artifact(resolve(name), provider="cpu")
    facts = _facts(artifact)
    if as_json:
        _print_json(facts)
        return
    table = Table(show_header=False)
    for key, value in facts.items():
        table.add_row(key, value if isinstance(value, str) else msgspec.json.encode(value).decode())
    Console().print(table)


@app.command("verify")
def verify_models(
    name: Annotated[str | None, typer.Argument(help="A name of the catalog; every model where left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Checksum, contract and a first run of one model or of all. Exit status 1 where one fails."""
    with _one_sentence():
        chosen = entries() if name is None else [find(name)]
    verdicts = {entry.name: _verdict(entry) for entry in chosen}
    if as_json:
        _print_json([{"name": key, "ok": wrong is None, "because": wrong} for key, wrong in verdicts.items()])
    else:
        for key, wrong in verdicts.items():
            typer.echo(f"{key}: ok" if wrong is None else wrong, err=wrong is not None)
    if any(wrong is not None for wrong in verdicts.values()):
        raise typer.Exit(1)


@app.command("pin")
def pin_models() -> None:
    """Write the checksums of the files that are there into the catalog, after a model was made again."""
    with _one_sentence():
        changed = pin()
    typer.echo(f"pinned: {', '.join(changed)}" if changed else "nothing had changed")


def _verdict(entry: Entry) -> str | None:
    """None, or the sentence that says what is wrong."""
    try:
        verify(entry)
    except ModelError as error:
        return str(error)
    return None


def _facts(artifact: Artifact) -> dict[str, object]:
    metadata: dict[str, object] = msgspec.to_builtins(artifact.metadata)
    tensors = {
        "path": str(Path(artifact.path).resolve()),
        "inputs": [msgspec.to_builtins(tensor) for tensor in artifact.inputs],
        "outputs": [msgspec.to_builtins(tensor) for tensor in artifact.outputs],
    }
    return {key: value for key, value in {**metadata, **tensors}.items() if value is not None}


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Errors as one sentence and exit status 1."""
    try:
        yield
    except ModelError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
