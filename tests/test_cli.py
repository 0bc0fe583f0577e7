"""The command line as shells see it: completion of commands, subcommands and options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bimodal import cli

ROOMS = ("bimodal.commands", "bimodal.training", "bimodal.supervisor", "bimodal.models", "onnxruntime", "numpy", "zmq")


def run(*arguments: str, code: str = "from bimodal.cli import main; main()", **environment: str) -> str:
    """Run the command and return its stdout; anything on stderr would stand in the line being typed, and fails."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def completions(line: str, code: str = "from bimodal.cli import main; main()") -> list[str]:
    """Return the completions bash gets for a line whose last word is not whole yet."""
    place = str(len(line.split(" ")) - 1)
    return run(code=code, COMP_WORDS=line, COMP_CWORD=place, _BIMODAL_COMPLETE="complete_bash").split()


def test_names_of_commands_are_completed_and_no_room_is_imported() -> None:
    code = (
        "import atexit, sys; from bimodal.cli import main\n"
        f"atexit.register(lambda: print(*['imported:' + n for n in {ROOMS!r} if n in sys.modules]))\n"
        "main()"
    )
    assert completions("bimodal ", code) == list(cli.COMMANDS)
    assert completions("bimodal re", code) == ["report", "replay"]
    assert completions("bimodal --v", code) == ["--version"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("bimodal models ", "verify"),
        ("bimodal keys t", "tls"),
        ("bimodal up --", "--config"),
        ("bimodal status --j", "--json"),
    ],
)
def test_subcommands_and_options_are_completed(line: str, found: str) -> None:
    assert found in completions(line)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed(shell: str, tmp_path: Path) -> None:
    assert f"_BIMODAL_COMPLETE=complete_{shell}" in run("--show-completion", shell)
    run("--install-completion", shell, HOME=str(tmp_path))
    assert any("complete_" in file.read_text() for file in tmp_path.rglob("*bimodal*") if file.is_file())
