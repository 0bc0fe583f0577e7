"""Slopes and verdicts of a soak."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.commands.soak import MOST_DESCRIPTORS, MOST_MB, MOST_MB_AN_HOUR, Sample, growth, slope

whole = st.integers(-1000, 1000)


@given(whole, whole, st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True))
def test_the_slope_of_a_line_is_its_slope(base: int, rise: int, places: list[int]) -> None:
    assert slope([[(place, base + rise * place) for place in places]]) == rise


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5), st.integers(-50, 50))
def test_a_quarter_of_outliers_changes_it_little(outliers: list[float], rise: int) -> None:
    points = [(float(place), float(rise * place)) for place in range(24)]
    for number, value in enumerate(outliers):
        points[number * 5] = (points[number * 5][0], value)
    found = slope([points])
    assert found is not None
    assert found == pytest.approx(rise, abs=1e-9)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_what_a_life_begins_with_is_no_growth_of_the_one_before(first: float, second: float) -> None:
    lives = [[(hour, level) for hour in range(start, start + 5)] for start, level in ((0, first), (5, second))]
    assert slope(lives) == 0


def test_without_two_moments_there_is_no_slope() -> None:
    assert slope([]) is None
    assert slope([[(1.0, 2.0)], [(2.0, 3.0)], [(3.0, 1.0), (3.0, 2.0)]]) is None


def samples(
    hours: float, mb_an_hour: float = 0.0, an_hour: float = 0.0, warm_mb: float = 0.0, pid: int = 1
) -> list[Sample]:
    moments = [hours * step / 100 for step in range(101)]
    return [
        Sample(at, pid, 40 + mb_an_hour * at + (warm_mb if at >= 0.1 * hours else 0), 16 + round(an_hour * at))
        for at in moments
    ]


def test_one_that_stays_as_it_is_is_well() -> None:
    found = growth("face 1", samples(10.0), restarts=0, warm_up_h=0.1)
    assert (found.because, found.mb_an_hour, found.descriptors_an_hour) == (None, 0.0, 0.0)
    assert (found.memory_mb, found.descriptors) == (40.0, 16)


def test_memory_grows_where_it_is_over_the_rate_and_over_what_allocators_hold_back() -> None:
    slow = growth("view", samples(100.0, mb_an_hour=0.9 * MOST_MB_AN_HOUR), 0, 0.1)
    little = growth("view", samples(1.0, mb_an_hour=0.9 * MOST_MB), 0, 0.0)
    much = growth("view", samples(10.0, mb_an_hour=1.5 * MOST_MB_AN_HOUR), 0, 0.1)
    assert slow.because is None
    assert little.because is None
    assert much.because == "its memory grows by 1.5 MiB an hour"


def test_descriptors_that_are_not_closed_are_growth() -> None:
    assert growth("view", samples(2.0, an_hour=0.4 * MOST_DESCRIPTORS), 0, 0.1).because is None
    because = growth("view", samples(2.0, an_hour=2 * MOST_DESCRIPTORS), 0, 0.1).because
    assert because is not None
    assert "descriptors an hour" in because


def test_a_restart_is_said_and_begins_anew() -> None:
    twice = samples(1.0) + [sample._replace(at_h=sample.at_h + 1.0) for sample in samples(1.0, pid=2)]
    found = growth("audio 1", [*twice, twice[-1]._replace(at_h=2.1, memory_mb=40.0)], restarts=1, warm_up_h=0.1)
    assert found.mb_an_hour == 0.0
    assert found.because == "it was started again once"


def test_a_warm_up_counts_for_nothing() -> None:
    found = growth("face 1", samples(1.0, warm_mb=50.0), restarts=0, warm_up_h=0.2)
    assert (found.mb_an_hour, found.because) == (0.0, None)


def test_one_sample_is_no_slope() -> None:
    found = growth("film", samples(1.0)[:1], restarts=0, warm_up_h=0.0)
    assert (found.mb_an_hour, found.because) == (None, None)
