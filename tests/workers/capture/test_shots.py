"""Hard cuts are found; motion, light and noise are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bimodal.workers.capture.files import pictures
from bimodal.workers.capture.shots import ShotCounter
from tests.media import scene

Pixels = np.ndarray


def wall(seed: int) -> Pixels:
    """A picture of large blotches."""
    return np.kron(np.random.default_rng(seed).integers(40, 220, (9, 16, 1)), np.ones((40, 40, 3))).astype(np.uint8)


def shots(frames: list[Pixels]) -> list[int]:
    counter = ShotCounter()
    return [counter.shot(frame) for frame in frames]


def test_each_cut_begins_a_shot() -> None:
    frames = [wall(1)] * 10 + [wall(2)] * 10 + [wall(1)] * 10
    assert shots(frames) == [0] * 10 + [1] * 10 + [2] * 10


@pytest.mark.parametrize(
    "change",
    [
        lambda frame, n: np.clip(frame.astype(int) + 60 * (n % 2), 0, 255).astype(np.uint8),
        lambda frame, n: (frame * (1 - 0.04 * n)).astype(np.uint8),
        lambda frame, n: np.roll(frame, 6 * n, axis=1),
        lambda frame, n: (frame + np.random.default_rng(n).integers(0, 20, frame.shape)).astype(np.uint8),
    ],
)
def test_flashes_fades_pans_and_noise_are_no_cuts(change: object) -> None:
    assert shots([change(wall(3) // 2, n) for n in range(20)]) == [0] * 20  # type: ignore[operator]


def test_a_person_who_moves_in_an_empty_picture_is_no_cut() -> None:
    assert shots([scene(1, n / 5) for n in range(20)]) == [0] * 20
    assert len(set(shots([scene(0)] * 5))) == 1


def test_a_strobe_is_one_cut() -> None:
    assert max(shots([wall(n) for n in range(30)])) == 1


def test_frames_of_any_size_are_taken() -> None:
    assert shots([np.zeros((h, w, 3), np.uint8) for h, w in ((1, 1), (20, 3), (4000, 10))]) == [0, 0, 0]


@pytest.mark.shared
def test_cuts_of_real_clips(shared: Path) -> None:
    for name, wanted in (("hamilton_crowd.mp4", [20, 82, 211]), ("mead_M003_happy.mp4", []), ("grid_bbaf2n.mpg", [])):
        found = shots([picture.pixels for picture in pictures(shared / "data" / "clips" / name, 360)])
        assert [n for n in range(1, len(found)) if found[n] != found[n - 1]] == wanted, name
