"""Sharpness, light and cover of a face are told from its crop."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from bimodal.models.contract import Crop
from bimodal.models.faces.quality import FRAMED, UPRIGHT, face_quality, regions_of, sharpness

Picture = NDArray[np.uint8]


def patches() -> Picture:
    """A picture with edges, as faces have."""
    picture = np.full((128, 128, 3), 120, np.uint8)
    random = np.random.default_rng(0)
    for _ in range(40):
        x, y = (int(value) for value in random.integers(0, 100, 2))
        picture[y : y + 28, x : x + 20] = random.integers(40, 220)
    return picture


def drawn_face() -> Picture:
    """A drawn face of 112×112: skin, brows, eyes, nose, lips, with a camera's noise."""
    face = np.full((112, 112, 3), (205, 165, 140), np.uint8)
    for x in (34, 78):
        cv2.ellipse(face, (x, 44), (9, 4), 0, 0, 360, (245, 245, 245), -1)
        cv2.circle(face, (x, 44), 4, (50, 35, 30), -1)
        cv2.line(face, (x - 10, 36), (x + 10, 35), (70, 50, 40), 3)
    cv2.line(face, (56, 48), (52, 66), (160, 120, 100), 2)
    cv2.ellipse(face, (56, 86), (17, 6), 0, 0, 360, (150, 70, 70), -1)
    cv2.line(face, (40, 86), (72, 86), (70, 25, 25), 2)
    noise = np.random.default_rng(1).normal(0, 2, face.shape)
    return np.clip(face + noise, 0, 255).astype(np.uint8)


def test_blur_lowers_sharpness_and_light_does_not_matter() -> None:
    picture = patches()
    blurred = [sharpness(cv2.GaussianBlur(picture, (0, 0), sigma)) for sigma in (1, 3, 6, 12)]
    assert sorted(blurred, reverse=True) == blurred
    assert blurred[0] > 2 * blurred[-1]
    assert sharpness((picture * 0.5).astype(np.uint8)) == pytest.approx(sharpness(picture), abs=0.02)
    assert sharpness(np.full((64, 64, 3), 50, np.uint8)) == 0
    assert all(0 <= value <= 1 for value in blurred)


@pytest.mark.parametrize("kernel", [np.ones((1, 21)), np.ones((21, 1)), np.eye(17), np.fliplr(np.eye(17))])
def test_motion_in_one_direction_is_a_blur(kernel: NDArray[np.float64]) -> None:
    picture = patches()
    moved = np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
    assert sharpness(moved) < 0.65 * sharpness(picture)


def test_light_is_the_mean_brightness() -> None:
    face = drawn_face()
    bright, dark = face_quality(face, UPRIGHT), face_quality((face * 0.1).astype(np.uint8), UPRIGHT)
    assert 0.5 < bright.light < 0.8
    assert dark.light == pytest.approx(0.1 * bright.light, abs=0.01)


def test_an_open_face_is_seen_whole() -> None:
    found = face_quality(drawn_face(), UPRIGHT)
    assert found.eyes_seen == 1.0
    assert found.mouth_seen == 1.0


def test_a_mask_covers_the_mouth_only() -> None:
    face = drawn_face()
    shade = np.linspace(200, 170, 46)[:, None, None]  # folds and shade, as of cloth
    face[66:] = (shade + 5 * np.sin(np.arange(112) / 5)[None, :, None]).astype(np.uint8)
    found = face_quality(face, UPRIGHT)
    assert found.mouth_seen is not None
    assert found.mouth_seen < 0.5
    assert found.eyes_seen == 1.0


def test_dark_glasses_cover_the_eyes_only() -> None:
    face = drawn_face()
    for x in (34, 78):
        cv2.ellipse(face, (x, 44), (18, 12), 0, 0, 360, (25, 25, 28), -1)
        cv2.line(face, (x - 8, 40), (x + 2, 37), (110, 110, 115), 1)  # a reflection
    found = face_quality(face, UPRIGHT)
    assert found.eyes_seen is not None
    assert found.eyes_seen < 0.6
    assert found.mouth_seen == 1.0


def test_without_a_mesh_nothing_tells_what_is_covered() -> None:
    found = face_quality(drawn_face(), None)
    assert found.eyes_seen is None
    assert found.mouth_seen is None


def test_regions_follow_the_geometry_of_the_crop() -> None:
    framed = regions_of(FRAMED)
    assert framed is not None
    assert framed.mouth == pytest.approx(UPRIGHT.mouth)
    wide = regions_of(Crop(scale=2 * FRAMED.scale, shift_y=FRAMED.shift_y, rotate=True))
    assert wide is not None
    assert wide.mouth == pytest.approx([0.5 + (share - 0.5) / 2 for share in UPRIGHT.mouth])
    assert regions_of(Crop(rotate=False)) is None


@settings(max_examples=30, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_any_crop_gives_shares(crop: Picture) -> None:
    found = face_quality(crop, UPRIGHT)
    assert all(value is not None and 0 <= value <= 1 for value in found)
