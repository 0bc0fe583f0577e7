"""The whole command line: lists all commands and imports each only when it is used."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bimodal.cli import ABOUT, COMMANDS, EXAMPLE, Room
from bimodal.quick import version


class LazyGroup(TyperGroup):
    """Lists every command with its help line without importing it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """The commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """A placeholder with the command's name and help line, enough to list it."""
        room = COMMANDS.get(cmd_name)
        return None if room is None else _stand_in(cmd_name, room)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that is about to run."""
        room = COMMANDS.get(args[0]) if args else None
        if room is None:
            return super().resolve_command(ctx, args)
        return args[0], _load(args[0], room), args[1:]


def _stand_in(name: str, room: Room) -> Any:
    app = typer.Typer(add_completion=False)
    app.command(name=name, help=room.help)(lambda: None)
    return typer.main.get_command(app)


def _load(name: str, room: Room) -> Any:
    found = getattr(importlib.import_module(f"bimodal.{room.module}"), room.attribute)
    if name == "models" and not any(command.name == "inspect" for command in found.registered_commands):
        # Models know nothing of foreign formats; the room that does adds its command here.
        found.command("inspect")(importlib.import_module("bimodal.export.inspect_command").inspect)
    if isinstance(found, typer.Typer):
        found._add_completion = False
        return typer.main.get_command(found)
    app = typer.Typer(add_completion=False, rich_markup_mode="rich")
    app.command(name=name)(found)
    return typer.main.get_command(app)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help=f"{ABOUT}\n\nExample: [b]{EXAMPLE[0]}[/b], or [b]{EXAMPLE[1]}[/b]",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version())
        raise typer.Exit


@app.callback()
def _front_door(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of `bimodal` itself."""
