"""Sampling cheaply gives the same pixels as sampling plainly."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.faces.crop import LARGEST_STEP, sample_square
from bimodal.models.faces.resampling import Square, fit, letterbox, stacked, warp

FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def picture(height: int, width: int, *, fine: int = 1) -> NDArray[np.uint8]:
    """Noise, in patches of `fine` pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (-(-height // fine), -(-width // fine), 3), dtype=np.uint8)
    return np.ascontiguousarray(noise.repeat(fine, axis=0).repeat(fine, axis=1)[:height, :width])


FRAME = picture(90, 160)


@given(st.floats(-300, 460), st.floats(-300, 400), st.floats(1, 400), st.floats(-math.pi, math.pi), st.booleans())
@settings(deadline=None)
def test_a_square_is_the_same_but_for_rounding(x: float, y: float, side: float, angle: float, grey: bool) -> None:
    frame = np.ascontiguousarray(FRAME[..., 0]) if grey else FRAME
    affine = Square(x, y, side, angle).to_frame(48)
    plain = cv2.warpAffine(frame, np.array(affine), (48, 48), flags=FLAGS, borderMode=cv2.BORDER_REPLICATE)
    found = warp(frame, affine, 48)
    # The part of the frame begins elsewhere, so a position may round to the other side of a half.
    assert np.abs(found.astype(int) - plain).max() <= 1
    # A small upright square has whole rows and columns of the picture at one such position.
    assert (found == plain).mean() > 0.9


@pytest.mark.parametrize(
    ("height", "width"),
    [(360, 640), (720, 1280), (480, 640), (288, 360), (540, 960), (128, 128), (180, 180), (640, 360)],
)
def test_a_letterbox_is_the_same_whichever_way_it_is_filled(height: int, width: int) -> None:
    part, place = picture(height, width), fit(0.0, 0.0, width, height, 128)
    affine = np.array([[1 / place.factor, 0, place.left], [0, 1 / place.factor, place.top]])
    np.testing.assert_array_equal(letterbox(part, 128), cv2.warpAffine(part, affine, (128, 128), flags=FLAGS))


@pytest.mark.parametrize("side", [100.0, 190.0, 230.0, 400.0, 900.0])
@pytest.mark.parametrize("size", [(600, 800), (601, 799)])
def test_a_large_face_is_the_mean_of_what_lies_under_each_pixel(side: float, size: tuple[int, int]) -> None:
    frame, square = picture(*size, fine=24), Square(400.0, 300.0, side, 0.3)
    exact = np.array(square.to_frame(48 * 24))
    exact[:, 2] += (exact[:, 0] + exact[:, 1]) / 2 - 0.5
    fine = cv2.warpAffine(frame, exact, (48 * 24, 48 * 24), flags=FLAGS, borderMode=cv2.BORDER_REPLICATE)
    means = fine.reshape(48, 24, 48, 24, 3).mean(axis=(1, 3))
    found = sample_square(frame, square, 48)
    assert np.abs(found - means).mean() < (2.5 if side > 48 * LARGEST_STEP else 1.0)


def test_one_array_is_not_copied() -> None:
    one = np.zeros((2, 3))
    assert np.shares_memory(stacked([one]), one)
    assert stacked([one]).shape == (1, 2, 3)
    assert stacked([one, one]).shape == (2, 2, 3)
