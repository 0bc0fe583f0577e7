"""Claims: one holder at a time, and none after its death."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from bimodal.child_process import child_environment
from bimodal.corpus.claims import claim_path, claimed, sweep_claims

HOLD = """
import sys, time
from pathlib import Path
from bimodal.corpus.claims import claimed
with claimed(Path(sys.argv[1]), "p01/a") as mine:
    print(mine, flush=True)
    time.sleep(600)
"""


def test_a_claim_is_held_by_one_and_dies_with_it(tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    with claimed(tmp_path, "p01/b") as mine:
        assert mine
    assert list((tmp_path / "claims").iterdir()) == []
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with claimed(tmp_path, "p01/a") as mine:
            assert not mine
        sweep_claims(tmp_path)
        assert claim_path(tmp_path, "p01/a").exists()
        other.send_signal(signal.SIGKILL)
        other.wait()
        sweep_claims(tmp_path)
        assert not claim_path(tmp_path, "p01/a").exists()
        with claimed(tmp_path, "p01/a") as mine:
            assert mine
