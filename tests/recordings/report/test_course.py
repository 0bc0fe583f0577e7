"""Courses of measures: means over time in few bins, however long a clip is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.recordings.report.course import FINEST_S, MOST_BINS, Course, limits_of, polylines


def course_of(values: list[tuple[float, float | None]]) -> Course:
    course = Course()
    for t, value in values:
        course.add(t, value)
    return course


def test_means_of_bins_and_gaps_between_runs() -> None:
    course = course_of([(0.0, 1.0), (0.1, 3.0), (0.2, 5.0), (0.25, None), (2.01, 7.0)])
    assert course.runs() == [[(pytest.approx(0.1), 2.0), (pytest.approx(0.3), 5.0)], [(pytest.approx(2.1), 7.0)]]
    assert not Course()
    assert course


@settings(max_examples=25)
@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(-180, 180)), min_size=1, max_size=60))
def test_any_course_fits_and_keeps_its_mean(values: list[tuple[float, float]]) -> None:
    course = course_of(list(values))
    points = [point for run in course.runs() for point in run]
    assert len(points) <= MOST_BINS
    assert course.width >= FINEST_S
    assert min(value for _, value in values) - 1e-6 <= min(value for _, value in points)
    assert max(value for _, value in points) <= max(value for _, value in values) + 1e-6


def test_a_long_clip_has_wide_bins() -> None:
    course = course_of([(float(t), float(t)) for t in range(3600)])
    assert course.width == pytest.approx(12.8)
    (run,) = course.runs()
    assert [value for _, value in run] == sorted(value for _, value in run)


def test_lines_lie_in_their_picture() -> None:
    assert polylines([[(0.0, -1.0), (5.0, 0.0), (20.0, 9.0)]], (0.0, 10.0), (-1.0, 1.0), (1000.0, 50.0)) == [
        "0.0,50.0 500.0,25.0 1000.0,0.0"
    ]
    assert polylines([[(5.0, 0.0)]], (0.0, 10.0), (-1.0, 1.0), (1000.0, 50.0)) == ["500.0,25.0 502.0,25.0"]
    assert limits_of([[(0.0, 3.0), (1.0, -16.0)]], 15.0) == (-30.0, 30.0)
    assert limits_of([], 15.0) == (-15.0, 15.0)
