"""The answers to `bimodal --help`, `--version` and `bimodal status`, in a tenth of a second; the options of `up`.

People type them all the time, and probes more often still. They need none of the libraries that other commands do;
options that are not known here leave the answer to the whole command line.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from bimodal import __version__
from bimodal.cli import ABOUT, COMMANDS, EXAMPLE

DONE, REFUSED = 0, 1
OPTIONS = {
    "--version": "Show the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the installation.",
    "--help": "Show this message and exit.",
}
MOST_WIDTH, LEAST_WIDTH = 100, 48


def answered(arguments: Sequence[str]) -> int | None:
    """Answer a command line and return its exit code; None where it is not one of those that are answered here."""
    if list(arguments) in ([], ["--help"]):
        _put("\n".join(help_lines(shutil.get_terminal_size().columns)))
        return DONE if arguments else 2
    if list(arguments) == ["--version"]:
        _put(version())
        return DONE
    asked = status_of(arguments)
    return None if asked is None else _status(asked)


def version() -> str:
    """The line of `bimodal --version`."""
    return f"bimodal {__version__}"


def help_lines(width: int) -> list[str]:
    """Return what `bimodal --help` says, for a terminal of this width."""
    width = max(LEAST_WIDTH, min(MOST_WIDTH, width))
    lines = ["", " Usage: bimodal [OPTIONS] COMMAND [ARGS]...", ""]
    for text in (ABOUT, f"Example: {EXAMPLE[0]}, or {EXAMPLE[1]}"):
        lines += [*textwrap.wrap(text, width - 2, initial_indent=" ", subsequent_indent=" "), ""]
    lines += _box("Options", OPTIONS, width)
    return [*lines, *_box("Commands", {name: room.help for name, room in COMMANDS.items()}, width), ""]


def _box(title: str, rows: dict[str, str], width: int) -> list[str]:
    names = max(map(len, rows)) + 2
    lines = [f"╭─ {title} {'─' * (width - len(title) - 5)}╮"]
    for name, text in rows.items():
        for number, part in enumerate(textwrap.wrap(text, width - names - 4)):
            lines.append(f"│ {name if not number else '':{names}}{part:{width - names - 4}} │")
    return [*lines, f"╰{'─' * (width - 2)}╯"]


class UpAsked(NamedTuple):
    """The options of `bimodal up`, by the names of its parameters."""

    config: tuple[str, ...] = ()
    for_seconds: float | None = None
    session: str = "default"
    verbose: bool = False


LEAST_S = 0.1


def up_of(arguments: Sequence[str]) -> UpAsked | None:
    """The options of a plain `bimodal up`; None for any other command line, and for wrong ones."""
    if not arguments or arguments[0] != "up":
        return None
    asked, left = UpAsked(), list(arguments[1:])
    while left:
        word, given, value = left.pop(0).partition("=")
        if word == "--verbose" and not given:
            asked = asked._replace(verbose=True)
            continue
        if not given:
            if not left or left[0].startswith("-"):
                return None
            value = left.pop(0)
        if word == "--config":
            asked = asked._replace(config=(*asked.config, value))
        elif word == "--session":
            asked = asked._replace(session=value)
        elif word == "--for" and (seconds := _seconds(value)) is not None:
            asked = asked._replace(for_seconds=seconds)
        else:
            return None
    return asked


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if LEAST_S <= seconds < float("inf") else None


class StatusAsked(NamedTuple):
    """The options of `bimodal status`."""

    session: str | None = None
    as_json: bool = False


def status_of(arguments: Sequence[str]) -> StatusAsked | None:
    """The options of a plain `bimodal status`; None for any other command line."""
    if not arguments or arguments[0] != "status":
        return None
    asked, left = StatusAsked(), list(arguments[1:])
    while left:
        word = left.pop(0)
        name, given, value = word.partition("=")
        if word == "--json":
            asked = asked._replace(as_json=True)
        elif name == "--session" and given:
            asked = asked._replace(session=value)
        elif word == "--session" and left and not left[0].startswith("-"):
            asked = asked._replace(session=left.pop(0))
        else:
            return None
    return asked


def _status(asked: StatusAsked) -> int:
    from bimodal.errors import BimodalError
    from bimodal.status_page import show_status

    try:
        return show_status(asked.session, as_json=asked.as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except BimodalError as error:
        from bimodal.workers.redaction import safe

        sys.stderr.write(f"bimodal: {safe(str(error))}\n")
        return REFUSED


def _put(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
