"""Agreement: published examples, and what must hold of any labels."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.corpus.agreement import accuracy, bootstrap, cohen_kappa, confusion, krippendorff_alpha, majority, mcnemar

LABELS = st.sampled_from(["happy", "sad", "fear", None])
UNITS = st.lists(st.tuples(LABELS, LABELS), max_size=40)

# Krippendorff 2011, example C: four observers, twelve units, missing data, nominal labels; alpha = 0.743.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def test_the_published_examples() -> None:
    units = [[None if label is None else str(label) for label in unit] for unit in zip(*OBSERVERS, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)
    # Two readers of fifty grants (20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no): kappa = 0.4.
    grants = [["y", "y"]] * 20 + [["y", "n"]] * 5 + [["n", "y"]] * 10 + [["n", "n"]] * 15
    assert cohen_kappa(grants) == pytest.approx(0.4)
    assert accuracy(grants) == 0.7
    assert confusion(grants, ["y", "n"]) == [[20, 10], [5, 15]]
    # Exact binomial test: 1 of 10 differing units.
    assert mcnemar([True] + [False] * 9, [False] + [True] * 9) == (1, 9, pytest.approx(0.021484375))


@given(UNITS)
def test_no_figure_passes_one_and_equal_labels_reach_it(units: list[tuple[str | None, str | None]]) -> None:
    for figure in (accuracy, cohen_kappa, krippendorff_alpha):
        value = figure(units)
        assert math.isnan(value) or value <= 1.0 + 1e-12
        same = figure([(a, a) for a, _ in units])
        assert math.isnan(same) or same == pytest.approx(1.0)


@given(st.lists(st.booleans(), max_size=30), st.randoms())
def test_a_run_beside_itself_differs_in_nothing(right: list[bool], random: object) -> None:
    assert mcnemar(right, right) == (0, 0, 1.0)


def test_intervals_come_from_whole_groups() -> None:
    groups = [[("a", "a")] * 10, [("a", "b")] * 10]
    estimate = bootstrap(groups, accuracy)
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)
    assert math.isnan(bootstrap(groups[:1], accuracy).low)


def test_a_tie_has_no_majority() -> None:
    assert majority(["a", "b"]) is None
    assert majority(["a", "b", "a", None]) == "a"
    assert majority([None]) is None
