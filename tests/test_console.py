"""Errors at the edge: one true sentence and an exit code, whatever a command was given."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path

import pytest
import typer

from bimodal import console
from bimodal.console import keep_unexpected, put, user_errors
from tests.end_to_end.driving import Driven

FULL = Path("/dev/full")


def code_of(error: Exception, log_file: Path | None = None) -> int:
    with pytest.raises(typer.Exit) as ended, user_errors(log_file):
        raise error
    return ended.value.exit_code


@pytest.mark.parametrize("with_log", [True, False])
@pytest.mark.parametrize("number", [errno.EACCES, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.ENOSPC])
def test_a_file_that_can_not_be_used_is_named(
    number: int, with_log: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OSError(number, os.strerror(number), "secret/caf\udce9.jsonl")
    assert code_of(error, tmp_path / "a.log" if with_log else None) == 1
    said = f"bimodal: secret/caf%E9.jsonl can't be read or written: {os.strerror(number).lower()}\n"
    assert capsys.readouterr().err == said


def test_what_is_unexpected_stays_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(FileNotFoundError(errno.ENOENT, "No such file", "of_our_own.bin"), tmp_path / "a.log") == 70
    assert code_of(OSError(errno.EBADF, "Bad file descriptor"), tmp_path / "a.log") == 70
    assert capsys.readouterr().err.count("met an unexpected") == 2


def test_a_lost_output_is_a_failure_of_a_command_that_is_over_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(console, "_lost", [])
    monkeypatch.setattr(sys, "stdout", Full())
    with user_errors(tmp_path / "long.log"):
        put("a line that is lost, and ends nothing")
    with pytest.raises(typer.Exit) as ended, user_errors():
        put("all that it has to say")
    assert ended.value.exit_code == 1
    assert "the output can't be written: No space left on device" in capsys.readouterr().err


def test_errors_that_nobody_caught_are_told_alike(capsys: pytest.CaptureFixture[str]) -> None:
    assert keep_unexpected(PermissionError(errno.EACCES, "Permission denied", "x.onnx")) == 1
    assert capsys.readouterr().err == "bimodal: x.onnx can't be read or written: permission denied\n"


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [("--version",), ("config", "schema")])
def test_a_full_disk_under_stdout_is_told(command: tuple[str, ...]) -> None:
    with FULL.open("w") as full, Driven(*command, said=full) as driven:
        code, _, err = driven.finish()
    assert code == 1
    assert "bimodal: the output can't be written: No space left on device" in err
    assert "Traceback" not in err
