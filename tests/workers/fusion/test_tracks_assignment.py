"""The assignment is the cheapest there is."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bimodal.workers.fusion.tracks import _cheapest, assign

tables = st.tuples(st.integers(1, 4), st.integers(0, 3)).flatmap(
    lambda size: hnp.arrays(np.float64, (size[0], size[0] + size[1]), elements=st.floats(0, 10))
)


@given(tables)
def test_no_other_assignment_is_cheaper(costs: np.ndarray) -> None:
    rows, columns = costs.shape
    chosen = assign(costs)
    assert len(set(chosen)) == rows
    total = sum(costs[row, column] for row, column in enumerate(chosen))
    best = min(
        sum(costs[row, column] for row, column in enumerate(order)) for order in permutations(range(columns), rows)
    )
    assert total == pytest.approx(best, abs=1e-9)


@given(tables)
def test_where_rows_differ_in_their_cheapest_column_that_is_the_assignment(costs: np.ndarray) -> None:
    found = _cheapest(costs.tolist())
    assert found is None or found == assign(costs)
