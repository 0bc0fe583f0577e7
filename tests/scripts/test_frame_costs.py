"""The pictures that are measured: of one size, and noisy as a camera's."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.measure import frame_costs
from scripts.measure.frame_costs import NOISE, SIZE, _filled, _noisy


def test_pictures_fill_the_frame_and_differ_by_noise_only() -> None:
    picture = _filled(np.full((360, 288, 3), 90, np.uint8))
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    assert (picture == 90).mean() == pytest.approx(720 * 576 / (720 * 1280), abs=0.01)
    first, second = list(_noisy(picture, 2))
    assert np.std(first.astype(float) - second) == pytest.approx(NOISE * 2**0.5, rel=0.1)


def test_a_live_stream_passes_its_hints_from_frame_to_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_costs, "FRAMES", 3)
    assert frame_costs._live([np.full((180, 320, 3), 90, np.uint8)]) > 0
