"""Beats are the same moments for everybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.beats import BEAT_S, QUIET_BEAT_S, left_to_gather, next_beat, until_beat

NOW = st.floats(0, 1e7)


@given(NOW, st.sampled_from((BEAT_S, QUIET_BEAT_S)))
def test_the_next_beat_is_the_same_for_all_until_it_comes(now: float, every_s: float) -> None:
    beat = next_beat(now, every_s)
    assert now < beat <= now + every_s
    assert next_beat((now + beat) / 2, every_s) == beat or (now + beat) / 2 == beat
    assert until_beat(now, every_s) == beat - now
    assert beat % every_s == 0.0


def test_more_is_waited_for_right_after_a_beat_only() -> None:
    assert left_to_gather(10.0, 0.06) == pytest.approx(0.06)
    assert left_to_gather(10.52, 0.06) == pytest.approx(0.04)
    assert left_to_gather(10.07, 0.06) == 0.0
    assert left_to_gather(10.49, 0.06) == 0.0
