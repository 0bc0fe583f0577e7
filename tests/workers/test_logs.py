"""Logs: one record a line, private, opened again when renamed, rotated by size, and no reason to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from bimodal.workers import logs
from bimodal.workers.logs import ConfidentialFormatter, LogFile, QuietStream, is_stream
from tests.end_to_end.driving import PATIENCE_S, Driven
from tests.end_to_end.living import Living, static_model, until

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def record(message: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x", 1, message, args, None)


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    formatter = ConfidentialFormatter("%(levelname)s %(message)s")
    assert formatter.format(record("opened %s", "a.mp4\nINFO all is well\x1b[2J")) == (
        r"INFO opened a.mp4\nINFO all is well\x1b[2J"
    )
    try:
        raise ValueError("bad\nINFO all is well")
    except ValueError:
        told = logging.LogRecord("x", logging.ERROR, "x", 1, "lost", None, sys.exc_info())
    lines = formatter.format(told).split("\n")
    assert lines[0] == "ERROR lost"
    assert all(line.startswith("    ") for line in lines[1:]), "a traceback is indented, and so is what is forged in it"


def test_a_log_is_private_and_follows_a_rename_and_its_size(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one, other = LogFile(path, "one"), LogFile(path, "other")
    one.emit(record("first"))
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(tmp_path / "log.old")
    other.emit(record("second"))
    assert "second" in path.read_text()
    assert "second" not in (tmp_path / "log.old").read_text()
    for _ in range(100):
        one.emit(record("x" * 100))
    one.rotate(5000)
    one.emit(record("after"))
    other.emit(record("me too"))
    assert (tmp_path / "log.1").stat().st_size > 5000
    assert [line.split(" ", 2)[2] for line in path.read_text().splitlines()] == ["one INFO after", "other INFO me too"]
    one.close()
    other.close()


@needs_full
def test_a_full_disk_loses_records_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    handler = LogFile(FULL, "one")
    for _ in range(3):
        handler.emit(record("x" * 10_000))
    assert capfd.readouterr() == ("", "")
    assert QuietStream(Path("/dev/stderr"), "x").stream is sys.stderr
    assert is_stream(Path("/dev/stdout"))
    assert not is_stream(FULL)


def test_a_running_system_opens_its_log_again_and_rotates_it(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-logs"
    log = tmp_path / "log"
    with living.up(session) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        log.rename(tmp_path / "log.moved")
        for pid in [driven.process.pid, *(child.pid for child in driven.children().values())]:
            os.kill(pid, signal.SIGHUP)
        end = time.monotonic() + PATIENCE_S
        driven.kill("face 1")
        while not (log.exists() and "face 1 is ready" in log.read_text()):
            assert time.monotonic() < end, "the log was not opened again"
            time.sleep(0.1)
        found = until(session, lambda found: all(one["state"] == "ready" for one in found["processes"]))
        assert {one["name"]: one["figures"].get("restarts") for one in found["processes"]}["capture clip"] == 0
        with log.open("a") as file:
            file.truncate(20 * 2**20)
        while not (tmp_path / "log.1").exists():
            assert time.monotonic() < end, "a long log was not rotated"
            time.sleep(0.1)


@needs_full
def test_a_full_disk_under_stdout_ends_nothing(tmp_path: Path) -> None:
    living, session = Living(tmp_path), "test-full-stdout"
    with FULL.open("w") as full, living.up(session, said=full) as driven:
        driven.wait_for(lambda body: static_model(body) is not None)
        for _ in range(50):
            driven.wait_for(lambda body: static_model(body) is not None)
        driven.interrupt()
        assert driven.process.wait(PATIENCE_S) == 0
        assert driven.process.stderr is not None
        assert "Traceback" not in driven.process.stderr.read()


@pytest.mark.parametrize("name", ["-", "stderr", "/dev/fd/2", "/dev/stdout"])
def test_the_log_may_be_an_output_of_the_process(tmp_path: Path, name: str) -> None:
    living, session = Living(tmp_path), "test-log-output"
    living.write(log={"file": name})
    with Driven("up", "--config", living.path, "--session", session, "--for", "12", session=session) as driven:
        code, out, err = driven.finish()
    assert code == 0
    told = out if name == "/dev/stdout" else err
    assert "supervisor INFO face 1 is ready" in told
    assert not (tmp_path / name.strip("/")).exists()


def test_names_of_the_process_s_own_outputs_are_not_opened_again() -> None:
    """One that is a file would be opened with a place of its own, and what is written would be overwritten."""
    for name in ("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2", "-"):
        assert logs.STREAMS[name] == Path("/dev/stderr"), name
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        assert logs.STREAMS[name] == Path("/dev/stdout"), name
