"""A converted model that answers differently is refused, with figures."""

from __future__ import annotations

import numpy as np
import pytest

from bimodal.export.errors import ParityError
from bimodal.export.parity import as_metrics, measure, require


def test_largest_difference_over_all_cases_counts() -> None:
    theirs = [np.array([1.0, -8.0]), np.array([0.0, 2.0])]
    ours = [np.array([1.0, -8.0]), np.array([0.25, 2.0])]
    found = measure("boxes", "random", ours, theirs, 0.5)
    assert (found.largest, found.reach, found.cases) == (0.25, 8.0, 2)
    require("model", [found])
    assert as_metrics([found]) == {"parity_boxes_random": 0.25}


def test_too_far_away_is_refused() -> None:
    found = measure("boxes", "random", [np.array([1.0])], [np.array([2.0])], 0.5)
    with pytest.raises(ParityError, match="boxes on 1 random"):
        require("model", [found])


def test_not_a_number_is_refused() -> None:
    found = measure("boxes", "random", [np.array([np.nan])], [np.array([2.0])], 0.5)
    with pytest.raises(ParityError):
        require("model", [found])
