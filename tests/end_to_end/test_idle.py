"""Where nothing comes, nobody wakes: processes wait for each other, and beat together."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.end_to_end.driving import Driven
from tests.end_to_end.living import Living, until

COUNTED_S = 6.0
# Three a second are usual; a busy machine adds some, and an old poll of 0.05 s would be 20 more.
MOST_A_SECOND = 12.0


def switches(pid: int) -> int:
    """How often a process's first thread has gone to sleep by itself."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)$", text, re.MULTILINE)
    assert found is not None
    return int(found[1])


def counted(driven: Driven) -> dict[str, float]:
    """Switches a second of each process, by title."""
    pids = {"supervisor": driven.process.pid} | {name: child.pid for name, child in driven.children().items()}
    before = {name: switches(pid) for name, pid in pids.items()}
    begun = time.monotonic()
    time.sleep(COUNTED_S)
    passed = time.monotonic() - begun
    return {name: (switches(pid) - before[name]) / passed for name, pid in pids.items()}


def test_a_stream_that_delivers_nothing_wakes_nobody(tmp_path: Path) -> None:
    living = Living(tmp_path)
    # A stream whose visitors never come, since there is no page.
    living.write(streams={"booth": {"browser": True}}, models={**living.values["models"], "speech": "none"})
    with living.up("idle") as driven:
        until("idle", lambda found: all(one["state"] == "ready" for one in found["processes"]))
        # What a start leaves behind is over after two seconds without a job.
        time.sleep(2.5)
        found = counted(driven)
        assert {"supervisor", "broker", "face 1", "fusion", "capture booth"} <= found.keys()
        assert max(found.values()) <= MOST_A_SECOND, found
        driven.process.terminate()
        assert driven.finish()[0] == 0
        assert not driven.left_behind()
