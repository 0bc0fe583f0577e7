"""Temporary folders: private, emptied, removed; those of dead processes by the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bimodal.child_process import child_environment
from bimodal.scratch import Scratch

MAKE = """
import time
from bimodal.scratch import Scratch
scratch = Scratch("test")
print(scratch.path, flush=True)
time.sleep(600)
"""


def test_a_folder_of_a_dead_process_goes_and_that_of_a_living_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    environment = {**child_environment(), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", MAKE], stdout=subprocess.PIPE, text=True, env=environment) as other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        mine = Scratch("test")
        assert theirs.is_dir()
        assert mine.path.stat().st_mode & 0o077 == 0
        (mine.path / "out" / "a").mkdir(parents=True)
        (mine.path / "file").write_bytes(b"x")
        mine.empty()
        assert [entry.name for entry in mine.path.iterdir()] == [".lock"]
        other.send_signal(signal.SIGKILL)
        other.wait()
    another = Scratch("other")
    assert not theirs.exists()
    assert mine.path.is_dir()
    mine.close()
    another.close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208
