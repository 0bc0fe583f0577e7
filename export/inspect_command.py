"""The command `bimodal models inspect`: what a foreign file is, and the command that adopts it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bimodal.extras import require
from bimodal.models.commands import one_sentence, shown


def inspect(
    file: Annotated[Path, typer.Argument(help="A model file of any format, or a folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Look into a model file of others: inputs, outputs, classes, what it is, and the command that adopts it.

    Example: [b]bimodal models inspect theirs.onnx[/b]
    """
    with one_sentence():
        require("models inspect", "convert", "onnx", "h5py")
        from bimodal.export.inspect import inspect as look

        facts = look(file)
    table = {key: value for key, value in msgspec.to_builtins(facts).items() if value not in (None, (), "", [])}
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(table), indent=2).decode())
        return
    grid = Table(show_header=False, box=None, pad_edge=False)
    for key, value in table.items():
        if key != "command":
            words = "\n".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            grid.add_row(key, Text(shown(words)))
    console = Console(highlight=False)
    console.print(grid, width=None if console.is_terminal else 200)
    if facts.command:
        typer.echo(f"adopt it with:\n  {shown(facts.command)}")
