"""The workers of a corpus are forked from a command that has one thread, and from no other process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BEGIN = """
import threading
from bimodal.corpus.local import LocalEngine
from bimodal.corpus.messages import WorkerSettings
engine = LocalEngine(WorkerSettings(config={}, out="", session={}, log="/dev/null"), 2, None)
if with_thread:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
engine.begin()
print(*[type(worker.process).__name__ for worker in engine._workers.values()], len(engine.reports()))
engine.close()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are made on Linux only")
@pytest.mark.parametrize(("with_thread", "said"), [(False, "Forked Forked 2"), (True, "0")])
def test_workers_are_forked_where_there_is_one_thread(with_thread: bool, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"with_thread = {with_thread}{BEGIN}"],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr
