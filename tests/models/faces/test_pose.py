"""Head pose of meshes of known pose: the canonical face, turned and projected as a camera does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.models.faces.pose import CANONICAL, POINTS, Camera, pose_of, rotation_of

WIDTH, HEIGHT = 1280, 720
CAMERA = Camera.of(WIDTH, HEIGHT, 63)
angles = st.floats(-45, 45)


def rotation(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """Turn about the vertical, then up, then tilt clockwise; x right, y up, z towards the camera."""
    y, p, r = (math.radians(angle) for angle in (yaw, -pitch, -roll))
    vertical = np.array(((math.cos(y), 0, math.sin(y)), (0, 1, 0), (-math.sin(y), 0, math.cos(y))))
    across = np.array(((1, 0, 0), (0, math.cos(p), -math.sin(p)), (0, math.sin(p), math.cos(p))))
    tilt = np.array(((math.cos(r), -math.sin(r), 0), (math.sin(r), math.cos(r), 0), (0, 0, 1)))
    turned: NDArray[np.float64] = vertical @ across @ tilt
    return turned


def mesh(
    turned: NDArray[np.float64], away_cm: float, right_cm: float = 0.0, stretch: tuple[float, float, float] = (1, 1, 1)
) -> NDArray[np.float32]:
    """The mesh [468, 3] of a turned head in the picture of CAMERA; depth lies along the line of sight."""
    place = (CANONICAL * stretch) @ turned.T + (right_cm, 0.0, 0.0)
    distance = away_cm - place[:, 2]
    head = np.array((right_cm, 0.0, 0.0))
    sight = np.array((right_cm, 0.0, -away_cm)) / math.hypot(right_cm, away_cm)
    points = np.zeros((468, 3), np.float32)
    points[POINTS, 0] = CAMERA.x + CAMERA.focal * place[:, 0] / distance
    points[POINTS, 1] = CAMERA.y - CAMERA.focal * place[:, 1] / distance
    points[POINTS, 2] = (place - head) @ sight * CAMERA.focal / math.hypot(right_cm, away_cm)
    return points


@settings(max_examples=60, deadline=None)
@given(angles, angles, angles, st.floats(40, 300), st.floats(-0.35, 0.35))
def test_a_known_pose_is_measured_within_two_degrees(
    yaw: float, pitch: float, roll: float, away_cm: float, beside: float
) -> None:
    found = pose_of(rotation_of(mesh(rotation(yaw, pitch, roll), away_cm, beside * away_cm), CAMERA))
    assert found == pytest.approx((yaw, pitch, roll), abs=2.0)


@settings(max_examples=30, deadline=None)
@given(angles, angles, st.tuples(*[st.floats(0.93, 1.07)] * 3), st.integers(0, 99))
def test_another_face_and_noise_cost_little(
    yaw: float, pitch: float, stretch: tuple[float, float, float], seed: int
) -> None:
    points = mesh(rotation(yaw, pitch, 0), 60, stretch=stretch)
    points += np.random.default_rng(seed).normal(0, 1.0, points.shape).astype(np.float32)
    found = pose_of(rotation_of(points, CAMERA))
    assert found == pytest.approx((yaw, pitch, 0), abs=6.0)


def test_the_signs_are_those_of_the_docs() -> None:
    """The nose tip shows where a face is turned: right, up; the chin goes to the left when it is tilted clockwise."""
    (nose,) = np.flatnonzero(POINTS == 4)
    eye, other = (np.flatnonzero(number == POINTS)[0] for number in (33, 263))
    turned = CANONICAL @ rotation(30, 0, 0).T
    assert turned[nose, 0] > turned[[eye, other], 0].mean(), "towards the right edge"
    assert (CANONICAL @ rotation(0, 30, 0).T)[nose, 1] > CANONICAL[nose, 1], "up"
    tilted = CANONICAL @ rotation(0, 0, 30).T
    assert tilted[other, 1] < tilted[eye, 1], "the eye at the right is lower"


def test_a_flat_mesh_has_a_pose_too() -> None:
    assert all(map(math.isfinite, pose_of(rotation_of(np.zeros((468, 3), np.float32), CAMERA))))
