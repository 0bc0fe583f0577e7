"""The real broker among simulated captures, workers and fusion: every job is settled exactly once."""

from __future__ import annotations

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from scripts.measure.simulated import Load, Seen
from scripts.measure.simulation import shares, simulate


def settled_once(seen: Seen, jobs: int) -> None:
    assert seen.jobs == jobs
    assert (seen.missing, seen.twice, seen.failed) == (0, 0, 0)
    assert seen.answered + seen.dropped == jobs


def test_files_are_answered_exactly_once_whichever_simulator_plays_a_worker() -> None:
    load = Load(workers=4, streams=2, policy="every", jobs=100)
    played = simulate(load, cores=4)
    settled_once(played.seen, 200)
    assert played.seen.answered == 200
    assert played.jobs_per_s > 0
    assert 0 < played.broker_s < 60


def test_live_jobs_are_answered_or_dropped_exactly_once() -> None:
    load = Load(workers=1, streams=4, policy="latest", jobs=30, rate=1000, inference_s=0.01)
    seen = simulate(load, cores=2).seen
    settled_once(seen, 120)
    assert seen.dropped > 0, "one worker can't do ten times what it can"
    assert len(seen.way_back_ms) == seen.answered - int(seen.answered * 0.1)
    assert len(seen.both_ms) == len(seen.way_in_ms) <= len(seen.way_back_ms)
    assert all(math.isfinite(value) and value > 0 for value in (*seen.way_in_ms, *seen.way_back_ms))


@given(workers=st.integers(1, 200), streams=st.integers(1, 100), cores=st.integers(1, 64))
def test_a_load_is_dealt_out_whole(workers: int, streams: int, cores: int) -> None:
    load = Load(workers=workers, streams=streams, policy="every", jobs=1)
    dealt = shares(load, Path("/nowhere"), cores)
    assert sorted(number for share in dealt for number in share.workers) == list(range(1, workers + 1))
    assert sorted(number for share in dealt for number in share.streams) == list(range(1, streams + 1))
    assert [share.first for share in dealt] == [True] + [False] * (len(dealt) - 1)
    assert len(dealt) == max(1, min(4, cores - 1, workers))
