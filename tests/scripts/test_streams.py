"""What a broker carries, from two runs; and that a thousand simulated streams find sockets."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bimodal.bench.figures import BenchError
from bimodal.bench.plan import Plan
from bimodal.config import Config
from scripts.measure import streams as part
from scripts.measure.simulated import Load, Seen, Simulation
from scripts.measure.simulation import simulate
from scripts.measure.streams import FIGURES, STREAMS, load, shares_of, streams_carried


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


def plan(repeats: int) -> Plan:
    return Plan(
        config=Config(), folder=Path(), log=None, cores=2, repeats=repeats, seconds=1.0, progress=lambda _line: None
    )


def test_a_time_that_is_over_costs_repeats_and_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "joined_per_s", lambda _plan: 3_000.0)
    played = []

    def once(_plan: Plan, streams: int) -> tuple[float, ...]:
        played.append(streams)
        if len(played) == len(STREAMS) + 1:
            monkeypatch.setattr(part, "monotonic", lambda: math.inf)
        if streams == 300:
            raise BenchError("a simulator did not find the broker")
        return 0.14, 0.02, 1.0, 0.5 if streams == 1_000 else 0.0

    monkeypatch.setattr(part, "BUDGET_S", 1e9)
    monkeypatch.setattr(part, "_once", once)
    found = part.measure(plan(5))
    assert played == [*STREAMS, STREAMS[0]]
    assert len(found.figures) == 3 * len(FIGURES) + 3
    carried = next(one.value for one in found.figures if "one broker carries" in one.name)
    assert carried == pytest.approx(streams_carried(0.00014, 0.02, 10)), "what could not be played does not count"
    assert any("300 streams: a simulator did not find the broker" in note for note in found.notes)
    assert any("played 1 of 5 times" in note for note in found.notes)
    assert any(note.startswith("50% of the frames of 1000 streams were left out") for note in found.notes)


def test_where_nothing_can_be_played_the_part_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def once(_plan: Plan, _streams: int) -> tuple[float, ...]:
        raise BenchError("is the machine busy?")

    monkeypatch.setattr(part, "joined_per_s", lambda _plan: 3_000.0)
    monkeypatch.setattr(part, "_once", once)
    with pytest.raises(BenchError, match="10 streams: is the machine busy"):
        part.measure(plan(1))
