"""The framing of pictures is learnt from where the mesh lies in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.training.errors import DatasetError
from bimodal.training.face.framing import BORDER, ENLARGED, enlarge, learn_framing, to_picture


def faces(count: int, width: float, height: float, x: float, y: float) -> np.ndarray:
    """Mesh points [count, 468, 2] whose box is centred on (x, y)."""
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (count, 468, 2))
    points[:, 0], points[:, 1] = (-0.5, -0.5), (0.5, 0.5)
    return points * (width, height) + (x, y)


def eyes(count: int, degrees: float) -> np.ndarray:
    """A line of 20 px through the eyes at an angle."""
    angle = np.radians(degrees)
    return np.tile([[0.0, 0.0], [20 * np.cos(angle), 20 * np.sin(angle)]], (count, 1, 1))


@given(st.floats(10, 40), st.floats(10, 40), st.floats(-10, 10), st.floats(-10, 10))
def test_the_square_around_the_face_is_the_picture(width: float, height: float, x: float, y: float) -> None:
    framing = learn_framing(faces(3, width, height, 24 + x, 24 + y), eyes(3, 0), 48)
    assert framing.scale * max(width, height) == pytest.approx(48)
    assert 24 + x + framing.shift_x * width == pytest.approx(24)
    assert 24 + y + framing.shift_y * height == pytest.approx(24)


def test_faces_that_are_not_level_do_not_count() -> None:
    points = np.concatenate([faces(2, 30, 30, 24, 24), faces(3, 10, 10, 24, 24)])
    turned = np.concatenate([eyes(2, 3), eyes(3, 40)])
    framing = learn_framing(points, turned, 48)
    assert (framing.faces, framing.scale) == (5, pytest.approx(1.6))
    assert framing.roll_deviation > 10
    with pytest.raises(DatasetError):
        learn_framing(points[2:], turned[2:], 48)


def test_places_in_the_enlarged_picture_lead_back() -> None:
    picture = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
    assert enlarge(picture).shape == (ENLARGED + 2 * BORDER,) * 2 + (3,)
    corners = np.array([[BORDER, BORDER], [BORDER + ENLARGED, BORDER + ENLARGED]])
    assert to_picture(corners, 48).tolist() == [[0, 0], [48, 48]]
