"""What is asked most is answered without the libraries of the command line, and says the same."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from bimodal import __version__, cli
from bimodal.commands.up import up
from bimodal.quick import LEAST_WIDTH, MOST_WIDTH, OPTIONS, StatusAsked, UpAsked, help_lines, status_of, up_of, version

HEAVY = (
    "typer", "rich", "numpy", "yaml", "onnxruntime",
    "bimodal.workers.actor", "bimodal.config", "bimodal.broker.mailbox",
)  # fmt: skip
CODE = (
    "import atexit, sys; from bimodal.cli import main\n"
    f"atexit.register(lambda: print(*['loaded:' + name for name in {HEAVY!r} if name in sys.modules]))\n"
    "main()"
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a fresh interpreter, which says at its end what it has loaded."""
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code"), [((), 2), (("--help",), 0), (("--version",), 0), (("status", "--session", "none-such"), 1)]
)
def test_a_quick_answer_loads_nothing_heavy(arguments: tuple[str, ...], code: int) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert "loaded:" not in done.stdout


def test_what_status_can_t_answer_is_one_sentence() -> None:
    assert run("status", "--session", "none-such").stderr.startswith("bimodal: no bimodal runs as session 'none-such'")


def test_the_help_of_both_ways_has_the_same_commands_and_options() -> None:
    quick = " ".join(help_lines(MOST_WIDTH))
    whole = CliRunner().invoke(cli.app, ["--help"], prog_name="bimodal", env={"COLUMNS": "200"}).stdout
    for name, room in cli.COMMANDS.items():
        assert name in quick
        assert room.help.split()[0] in quick
        assert name in whole
    for option in OPTIONS:
        assert option in quick
        assert option in whole
    assert cli.ABOUT.split()[-1] in quick


def test_the_version_is_that_of_the_code_whatever_is_installed(tmp_path: Path) -> None:
    stale = tmp_path / "bimodal_emotion-0.1.0.dist-info"
    stale.mkdir()
    (stale / "METADATA").write_text("Metadata-Version: 2.1\nName: bimodal-emotion\nVersion: 0.1.0\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import importlib.metadata as m, bimodal; print(m.version('bimodal-emotion'), bimodal.__version__)"
    for command, said in ((("-c", code), f"0.1.0 {__version__}\n"), (("-m", "bimodal", "--version"), f"{version()}\n")):
        done = subprocess.run(  # not in the checkout, whose own metadata would come first
            [sys.executable, *command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert done.stdout == said
    assert version() == f"bimodal {__version__}"


@given(st.integers(0, 300))
def test_the_help_fits_any_width(width: int) -> None:
    assert max(map(len, help_lines(width))) <= max(LEAST_WIDTH, min(MOST_WIDTH, width))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("status", StatusAsked()),
        ("status --json", StatusAsked(as_json=True)),
        ("status --session lab --json", StatusAsked("lab", as_json=True)),
        ("status --session=lab", StatusAsked("lab")),
        ("status --session", None),
        ("status --session --json", None),
        ("status --help", None),
        ("status lab", None),
        ("status --jso", None),
        ("up", None),
        ("", None),
    ],
)
def test_only_plain_questions_for_the_state_are_answered_quickly(line: str, asked: StatusAsked | None) -> None:
    assert status_of(line.split()) == asked


def test_nothing_is_answered_for_a_shell_that_completes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from bimodal.cli import main; main()"],
        env={**os.environ, "COMP_WORDS": "bimodal sta", "COMP_CWORD": "1", "_BIMODAL_COMPLETE": "complete_bash"},
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.split() == ["status"]


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["up"], UpAsked()),
        (["up", "--config", "a.yaml", "--config=b.yaml"], UpAsked(config=("a.yaml", "b.yaml"))),
        (["up", "--for", "2.5", "--session=desk", "--verbose"], UpAsked((), 2.5, "desk", True)),
        (["up", "--for", "0"], None),
        (["up", "--for", "inf"], None),
        (["up", "--for", "soon"], None),
        (["up", "--verbose=yes"], None),
        (["up", "--config"], None),
        (["up", "--config", "--verbose"], None),
        (["up", "config.yaml"], None),
        (["up", "--help"], None),
        (["status"], None),
        ([], None),
    ],
)
def test_options_of_up_are_read_and_others_are_left(arguments: list[str], asked: UpAsked | None) -> None:
    assert up_of(arguments) == asked


def test_the_parameters_of_up_are_those_that_are_read() -> None:
    assert set(UpAsked._fields) == set(inspect.signature(up).parameters)
    defaults = {name: one.default for name, one in inspect.signature(up).parameters.items()}
    assert UpAsked()._asdict() | {"config": None} == defaults
