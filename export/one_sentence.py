"""Errors at the command line: one sentence and exit code 1, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from bimodal.errors import BimodalError


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns this room's and the library's errors, and a missing package, into a sentence on stderr."""
    try:
        yield
    except BimodalError as error:
        typer.echo(f"bimodal: {error}", err=True)
        raise typer.Exit(1) from error
    except ModuleNotFoundError as error:
        typer.echo(f"bimodal: this needs the package '{error.name}': pip install 'bimodal-emotion[convert]'", err=True)
        raise typer.Exit(1) from error
