"""`bimodal keys allow "$(bimodal keys show)"`, as one types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bimodal.broker import keys
from bimodal.commands.keys import app, free_name, unquoted


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_what_show_prints_into_a_command_is_allowed(home: Path) -> None:
    run = CliRunner().invoke
    assert run(app, ["create"]).exit_code == 0
    shown = run(app, ["show"]).stdout.strip()
    assert len(shown) == 40
    done = run(app, ["allow", shown])
    assert (done.exit_code, done.stdout) == (0, "'machine-1' may read events\n")
    assert run(app, ["allow", f"'{shown}'"]).stdout == "'machine-1' may read events\n"
    assert keys.allowed(keys.keys_folder(), "events") == {shown: "machine-1"}
    assert free_name(keys.keys_folder(), "another") == "machine-2"


def test_quotes_of_a_shell_are_taken_off() -> None:
    assert unquoted("'ab&c'") == unquoted('"ab&c"') == unquoted(" ab&c\n") == "ab&c"
    assert unquoted("'") == "'"


def test_scripts_read_and_write_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run(*arguments: str, given: str | None = None) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*arguments, "--json"], input=given)
        assert done.exit_code == 0, done.output
        found: dict[str, Any] = json.loads(done.output)
        return found

    made = run("create", "--once")
    assert made["made"]
    again = run("create", "--once")
    assert (again["made"], again["public_key"]) == (False, made["public_key"])
    assert run("show") == {"name": "bimodal", "public_key": made["public_key"]}
    allowed = run("allow", "-", "--name", "gpu", "--work", given=made["public_key"] + "\n")
    assert allowed == {"name": "gpu", "public_key": made["public_key"], "scope": "workers"}
    listed = run("list")
    assert listed["own"] == [{"name": "bimodal", "public_key": made["public_key"]}]
    assert listed["allowed"] == [allowed]
