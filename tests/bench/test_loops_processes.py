"""Processes that the bench starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import bimodal
from bimodal.bench.figures import BenchError
from bimodal.bench.loops import start, stop

PATH = [sys.executable, "-c", "import os; print(os.environ.get('PYTHONPATH', ''), os.environ.get('MORE', ''))"]


def test_it_finds_our_packages_and_gets_its_variables() -> None:
    process = start(PATH, what="it", stdout=subprocess.PIPE, environment={"MORE": "more"})
    assert process.stdout is not None
    reply = process.stdout.read().decode().rstrip("\n")
    stop(process)
    assert process.stdout.closed
    path, more = reply.split(" ")
    assert (path.split(os.pathsep)[0], more) == (str(Path(bimodal.__file__).parents[1]), "more")


def test_a_process_that_does_not_listen_is_ended_all_the_same() -> None:
    without_speech = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    process = start([sys.executable, "-c", without_speech], what="it", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"deaf\n"
    stop(process, within_s=0.1)
    assert process.returncode == -9


def test_a_command_that_is_none_is_one_sentence() -> None:
    with pytest.raises(BenchError, match="MediaPipe can't be run: No such file"):
        start(["/nowhere/python"], what="MediaPipe")
