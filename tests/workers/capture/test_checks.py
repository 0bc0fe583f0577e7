"""A live picture that stands still is named; one that moves, however little, is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bimodal.workers.capture.checks import Stillness
from tests.media import scene

SECOND = 1_000_000_000
FRAME = SECOND // 25


def watch(pictures: list[NDArray[np.uint8]], still: Stillness, begin: int = 0) -> int:
    """Show pictures at 25 a second; when the last was shown."""
    now = begin
    for picture in pictures:
        now += FRAME
        still.check(picture, now)
    return now


def noisy(count: int, level: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    """A covered lens: black, with the noise of a sensor."""
    random = np.random.default_rng(seed)
    return [(random.random((48, 64, 3)) < 0.05).astype(np.uint8) * np.uint8(level) for _ in range(count)]


def test_a_frozen_picture_is_named_with_its_seconds_and_forgotten_when_it_moves() -> None:
    still = Stillness(0)
    frozen = scene(1)
    now = watch([frozen] * 25 * 4, still)
    assert still.sentence(now) is None
    now = watch([frozen] * 25 * 4, still, now)
    assert still.sentence(now) in {f"the picture has not changed for {seconds} s" for seconds in (7, 8)}
    now = watch([scene(1, t) for t in np.arange(0.04, 1.0, 0.04)], still, now)
    assert still.sentence(now) is None


@pytest.mark.parametrize("level", [1, 3])
def test_a_covered_but_noisy_camera_is_not_frozen(level: int) -> None:
    still = Stillness(0)
    now = 0
    for seed in range(10):
        now = watch(noisy(25, level, seed), still, now)
        assert still.sentence(now) is None


@given(st.integers(0, 47), st.integers(0, 63))
def test_a_single_pixel_that_moves_is_enough_wherever_it_is(row: int, column: int) -> None:
    still = Stillness(0)
    now = 0
    for second in range(12):
        picture = np.full((48, 64, 3), 120, np.uint8)
        picture[row, column] = second
        now = watch([picture] * 25, still, now)
        assert still.sentence(now) is None


def test_pictures_that_do_not_come_are_missed_and_what_comes_after_is_not_called_frozen() -> None:
    still = Stillness(0)
    assert still.sentence(4 * SECOND) is None
    assert still.sentence(7 * SECOND) == "no picture has come for 7 s"
    now = watch([scene(0)] * 25, still, 7 * SECOND)
    assert still.sentence(now) is None
    assert still.sentence(now + 60 * SECOND) == "no picture has come for 60 s"
    now = watch([scene(0)] * 50, still, now + 60 * SECOND)
    assert still.sentence(now) is None, "how long it was away is not how long it stood still"


def test_a_picture_of_another_size_is_another_picture() -> None:
    still = Stillness(0)
    now = 0
    for second in range(10):
        now = watch([np.zeros((48 + second % 2, 64, 3), np.uint8)] * 25, still, now)
    assert still.sentence(now) is None
