"""The `bimodal` command: lists all commands and imports each only when it is used."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup


class Room(NamedTuple):
    """The module of a command below `bimodal`, its attribute, and its line in `bimodal --help`."""

    module: str
    attribute: str
    help: str


COMMANDS: dict[str, Room] = {
    "up": Room("commands.up", "up", "Start everything and show emotions live, until Ctrl-C."),
    "analyze": Room("commands.analyze", "analyze", "Look at media files, every frame of them, and write results."),
    "convert": Room(
        "commands.convert", "convert", "Write results for ELAN, Praat and BORIS, as captions or a long table."
    ),
    "corpus": Room("commands.corpus", "app", "Put the results of a corpus together."),
    "agree": Room("commands.agree", "agree", "Compare results with people's annotations, or with another run."),
    "report": Room("commands.report", "report", "Write one page for each clip of a recording."),
    "replay": Room("commands.replay", "replay", "Play a recording's events on the bus again, in time."),
    "diff": Room("commands.diff", "diff", "Look at a recorded clip with another model; show what differs."),
    "top": Room("commands.top", "top", "Show the processes and streams of a running system, live."),
    "status": Room("commands.status", "status", "Show how a running system is."),
    "scale": Room("commands.status", "scale", "Have more or fewer workers in a running system, at once."),
    "soak": Room("commands.soak", "soak", "Run for hours, and show which process grows."),
    "subscribe": Room("commands.subscribe", "subscribe", "Print live events as JSON lines."),
    "schema": Room("commands.schema", "schema", "Print the form of live events, as JSON Schema or TypeScript types."),
    "work": Room("commands.work", "work", "Do jobs of another machine's bimodal."),
    "config": Room("commands.config", "app", "Show and check the config; JSON Schema for editors."),
    "devices": Room("commands.devices", "devices", "List cameras and microphones."),
    "bench": Room("bench.commands", "bench", "Measure this machine's limit, and how near the pipeline comes to it."),
    "doctor": Room("doctor.command", "doctor", "Check this machine, and say what to do."),
    "keys": Room("commands.keys", "app", "Make the keys and certificates of this machine."),
    "models": Room("models.commands", "app", "List, show, fetch and verify models."),
    "export": Room("export.commands", "app", "Turn foreign models into artifacts (needs the extra 'convert')."),
    "train": Room("training.commands", "train", "Train models on your own data (needs the extra 'training')."),
    "data": Room("training.commands", "app", "Make data sets ready to train on."),
    "evaluate": Room("training.evaluate.command", "evaluate", "Measure models on labelled data."),
}


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
    help=(
        "bimodal: which emotions faces show and voices carry, live, from separate processes.\n\n"
        "Example: [b]bimodal up[/b], or [b]bimodal analyze talk.mp4 --out results/[/b]"
    ),
)


def _say_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"bimodal {importlib.metadata.version('bimodal-emotion')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("bimodal, not installed: run from its folder")
        raise typer.Exit


@app.callback()
def _front_door(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of `bimodal` itself."""


def main() -> None:
    """Run the command line; an unexpected error is one sentence, and its traceback goes to a log."""
    _mind_output()
    try:
        app(prog_name="bimodal")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        from bimodal.console import keep_unexpected

        raise SystemExit(keep_unexpected(error)) from None


def _mind_output() -> None:
    """Replace characters that the terminal's encoding lacks by "?", and a closed stdout or stderr by /dev/null."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
