"""How the commands of this room speak: one sentence for what went wrong, a bar for what takes long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from bimodal.errors import BimodalError


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """Turn errors of ours into one sentence and exit code 1, and Ctrl-C into exit code 130."""
    try:
        yield
    except BimodalError as error:
        typer.echo(f"bimodal: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        typer.echo("stopped; the same command goes on where this one was", err=True)
        raise typer.Exit(130) from error
