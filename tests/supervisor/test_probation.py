"""A change that makes things worse is found out in its first half minute."""

from __future__ import annotations

import pytest

from bimodal.broker.messages import Modality, StreamStatus
from bimodal.supervisor.probation import LONGEST_S, OVER_S, WATCHED_S, Probation


def streams(offered: int, done: int, failed: int = 0, modality: Modality = "face") -> tuple[StreamStatus, ...]:
    return (
        StreamStatus(
            stream="desk", policy="latest", source="camera 0", offered={modality: offered}, done={modality: done},
            dropped={}, failed={modality: failed},
        ),
    )  # fmt: skip


def test_a_change_that_works_as_well_as_before_is_kept() -> None:
    watched = Probation({("desk", "face"): 0.9}, streams(0, 0), 0.0)
    for second in range(1, int(WATCHED_S) + 2):
        assert watched.regression(streams(30 * second, 26 * second, second), {}, float(second)) is None
    assert watched.over(WATCHED_S + 1)


def test_a_share_that_falls_is_a_regression() -> None:
    watched = Probation({("desk", "face"): 0.9}, streams(0, 0), 0.0)
    found = [watched.regression(streams(30 * second, 2 * second), {}, float(second)) for second in range(1, 10)]
    assert found[: int(OVER_S) - 1] == [None] * (int(OVER_S) - 1)
    assert found[-1] == "after it 7% of the jobs of desk were done, and 90% before"


def test_overload_that_was_there_before_is_none() -> None:
    watched = Probation({("desk", "face"): 0.1}, streams(0, 0), 0.0)
    for second in range(1, 20):
        assert watched.regression(streams(30 * second, 2 * second), {}, float(second)) is None
    unknown = Probation({}, streams(0, 0), 0.0)
    assert unknown.regression(streams(300, 1), {}, 10.0) is None, "a stream that the change touched is not compared"


def test_failures_in_a_row_are_a_regression() -> None:
    watched = Probation({}, streams(0, 0), 0.0)
    assert watched.regression(streams(20, 0, 5), {}, 1.0) is None
    assert watched.regression(streams(60, 1, 30), {}, 2.0) == "30 of 31 jobs of desk failed after it"


def test_a_process_that_fails_is_a_regression() -> None:
    watched = Probation({}, (), 0.0)
    assert watched.regression((), {"view": "no port is free"}, 1.0) == "view failed after it: no port is free"


def test_a_stream_that_began_anew_is_not_compared_with_its_past() -> None:
    watched = Probation({("desk", "face"): 0.9}, streams(1000, 900), 0.0)
    assert watched.regression(streams(30, 0), {}, 7.0) is None


def test_what_the_end_of_a_process_costs_is_no_regression() -> None:
    watched = Probation({("desk", "face"): 0.9}, streams(0, 0), 0.0)
    assert watched.regression(streams(30, 27), {}, 1.0, restarts=5) is None
    assert watched.regression(streams(200, 27), {}, 7.0, restarts=6) is None, "a worker was killed meanwhile"
    for second in range(8, 13):
        assert watched.regression(streams(200 + 30 * (second - 7), 27), {}, float(second), restarts=6) is None
    assert watched.regression(streams(400, 27), {}, 13.5, restarts=6) is not None
    new = Probation({("desk", "face"): 0.9}, streams(1000, 900), 0.0)
    assert new.regression(streams(2000, 10), {}, 7.0) is None, "its counters began anew"


@pytest.mark.parametrize(("modality", "every_s"), [("speech", 0.5), ("face", 1.0), ("face", 2.0), ("face", 10.0)])
def test_a_slow_stream_is_judged_too(modality: Modality, every_s: float) -> None:
    before = round(100 / every_s)
    watched = Probation({("desk", modality): 1.0}, streams(before, before, modality=modality), 0.0)
    second = 0
    reason = None
    while reason is None and not watched.over(float(second)):
        second += 1
        offered = before + int(second / every_s)
        reason = watched.regression(streams(offered, before, modality=modality), {}, float(second), restarts=9)
    assert reason == "after it 0% of the jobs of desk were done, and 100% before"


def test_a_slow_stream_that_works_is_kept_and_does_not_lengthen_the_watch_of_others() -> None:
    watched = Probation({("desk", "face"): 1.0}, streams(10, 10), 0.0)
    for second in range(1, 60):
        done = 10 + second // 10
        assert watched.regression(streams(done, done), {}, float(second)) is None
    assert watched.over(60.0), "it has been judged"
    paused = Probation({("desk", "face"): 1.0}, streams(10, 10), 0.0)
    late = WATCHED_S + 1
    assert paused.regression(streams(10, 10), {"view": "no port is free"}, late) is None
    assert not paused.over(late)
    assert paused.over(LONGEST_S + 1)
