"""Measures of a mesh, as they stand in events."""

from __future__ import annotations

import numpy as np
import pytest

from bimodal.broker.events import FaceMeasures
from bimodal.models.faces.mesh import LEFT_LIDS, RIGHT_LIDS, eye_opening
from bimodal.models.faces.pose import Camera
from bimodal.workers.face.measures import measures_of
from tests.models.faces.test_pose import CAMERA, mesh, rotation


def with_lids(gap: float) -> np.ndarray:
    """A mesh with eyes of 30 pixels whose lids are `gap` pixels apart."""
    points = np.zeros((468, 3), np.float32)
    for place, (outer, inner, *lids) in enumerate((RIGHT_LIDS, LEFT_LIDS)):
        points[[outer, inner], 0] = 100 + 80 * place, 130 + 80 * place
        points[[lids[0], lids[2]], 0] = points[[lids[1], lids[3]], 0] = 110 + 80 * place, 120 + 80 * place
        points[[lids[0], lids[2]], 1] = -gap / 2
        points[[lids[1], lids[3]], 1] = gap / 2
    return points


@pytest.mark.parametrize("gap", [0.0, 3.0, 9.0])
def test_the_opening_of_an_eye_is_the_gap_over_its_length(gap: float) -> None:
    for lids in (LEFT_LIDS, RIGHT_LIDS):
        assert eye_opening(with_lids(gap), lids) == pytest.approx(gap / 30)


def test_a_face_without_a_mesh_has_no_measures() -> None:
    assert measures_of(None, CAMERA) == FaceMeasures()


def test_a_turned_head_has_its_pose() -> None:
    found = measures_of(mesh(rotation(20, -10, 5), 60), CAMERA)
    assert (found.yaw_deg, found.pitch_deg, found.roll_deg) == pytest.approx((20, -10, 5), abs=2)


def test_the_distance_of_the_eyes_is_in_pixels_and_not_shortened() -> None:
    measured = [measures_of(with_lids(9), Camera(900, 0, 0)).eye_distance for _ in range(2)]
    assert measured == [pytest.approx(80)] * 2
