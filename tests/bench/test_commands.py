"""`bimodal bench` as a command: what it refuses, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from bimodal import cli
from bimodal.bench import commands
from bimodal.bench.figures import BenchError, Outcome, figure
from bimodal.bench.plan import Part, Plan
from bimodal.bench.show import Found

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _log_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


class Measured(Part):
    """A part whose measuring is a function of the test."""

    def measure(self, plan: Plan) -> Outcome:
        if self.module == "broken":
            raise BenchError("this machine has no clock")
        if self.module == "faulty":
            raise ZeroDivisionError
        assert plan.folder.is_dir()
        ceiling = figure("ceiling", [10.0] * plan.repeats, "frames/s")
        return Outcome(part="limit", figures=(ceiling, figure("real", [5.0], "frames/s", against=ceiling, floor=0.8)))


def run_bench(monkeypatch: pytest.MonkeyPatch, parts: dict[str, str], *arguments: str) -> Any:
    table = {name: Measured(module, "what it tells") for name, module in parts.items()}
    monkeypatch.setattr(commands, "PARTS", table)
    return RUNNER.invoke(cli.app, ["bench", *arguments])


def test_one_part_that_fails_costs_its_sentence_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    result = run_bench(
        monkeypatch, {"start": "broken", "limit": "fine"}, "--quick", "--json", "found.json", "--png", "found.png"
    )
    assert result.exit_code == 1
    assert "bimodal: this machine has no clock" in result.stderr
    found = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=Found)
    assert found.failed == {"start": "this machine has no clock"}
    assert [outcome.part for outcome in found.outcomes] == ["limit"]
    assert found.machine.cores >= 1
    assert found.machine.models["face-static"].startswith("face-robust@")
    assert (tmp_path / "found.png").stat().st_size > 0
    assert json.loads((tmp_path / "found.json").read_text())["machine"]["versions"]["numpy"]


def test_an_error_of_ours_in_one_part_costs_no_other_part(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_bench(monkeypatch, {"start": "faulty", "limit": "fine"}, "--quick")
    assert result.exit_code == 1
    assert "start met an unexpected ZeroDivisionError; the log has the details" in result.stderr
    assert "ceiling" in result.stdout


def test_what_can_not_be_kept_after_all_is_shown_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_check_place", lambda _file: None)
    result = run_bench(monkeypatch, {"limit": "fine"}, "--quick", "--json", ".")
    assert result.exit_code == 1
    assert "can't be written" in result.stderr
    assert "ceiling" in result.stdout


@pytest.mark.parametrize(
    "arguments", [["transport"], ["single"], ["--torch"], ["--resnet", "pipeline"], ["--mediapipe", "python"]]
)
def test_what_moved_into_the_repository_is_answered_with_its_script(arguments: list[str]) -> None:
    result = RUNNER.invoke(cli.app, ["bench", *arguments])
    assert result.exit_code == 1
    name = arguments[0].removeprefix("--")
    assert f"'{name}' is measured by a script of the repository: python -m scripts.measure {name}" in result.stderr


def test_a_broken_floor_is_no_failure_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_bench(monkeypatch, {"limit": "fine"}, "--quick").exit_code == 0
    assert run_bench(monkeypatch, {"limit": "fine"}, "--quick", "--check").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["speed"], "there is no part 'speed'; there are limit, pipeline, latency, scale, start"),
        (["--json", "nowhere/found.json"], "nowhere/found.json can't be written"),
        (["--json", "."], "it is a folder"),
        (["--png", "."], "it is a folder"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_what_can_not_be_is_said_before_anything_is_measured(arguments: list[str], sentence: str) -> None:
    result = RUNNER.invoke(cli.app, ["bench", *arguments])
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.output
