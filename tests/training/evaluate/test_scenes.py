"""Composed pictures: faces where their boxes say, the same ones every time, and backgrounds of many kinds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.models.faces.detections import overlap
from bimodal.training.evaluate.scenes import (
    CONDITIONS,
    HEIGHT,
    WIDTH,
    Condition,
    background,
    box_turned,
    compose,
    fer_cutout,
    frame_cutout,
)

WHITE = fer_cutout(np.full((48, 48), 255, np.uint8))


def test_a_scene_is_the_same_every_time() -> None:
    first, second = (compose([WHITE], CONDITIONS["8 faces"], np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first.picture, second.picture)
    assert first.boxes == second.boxes


@given(st.integers(0, 10_000), st.sampled_from([12, 48, 200]), st.integers(1, 8))
@settings(max_examples=15, deadline=None)
def test_faces_are_as_large_as_said_apart_and_inside(seed: int, size: int, faces: int) -> None:
    scene = compose([WHITE], Condition(sizes=(size, size), faces=faces, roll=0.0), np.random.default_rng(seed))
    assert scene.picture.shape == (HEIGHT, WIDTH, 3)
    assert 1 <= len(scene.boxes) <= faces
    for x, y, width, height in scene.boxes:
        assert max(width, height) == pytest.approx(size)
        assert x >= 0
        assert y >= 0
        assert x + width <= WIDTH
        assert y + height <= HEIGHT
    assert all(overlap(one, other) == 0 for one, other in itertools.combinations(scene.boxes, 2))


def test_a_face_is_where_its_box_is() -> None:
    scene = compose([WHITE], Condition(sizes=(100, 100), faces=3, roll=0.0), np.random.default_rng(1))
    for x, y, width, height in scene.boxes:
        middle = scene.picture[round(y + height / 2), round(x + width / 2)]
        assert middle.min() > 250


def test_dark_scenes_are_dark_and_blurred_ones_blurred() -> None:
    plain, dark, blurred = (
        compose([WHITE], condition, np.random.default_rng(5)).picture.astype(float)
        for condition in (Condition(), Condition(light=0.12), Condition(blur=9))
    )
    assert dark.mean() < 0.2 * plain.mean()
    assert np.abs(np.diff(blurred, axis=1)).mean() < np.abs(np.diff(plain, axis=1)).mean()


@given(st.floats(0, math.pi), st.floats(5, 100), st.floats(5, 100))
def test_a_turned_box_holds_the_ellipse(turn: float, width: float, height: float) -> None:
    x, y, wide, high = box_turned((0.0, 0.0), width, height, turn)
    angles = np.linspace(0, 2 * math.pi, 90)
    points = np.stack([width / 2 * np.cos(angles), height / 2 * np.sin(angles)])
    turned = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ points
    assert np.abs(turned[0]).max() == pytest.approx(wide / 2, rel=0.01)
    assert np.abs(turned[1]).max() == pytest.approx(high / 2, rel=0.01)
    assert (x, y) == pytest.approx((-wide / 2, -high / 2))


def test_a_cutout_keeps_its_face_and_fades_away() -> None:
    frame = np.zeros((200, 300, 3), np.uint8)
    cutout = frame_cutout(frame, (100, 60, 50, 60))
    x, y, width, height = cutout.box
    assert (width, height) == (50, 60)
    assert cutout.mask[int(y + height / 2), int(x + width / 2)] == 1
    assert cutout.mask[0, 0] == 0
    assert cutout.mask.shape == cutout.picture.shape[:2]


def test_backgrounds_differ() -> None:
    seen = [background(np.random.default_rng(seed), 320, 180) for seed in range(5)]
    assert len({picture.tobytes() for picture in seen}) == 5
    assert all(picture.shape == (180, 320, 3) for picture in seen)
