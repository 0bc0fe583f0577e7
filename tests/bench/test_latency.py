"""`latency`: what is made of what was heard; and one real system that is heard for a moment."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.bench.figures import BenchError
from bimodal.bench.latency import (
    FPS,
    SEVERAL,
    Drops,
    FrameLatency,
    Overload,
    Window,
    observe,
    outcome,
    streams_for,
    too_much,
)
from bimodal.broker.sockets import session_directory, slots_directory
from bimodal.config import Config
from tests.bench.planning import short_plan

LOOKED_AT = FrameLatency(end_to_end=14.0, queue=0.5, transport=1.0, inference=12.0, fusion=0.5)
SLOW = FrameLatency(end_to_end=100.0, queue=70.0, transport=4.0, inference=24.0, fusion=2.0)


def windows(latency: FrameLatency, memory_mib: float = 500.0, **reasons: int) -> Window:
    return Window([latency] * 100, 100, 0, Drops(100, reasons), 2.0, memory_mib)


def test_every_figure_stands_beside_one_of_the_same_run_or_is_bounded() -> None:
    load = Overload("overload", 20, FPS, [windows(SLOW, 505.0, replaced=75, late=5)], 500.0)
    found = outcome([windows(LOOKED_AT)], [windows(LOOKED_AT)], [load])
    by_name = {figure.name: figure for figure in found.figures}
    assert len(by_name) == len(found.figures), "each name once"
    yardsticks = {figure.against for figure in found.figures} - {None}
    assert yardsticks <= set(by_name)
    assert by_name["one stream: added to inference p50"].value == 2.0
    assert by_name["one stream: added to inference p50"].holds
    bound = by_name["overload: 2 × inference + one frame interval"]
    assert bound.value == pytest.approx(24 + 1000 / FPS)
    against = by_name["overload: end to end p99 against it"]
    assert against.ratio == pytest.approx(100 / bound.value)
    assert against.holds is False
    assert by_name["overload: frames dropped"].value == 0.8
    assert by_name["overload: dropped, late"].value == 0.05
    memory = by_name["overload: memory at its end"]
    assert memory.ratio == pytest.approx(1.01)
    assert memory.holds
    assert len({curve.name for curve in found.curves}) == 3
    assert all(len(curve.x) == len(curve.y) for curve in found.curves)
    assert "really came" in found.notes[0]


@given(st.floats(1, 1e5), st.sampled_from([1, 5, 30]), st.integers(1, 64))
def test_as_many_streams_as_it_takes_and_faster_ones_where_there_may_not_be_so_many(
    offered: float, fps: int, most: int
) -> None:
    streams, each = streams_for(offered, fps, most)
    assert 1 <= streams <= most
    assert each >= fps
    assert streams * each >= offered
    assert each == fps or streams == most
    assert (streams - 1) * fps < offered, "no stream more than it takes"


def test_frames_that_could_not_be_looked_at_are_told_and_break_a_floor() -> None:
    def failed(count: int) -> Window:
        return windows(LOOKED_AT)._replace(failed=count)

    found = outcome([failed(0)], [failed(25)], [Overload("overload", 1, FPS, [failed(0), failed(300)], 500.0)])
    by_name = {figure.name: figure for figure in found.figures if figure.name.endswith("frames that failed")}
    assert {name: each.holds for name, each in by_name.items()} == {
        "one stream: frames that failed": True,
        f"{SEVERAL} streams: frames that failed": False,
        "overload: frames that failed": False,
    }
    assert by_name[f"{SEVERAL} streams: frames that failed"].value == 0.2


def test_too_much_is_four_times_what_the_workers_can_do() -> None:
    assert too_much(20.0, 2) == 400.0
    with pytest.raises(BenchError):
        too_much(0.0, 2)


def test_a_real_system_is_heard_and_leaves_nothing_behind(tmp_path: Path) -> None:
    plan = short_plan(tmp_path, Config())
    windows, memory_mib = observe(plan, 1, FPS, times=1, sound=True)
    (window,) = windows
    assert window.seconds >= plan.seconds
    assert 0 < len(window.latencies) <= window.announced
    assert 0 <= window.drops.share() <= 1
    for latency in window.latencies:
        assert all(math.isfinite(part) and part >= 0 for part in latency[:4])
        assert latency.inference < latency.end_to_end
        assert latency.added == pytest.approx(latency.queue + latency.transport + latency.fusion, abs=1e-6)
    assert memory_mib > 0
    assert window.memory_mib > 0
    (config,) = tmp_path.glob("bench-*.yaml")
    assert not session_directory(config.stem).exists()
    assert not slots_directory(config.stem).exists()
