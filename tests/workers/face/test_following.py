"""Regions of followed faces: they move with the face's mesh, and are checked before they are used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.messages import Region
from bimodal.models.faces.geometry import MeshGeometry
from bimodal.models.faces.mesh import square_of_points
from bimodal.workers.face.following import any_overlap, box_of, moved, region_of, usable

GEOMETRY = MeshGeometry(size=192, margin=1.5, eye_points=(33, 263))
POINTS = np.random.default_rng(0).uniform(100, 200, (468, 3)).astype(np.float32)
BOX = (110.0, 90.0, 80.0, 85.0)


def test_a_box_comes_back_as_it_was() -> None:
    assert box_of(region_of(square_of_points(POINTS, GEOMETRY), BOX, 0.9)) == pytest.approx(BOX)


@given(st.floats(-50, 300), st.floats(-50, 300), st.floats(0.5, 3))
def test_a_box_goes_with_its_face(x: float, y: float, scale: float) -> None:
    points = (POINTS * np.float32(scale) + np.array((x, y, 0), np.float32)).astype(np.float32)
    box = box_of(moved(region_of(square_of_points(POINTS, GEOMETRY), BOX, 0.9), square_of_points(points, GEOMETRY)))
    expected = (BOX[0] * scale + x, BOX[1] * scale + y, BOX[2] * scale, BOX[3] * scale)
    assert box == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("field", "value"), [("x", float("nan")), ("y", float("inf")), ("side", 0.0), ("side", -5.0), ("side", 1e9)]
)
def test_places_outside_any_picture_are_not_looked_at(field: str, value: float) -> None:
    good = {"x": 1.0, "y": 2.0, "side": 30.0, "angle": 0.0, "score": 0.9, "box": (0.0, 0.0, 1.0, 1.0)}
    assert usable([Region(**good)])  # type: ignore[arg-type]
    assert not usable([Region(**good), Region(**good | {field: value})])  # type: ignore[arg-type]


def test_two_that_follow_one_face_meet() -> None:
    assert any_overlap([(0, 0, 10, 10), (50, 0, 10, 10), (1, 1, 10, 10)], 0.3)
    assert not any_overlap([(0, 0, 10, 10), (50, 0, 10, 10)], 0.3)
    assert not any_overlap([], 0.3)
