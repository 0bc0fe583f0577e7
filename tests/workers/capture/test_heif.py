"""Photographs stored as tiles: which tiles, in which order, how they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.capture.heif import Grid, grid_of
from bimodal.workers.capture.pixels import Orientation
from tests import media as made
from tests.heif import mirrored, rotated, write_grid


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("heif") / "photo.avif"
    return write_grid(path, made.numbered(12345, 320, 192), 2, 2, (rotated(1), mirrored(1))).read_bytes()


def test_the_grid_of_a_photo(tmp_path: Path, photo: bytes) -> None:
    (tmp_path / "photo").write_bytes(photo)
    turn = Orientation(transposed=True, flip_rows=True, flip_columns=True)
    assert grid_of(tmp_path / "photo") == Grid(2, 2, 320, 192, (2, 3, 4, 5), turn)


def test_what_has_no_grid(tmp_path: Path) -> None:
    assert grid_of(made.numbered_clip(tmp_path / "clip.mp4", 3)) is None
    (tmp_path / "text").write_text("to do: smile")
    assert grid_of(tmp_path / "text") is None
    assert grid_of(tmp_path / "none") is None


@given(st.integers(0, 10_000), st.integers(0, 255), st.integers(0, 10_000))
def test_a_damaged_file_has_a_grid_or_none(photo: bytes, place: int, value: int, length: int) -> None:
    import tempfile

    data = bytearray(photo)
    data[place % len(data)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photo")
        path.write_bytes(bytes(data[: max(16, length)]))
        found = grid_of(path)
    assert found is None or len(found.tiles) == found.rows * found.columns


ALL = [Orientation(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)]


@pytest.mark.parametrize("first", ALL)
@pytest.mark.parametrize("second", ALL)
def test_orientations_add_up(first: Orientation, second: Orientation) -> None:
    pixels = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    assert (first.then(second).apply(pixels) == second.apply(first.apply(pixels))).all()
