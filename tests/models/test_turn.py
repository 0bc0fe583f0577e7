"""Evidence over a turn of speech: sums to 1, forgets at a pause, and follows what is said for long."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bimodal.models.emotions import EMOTIONS
from bimodal.models.turn import TurnEvidence

HOP_NS = 500_000_000
SURE = {"neutral": 0.1, "anger": 0.9}
UNSURE = {"neutral": 0.55, "anger": 0.45}
OPPOSITE = {"neutral": 0.9, "anger": 0.1}


def top(probabilities: dict[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)


def fed(turn: TurnEvidence, windows: list[dict[str, float]], start: int = 0) -> list[dict[str, float]]:
    return [turn.update((start + at) * HOP_NS, HOP_NS, 1.0, each) for at, each in enumerate(windows)]


def test_the_first_window_counts_alone() -> None:
    assert TurnEvidence(4.0, 1.0).update(0, HOP_NS, 1.0, SURE) == pytest.approx(SURE)


def test_without_memory_every_window_is_judged_for_itself() -> None:
    windows = [SURE, UNSURE, OPPOSITE]
    assert fed(TurnEvidence(0.0, 1.0), windows) == windows


def test_one_doubtful_window_does_not_turn_a_turn_round() -> None:
    assert [top(each) for each in fed(TurnEvidence(4.0, 1.0), [SURE] * 6 + [UNSURE])] == ["anger"] * 7


def test_a_turn_follows_a_speaker_who_changes() -> None:
    labels = [top(each) for each in fed(TurnEvidence(4.0, 1.0), [SURE] * 10 + [OPPOSITE] * 12)]
    assert labels[:10] == ["anger"] * 10
    assert labels[-1] == "neutral"


def test_what_little_voice_said_counts_little() -> None:
    """The same windows, but the first heard hardly any voice."""
    whole, hardly = TurnEvidence(4.0, 1.0), TurnEvidence(4.0, 1.0)
    for turn, voice in ((whole, 1.0), (hardly, 0.1)):
        turn.update(0, HOP_NS, voice, SURE)
    after = [turn.update(HOP_NS, HOP_NS, 1.0, OPPOSITE)["anger"] for turn in (whole, hardly)]
    assert after[1] < after[0]


@pytest.mark.parametrize(("silent_hops", "forgets"), [(1, False), (2, True), (20, True)])
def test_a_pause_begins_a_new_turn(silent_hops: int, forgets: bool) -> None:
    turn = TurnEvidence(4.0, 1.0)
    fed(turn, [SURE] * 6)
    next_end = (6 + silent_hops) * HOP_NS
    found = turn.update(next_end, HOP_NS, 1.0, OPPOSITE)
    assert (found == pytest.approx(OPPOSITE)) == forgets


def test_time_that_jumps_back_and_another_model_begin_anew() -> None:
    turn = TurnEvidence(4.0, 1.0)
    fed(turn, [SURE] * 6)
    assert turn.update(0, HOP_NS, 1.0, OPPOSITE) == pytest.approx(OPPOSITE)
    other = {"neutral": 0.5, "anger": 0.2, "fear": 0.3}
    assert turn.update(HOP_NS, HOP_NS, 1.0, other) == pytest.approx(other)


rows = st.lists(st.floats(0, 1), min_size=7, max_size=7).filter(lambda row: sum(row) > 0)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1), rows), min_size=1, max_size=30), st.floats(0, 20))
def test_any_windows_give_probabilities_that_depend_on_the_past_only(
    windows: list[tuple[int, float, list[float]]], memory_s: float
) -> None:
    turn, half = TurnEvidence(memory_s, 1.0), TurnEvidence(memory_s, 1.0)
    at, found = 0, []
    for number, (pause, voice, row) in enumerate(windows):
        at += (1 + pause) * HOP_NS
        probabilities = {emotion: value / sum(row) for emotion, value in zip(EMOTIONS, row, strict=True)}
        found.append(turn.update(at, HOP_NS, voice, probabilities))
        assert math.isclose(sum(found[-1].values()), 1.0, abs_tol=1e-6)
        assert all(0 <= value <= 1 for value in found[-1].values())
        if number < len(windows) // 2:
            assert half.update(at, HOP_NS, voice, probabilities) == found[-1]
