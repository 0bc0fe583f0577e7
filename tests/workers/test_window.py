"""Several streams in one window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.drawing.style import GROUND
from bimodal.workers.window import MOST_HEIGHT, MOST_WIDTH, fit, grid, scaled, tile_size, tiled


@pytest.mark.parametrize(("count", "expected"), [(1, (1, 1)), (2, (2, 1)), (3, (2, 2)), (4, (2, 2)), (5, (3, 2))])
def test_a_grid_is_as_square_as_it_can_be(count: int, expected: tuple[int, int]) -> None:
    assert grid(count) == expected


@given(st.integers(1, 8000), st.integers(1, 8000), st.integers(1, 20))
def test_a_picture_fits_its_tile_and_keeps_its_shape(width: int, height: int, count: int) -> None:
    tile = tile_size(count)
    fitted = fit((width, height), tile)
    assert 1 <= fitted[0] <= max(1, tile[0])
    assert 1 <= fitted[1] <= max(1, tile[1])
    if width <= tile[0] and height <= tile[1]:
        assert fitted == (width, height)
    if min(fitted) > 20:
        assert fitted[0] / fitted[1] == pytest.approx(width / height, rel=0.06)


def test_pictures_of_other_sizes_stand_in_the_middle_of_their_tiles() -> None:
    large, small = np.full((40, 60, 3), 200, np.uint8), np.full((20, 30, 3), 100, np.uint8)
    whole = tiled([large, small, large])
    assert whole.shape == (80, 120, 3)
    assert (whole[:40, :60] == 200).all()
    assert (whole[10:30, 75:105] == 100).all()
    assert (whole[0:10, 60:] == GROUND).all()
    assert (whole[40:, :60] == 200).all()
    assert (whole[40:, 60:] == GROUND).all()


def test_one_stream_is_shown_as_it_is() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    assert tiled([picture]) is picture
    assert scaled(picture, (60, 40)) is picture
    assert scaled(picture, (30, 20)).shape == (20, 30, 3)
    assert tile_size(1) == (MOST_WIDTH, MOST_HEIGHT)
