"""Python processes that are started from ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bimodal
from bimodal.child_process import child_environment, python_command

HERE = str(Path(bimodal.__file__).parents[1])


def test_a_child_finds_bimodal_and_none_of_the_modules_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bimodal.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    command = python_command("bimodal", "--help")
    assert command[0] == sys.executable
    done = subprocess.run(command, env=child_environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "analyze" in done.stdout


def test_what_the_user_has_in_pythonpath_stays_behind_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/torch")
    assert child_environment()["PYTHONPATH"] == f"{HERE}{os.pathsep}/opt/torch"
    assert child_environment({"MORE": "more"})["MORE"] == "more"
    assert os.environ["PYTHONPATH"] == "/opt/torch"
