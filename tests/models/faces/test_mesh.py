"""Squares, crops and measures on made pictures and points, whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.catalog import resolve
from bimodal.models.contract import Crop
from bimodal.models.faces.crop import crop_face, crop_square
from bimodal.models.faces.geometry import MeshGeometry, geometry_of
from bimodal.models.faces.mesh import (
    Landmarks,
    cut_out,
    eye_distance,
    frontalness,
    mouth_opening,
    square_of_points,
    to_frame,
)
from bimodal.models.faces.resampling import Square
from bimodal.models.session import open_artifact

GEOMETRY = MeshGeometry(size=192, margin=1.5, eye_points=(33, 263))

SQUARES = st.builds(Square, st.floats(0, 640), st.floats(0, 480), st.floats(10, 500), st.floats(-math.pi, math.pi))


def made_face(x: float, y: float, width: float, height: float, angle: float = 0.0) -> NDArray[np.float32]:
    """468 points in an upright box of that size around (x, y), turned by `angle`; eyes, lips and nose in place."""
    points = np.zeros((468, 3), np.float32)
    points[:, :2] = np.random.default_rng(0).uniform(-0.4, 0.4, (468, 2)) * (width, height)
    points[0, :2], points[1, :2] = (-width / 2, -height / 2), (width / 2, height / 2)
    for index, place in {33: (-0.3, -0.2), 133: (-0.1, -0.2), 362: (0.1, -0.2), 263: (0.3, -0.2)}.items():
        points[index, :2] = (place[0] * width, place[1] * height)
    points[13, :2], points[14, :2] = (0, 0.2 * height), (0, 0.3 * height)
    cos, sin = math.cos(angle), math.sin(angle)
    points[:, :2] = points[:, :2] @ np.array([[cos, sin], [-sin, cos]], np.float32) + (x, y)
    return points


def dot(x: float, y: float, size: tuple[int, int] = (480, 640), radius: float = 4) -> NDArray[np.uint8]:
    """A soft white dot on black; (x, y) with pixel corners at whole numbers."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    value = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.repeat(value[..., None], 3, axis=2).astype(np.uint8)


def place_of_dot(picture: NDArray[np.uint8]) -> tuple[float, float]:
    weight = picture[..., 0].astype(float)
    rows, columns = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return float((columns * weight).sum() / weight.sum()), float((rows * weight).sum() / weight.sum())


@given(SQUARES, st.integers(8, 256))
def test_square_maps_its_centre_and_corners(square: Square, size: int) -> None:
    affine = np.array(square.to_frame(size))
    centre = affine @ (size / 2, size / 2, 1)
    corner = affine @ (0, 0, 1)
    np.testing.assert_allclose(centre, (square.x, square.y), atol=1e-6)
    assert math.dist(centre, corner) == pytest.approx(square.side * math.sqrt(0.5))
    right = affine @ (size, size / 2, 1) - centre
    assert math.remainder(math.atan2(right[1], right[0]) - square.angle, 2 * math.pi) == pytest.approx(0, abs=1e-9)


@given(SQUARES)
def test_points_go_back_to_where_the_cut_out_came_from(square: Square) -> None:
    points = np.random.default_rng(1).uniform(0, 192, (468, 3)).astype(np.float32)
    affine = np.array(square.to_frame(192))
    expected = points[:, :2] @ affine[:, :2].T + affine[:, 2]
    found = to_frame(points, square, 192)
    np.testing.assert_allclose(found[:, :2], expected, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], points[:, 2] * square.side / 192, rtol=1e-5)


def test_cut_out_shows_what_lies_in_the_square() -> None:
    picture = cut_out(dot(300, 200), Square(300, 200, 100, 0.7), 192)
    np.testing.assert_allclose(place_of_dot(picture), (96, 96), atol=1.5)  # MediaPipe's own half pixel


@given(st.floats(-1, 1))
def test_square_of_points_turns_with_the_face(angle: float) -> None:
    points = made_face(320, 240, 100, 100, angle)
    square = square_of_points(points, GEOMETRY)
    assert square.angle == pytest.approx(angle, abs=1e-3)
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    assert square.side == pytest.approx(1.5 * float((high - low).max()), rel=1e-4)


@given(
    st.floats(-0.6, 0.6),
    st.floats(0.8, 1.6),
    st.floats(-0.2, 0.2),
    st.floats(40, 200),
    st.sampled_from((48, 112, 224)),
)
@settings(deadline=None, max_examples=40)
def test_crop_puts_the_middle_of_the_face_where_it_is_asked_for(
    angle: float, scale: float, shift: float, side: float, size: int
) -> None:
    points = made_face(320, 240, side, side, angle)
    picture = crop_face(dot(320, 240, radius=side / 12), points, Crop(scale=scale, shift_y=shift, rotate=True), size)
    assert picture.shape == (size, size, 3)
    expected = (size / 2, size / 2 - shift / scale * size)
    np.testing.assert_allclose(place_of_dot(picture), expected, atol=0.02 * size)


def test_crop_levels_the_eyes_only_where_asked() -> None:
    points = made_face(320, 240, 120, 120, 0.5)
    assert crop_square(points, Crop(rotate=True)).angle == pytest.approx(0.5, abs=1e-4)
    assert crop_square(points, Crop(rotate=False)).angle == 0
    level = made_face(320, 240, 120, 100)
    assert crop_square(level, Crop(scale=1.5, shift_y=0.1)) == pytest.approx((320, 250, 180, 0), abs=1e-3)


def test_crop_beyond_the_frame_repeats_its_edge() -> None:
    frame = np.full((100, 100, 3), 90, np.uint8)
    for x, y in ((0, 0), (100, 100), (-500, 40), (50, 900)):
        assert (crop_face(frame, made_face(x, y, 80, 80), Crop(), 48) == 90).all()


def test_large_faces_are_averaged_not_sampled() -> None:
    """Stripes finer than a pixel of the crop become even grey: sampling would leave stripes."""
    frame = np.zeros((1200, 1200, 3), np.uint8)
    frame[:, ::2] = 200
    for side in (400, 1000):
        picture = crop_face(frame, made_face(600, 600, side, side), Crop(scale=1.0), 48)
        inner = picture[4:-4, 4:-4].astype(float)
        assert inner.std() < 12
        assert inner.mean() == pytest.approx(100, abs=6)


def test_grey_frames_are_cut_too() -> None:
    assert crop_face(dot(50, 50, (100, 100))[..., 0], made_face(50, 50, 60, 60), Crop(), 48).shape == (48, 48)


@given(st.floats(0, 60), st.floats(20, 300))
def test_mouth_opening_does_not_depend_on_size(gap: float, width: float) -> None:
    points = made_face(0, 0, 100, 100)
    points[13, :2], points[14, :2] = (0, 20), (0, 20 + gap)
    assert mouth_opening(points * np.float32(width / 100)) == pytest.approx(
        gap / eye_distance(points), rel=1e-3, abs=1e-4
    )


def test_frontal_is_straight_and_profile_is_not() -> None:
    points = made_face(0, 0, 100, 100)
    points[1, :2] = (0, 0)
    assert frontalness(points) == pytest.approx(1)
    points[1, :2] = (30, 0)
    assert frontalness(points) == pytest.approx(0, abs=1e-4)


def test_five_faces_in_one_run_are_as_one_by_one() -> None:
    landmarks = Landmarks(open_artifact(resolve("facemesh-468"), "face-landmarks", provider="cpu"))
    assert landmarks.geometry == geometry_of(open_artifact(resolve("facemesh-468")), MeshGeometry)
    frame = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    squares = [Square(40.0 + 50 * n, 100.0 + 10 * n, 90.0, 0.2 * n) for n in range(5)]
    together = landmarks(frame, squares)
    assert together.points.shape == (5, 468, 3)
    for face, square in enumerate(squares):
        alone = landmarks(frame, [square])
        np.testing.assert_allclose(together.points[face], alone.points[0], atol=1e-3)
        np.testing.assert_allclose(together.presence[face], alone.presence[0], atol=1e-5)
    assert landmarks(frame, []).points.shape == (0, 468, 3)
