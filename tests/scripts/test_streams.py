"""What a broker carries, from two runs; and that a thousand simulated streams find sockets."""

from __future__ import annotations

import math

import pytest

from scripts.measure.simulated import Load, Seen, Simulation
from scripts.measure.simulation import simulate
from scripts.measure.streams import load, shares_of, streams_carried


def played(rate: float, share: float) -> Simulation:
    seen = Seen(
        jobs=int(10 * rate), answered=0, dropped=0, failed=0, missing=0, twice=0, seconds=10.0, way_in_ms=(),
        way_back_ms=(), both_ms=(),
    )  # fmt: skip
    return Simulation(
        load=load(10, rate, 10.0), seen=seen, broker_s=10 * share, simulators_s=0.0, seconds=10.0, straight_ms=()
    )


def test_frames_and_presence_are_told_apart_by_two_rates() -> None:
    cost, presence = shares_of(played(500, 0.15), played(1500, 0.35))
    assert cost == pytest.approx(0.0002)
    assert presence == pytest.approx(0.05)
    assert streams_carried(cost, presence, 10) == pytest.approx(0.8 / (0.006 + 0.005))
    assert streams_carried(0.0, 0.0, 10) == math.inf
    assert shares_of(played(500, 0.2), played(500, 0.2))[0] == 0.0


def test_a_thousand_streams_are_played_and_every_frame_is_settled_once() -> None:
    seen = simulate(Load(workers=4, streams=1_000, policy="every", jobs=2), cores=2).seen
    assert (seen.jobs, seen.answered, seen.missing, seen.twice) == (2_000, 2_000, 0, 0)
