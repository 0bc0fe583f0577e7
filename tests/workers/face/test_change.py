"""Changes between frames: noise is none, a face that comes is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.faces.resampling import Square
from bimodal.workers.face.change import around, changed, face_of, outside, scene_of, shape_change, shape_of, still

RANDOM = np.random.default_rng(0)
WALL = RANDOM.integers(60, 180, (360, 640, 3), dtype=np.uint8) // 2 + 50


def seen(picture: NDArray[np.uint8], noise: float = 0.0, light: float = 0.0) -> NDArray[np.uint8]:
    return np.clip(picture + light + RANDOM.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0.0, 2.0, 8.0])
def test_noise_and_a_lamp_change_nothing(noise: float) -> None:
    before = scene_of(seen(WALL, noise)).tobytes()
    assert not changed(scene_of(seen(WALL, noise)), before).any()
    assert not changed(scene_of(seen(WALL, noise, light=9.0)), before).any()


@settings(max_examples=30, deadline=None)
@given(
    left=st.integers(0, 600), top=st.integers(0, 320), side=st.integers(16, 200), grey=st.sampled_from([10, 230]),
    noise=st.sampled_from([0.0, 6.0]),
)  # fmt: skip
def test_what_comes_into_the_picture_changes_it_there(left: int, top: int, side: int, grey: int, noise: float) -> None:
    before = scene_of(seen(WALL, noise)).tobytes()
    picture = WALL.copy()
    picture[top : top + side, left : left + side] = grey
    found = changed(scene_of(seen(picture, noise)), before)
    assert found.any()
    part = around(found, (640, 360), 0)
    assert part[0] <= left + 16
    assert part[2] >= min(left + side, 640) - 16
    assert not outside(found, (640, 360), [(left - 20, top - 20, side + 40, side + 40)]).any()


@given(width=st.integers(1, 90), height=st.integers(1, 90))
@settings(max_examples=30, deadline=None)
def test_pictures_of_any_size_have_a_thumbnail(width: int, height: int) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    now = scene_of(picture)
    assert now.size >= 1
    assert still(now, now.tobytes())
    assert face_of(picture, Square(-500.0, 0.0, 20.0, 0.0)).size == 0


def test_a_thumbnail_of_another_size_is_a_change() -> None:
    now = scene_of(WALL)
    assert changed(now, b"").all()
    assert not still(now, now.tobytes()[1:])
    assert not still(np.zeros((0, 0), np.uint8), b"")


def test_lips_that_move_are_no_still_face() -> None:
    square = Square(320.0, 180.0, 200.0, 0.1)
    before = face_of(seen(WALL, 3.0), square).tobytes()
    assert still(face_of(seen(WALL, 3.0), square), before)
    picture = WALL.copy()
    picture[230:245, 300:340] = 20
    assert not still(face_of(seen(picture, 3.0), square), before)


def test_a_part_cuts_through_no_known_face() -> None:
    cells = np.zeros((22, 40), np.bool_)
    cells[10, 20] = True
    assert around(cells, (640, 360), 32) == (288, 128, 368, 208)
    left, top, right, bottom = around(cells, (640, 360), 32, [(340.0, 150.0, 80.0, 80.0)])
    assert (left, top) == (288, 128)
    assert right >= 420
    assert bottom >= 230
    cells[:, :] = True
    assert around(cells, (640, 360), 0) == (0, 0, 640, 360)


@given(
    size=st.floats(0.3, 4.0), across=st.floats(-300, 300), down=st.floats(-300, 300), gap=st.floats(0.0, 30.0)
)  # fmt: skip
@settings(max_examples=30, deadline=None)
def test_a_shape_knows_neither_place_nor_size(size: float, across: float, down: float, gap: float) -> None:
    points = RANDOM.normal(300, 40, (468, 3)).astype(np.float32)
    before = shape_of(points)
    assert shape_change(shape_of(points * size + np.float32((across, down, 0))), before) < 0.005
    opened = points.copy()
    opened[::8, 1] += gap
    assert (shape_change(shape_of(opened), before) > 0.02) == (gap > 2.5) or 1.5 < gap < 3.5
    assert shape_change(before, b"") == float("inf")
