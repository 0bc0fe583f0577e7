"""`bimodal keys`: what this machine proves itself with, and who else may come in (docs/security.md)."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from bimodal.broker import keys
from bimodal.workers.commands.tls import tls
from bimodal.workers.edge import edge

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="Make the keys of this machine, and say who may connect from others.",
)
KeyName = Annotated[str, typer.Option(help="Name of the key, where this machine has several.")]


@app.command()
def create(name: KeyName = keys.OWN) -> None:
    """Make a key pair for this machine; the secret half never leaves it.

    Example: [b]bimodal keys create[/b]
    """
    with edge():
        folder = keys.keys_folder()
        public = keys.create(folder, name)
        typer.echo(f"made the key '{name}' in {folder}; its public half, to be given to others:")
        typer.echo(shlex.quote(public))


@app.command()
def show(name: KeyName = keys.OWN) -> None:
    """Print this machine's public key: give it to the other side. It is no secret.

    Example: [b]bimodal keys show[/b]
    """
    with edge():
        typer.echo(shlex.quote(keys.own(keys.keys_folder(), name).public))


@app.command()
def allow(
    public_key: Annotated[str, typer.Argument(help="What 'bimodal keys show' prints on the other machine, in quotes.")],
    name: Annotated[str, typer.Option(help="What to call the other machine: laptop, robot …")],
    work: Annotated[
        bool, typer.Option("--work", help="It may run workers, and so is sent the pictures; else it may read events.")
    ] = False,
) -> None:
    """Let the holder of a public key connect; counts at once, also while bimodal runs.

    Example: [b]bimodal keys allow 'PUBLIC KEY' --name laptop[/b]
    """
    with edge():
        keys.allow(keys.keys_folder(), public_key, name, "workers" if work else "events")
        typer.echo(f"'{name}' may {'run workers' if work else 'read events'}")


@app.command("list")
def list_() -> None:
    """List this machine's keys and who may connect.

    Example: [b]bimodal keys list[/b]
    """
    with edge():
        folder = keys.keys_folder()
        for name in keys.own_names(folder):
            typer.echo(f"own      {name}  {keys.own(folder, name).public}")
        for room in keys.ROOMS:
            for public, name in keys.allowed(folder, room).items():
                typer.echo(f"{room:8} {name}  {public}")


@app.command()
def remove(name: Annotated[str, typer.Argument(help="The name that the key was allowed under.")]) -> None:
    """Let a machine connect no longer; one that is connected is cut off within a second or two.

    Example: [b]bimodal keys remove laptop[/b]
    """
    with edge():
        keys.remove(keys.keys_folder(), name)
        typer.echo(f"'{name}' may not connect any more")


app.command()(tls)
