"""A round of blows against real processes: the stream goes on after each, and nothing has grown in the end.

BIMODAL_CHAOS=10 makes it ten minutes of rounds. Times are printed, and bound only by the patience of a test: they are
those of the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.blows import ROLES, ROUND
from tests.chaos.every import OTHERS, WORKERS, kill_while_it_looks, victims
from tests.chaos.footprint import grown
from tests.chaos.run import attack_for
from tests.chaos.table import table

MINUTES = float(os.environ.get("BIMODAL_CHAOS", "0"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_whatever_is_killed_stopped_or_swapped_the_stream_goes_on_and_nothing_grows(tmp_path: Path) -> None:
    found = attack_for(tmp_path, seed=20, seconds=60 * MINUTES, tell=print)
    print(table(found))
    assert len(found.recoveries) >= ROUND
    assert {each.blow.role for each in found.recoveries if each.blow.kind == "kill"} == set(ROLES)
    assert all(each.killed for each in found.recoveries if each.blow.kind in ("kill", "hang"))
    assert grown(found.before, found.after) == []
    assert found.left == ()


@pytest.mark.timeout(600)
def test_a_file_loses_nothing_by_kills_in_its_middle(tmp_path: Path) -> None:
    kept = kill_while_it_looks(tmp_path, seed=5, kills=5, seconds=6.0)
    print(kept)
    assert len(kept.killed) == 5
    assert kept.whole, kept


def test_a_file_meets_kills_of_workers_and_of_the_others() -> None:
    for seed in range(20):
        found = victims(seed, 12)
        assert victims(seed, 12) == found
        assert len(found) == 12
        assert set(OTHERS) <= set(found) <= {*OTHERS, *WORKERS}
