"""The `bimodal` command: its table of commands, and its start.

What is asked most often (the list of commands, the state of a system) is answered without the library of the command
line, which takes longer to load than all the rest (bimodal/quick.py); everything else goes to bimodal/command_line.py.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import typer

    from bimodal.quick import UpAsked

    app: typer.Typer


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
    "view": Room("commands.view", "view", "Show several running systems on one live page."),
    "top": Room("commands.top", "top", "Show the processes and streams of a running system, live."),
    "status": Room("commands.status", "status", "Show how a running system is."),
    "scale": Room("commands.status", "scale", "Have more or fewer workers in a running system, at once."),
    "soak": Room("commands.soak", "soak", "Run for hours, and show which process grows."),
    "serve": Room("commands.serve", "serve", "Analyse clips that programs send over HTTP."),
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

ABOUT = "bimodal: which emotions faces show and voices carry, live, from separate processes."
EXAMPLE = "bimodal up", "bimodal analyze talk.mp4 --out results/"
COMPLETING = "_BIMODAL_COMPLETE"


def __getattr__(name: str) -> Any:
    """The command line itself, `app`, loaded when it is first used."""
    if name == "app":
        return importlib.import_module("bimodal.command_line").app
    raise AttributeError(f"module 'bimodal.cli' has no attribute '{name}'")


def main() -> None:
    """Run the command line; an unexpected error is one sentence, and its traceback goes to a log."""
    _mind_output()
    try:
        code = None if COMPLETING in os.environ else importlib.import_module("bimodal.quick").answered(sys.argv[1:])
        if code is not None:
            raise SystemExit(code)
        if starts_system(sys.argv[1:]):
            _run_forked()
        else:
            if sys.argv[1:2] == ["analyze"]:
                # Else loading numpy starts threads, and the workers of a corpus can't be forked (corpus/local.py).
                os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            importlib.import_module("bimodal.command_line").app(prog_name="bimodal")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if isinstance(error, ImportError) and not (error.name or "").startswith("bimodal"):
            raise SystemExit(_refuse_library(error)) from None
        from bimodal.console import keep_unexpected

        raise SystemExit(keep_unexpected(error)) from None


def _refuse_library(error: ImportError) -> int:
    """Say which library can't be loaded and what to install; gives the exit code. The doctor looks at all of them."""
    imports = importlib.import_module("bimodal.doctor.imports")
    if sys.argv[1:2] != ["doctor"]:
        remedy = imports.advice(str(error)) or "'bimodal doctor' says what to install"
        sys.stderr.write(f"bimodal: a library that it needs can't be loaded: {error}; {remedy}\n")
        return 1
    findings = imports.unloadable()
    if "--json" in sys.argv:
        print(json.dumps(findings))
        return 1
    for finding in findings:
        print(f"{finding['check']}: {finding['found']}; {finding['advice']}")
    sys.stderr.write("bimodal: nothing else was checked, for the doctor needs these libraries itself\n")
    return 1


def starts_system(arguments: Sequence[str]) -> bool:
    """True for a `bimodal up` that starts processes, and is not only asked for its options."""
    return list(arguments[:1]) == ["up"] and "--help" not in arguments and COMPLETING not in os.environ


def _run_forked() -> None:
    """Run `bimodal up`, whose processes load their libraries while it loads its own."""
    from bimodal.supervisor import forks

    try:
        forks.begin()
        asked = importlib.import_module("bimodal.quick").up_of(sys.argv[1:])
        if asked is None:
            importlib.import_module("bimodal.command_line").app(prog_name="bimodal")
        else:
            _up(asked)
    finally:
        forks.discard_all()


def _up(asked: UpAsked) -> None:
    """Run it without the machinery of the command line, which takes a third of the time until its processes begin."""
    from typer import Exit

    up = importlib.import_module("bimodal.commands.up").up
    try:
        up(**asked._asdict() | {"config": [Path(file) for file in asked.config]})
    except Exit as error:
        raise SystemExit(error.exit_code) from None


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
