"""Opinions are multiplied and gathered as said."""

from __future__ import annotations

import numpy as np

from scripts.measure.talking import gathered, together

ONE, OTHER = np.array([[0.8, 0.2]]), np.array([[0.2, 0.8]])


def test_shares_are_exponents_of_a_product() -> None:
    assert np.allclose(together(ONE, OTHER, 0.0), ONE, atol=1e-4)
    assert np.allclose(together(ONE, OTHER, 1.0), OTHER, atol=1e-4)
    assert np.allclose(together(ONE, OTHER, 0.5), 0.5)


def test_a_single_frame_counts_by_its_share_of_the_time() -> None:
    rows = np.repeat(ONE, 50, axis=0)
    rows[25] = OTHER
    found = gathered(rows, 1.5, 0.04)
    assert np.allclose(found[:25], ONE)
    assert (found.argmax(axis=1) == 0).all()
    assert 0 < 0.8 - found[25, 0] < 0.05
    assert gathered(rows, 0.0, 0.04) is rows
