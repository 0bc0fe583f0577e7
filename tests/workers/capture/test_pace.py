"""Bursty sources at their own pace."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.capture.pace import LEAP_NS, REPEATS_WITHIN_NS, Pacer, Repeats

MS = 1_000_000
FRAME = 40 * MS


def play(arrivals: list[int]) -> list[int]:
    """The times at which frames 40 ms apart are played; a reader that is held reads the next one later."""
    pacer, now, played = Pacer(), 0, []
    for number, arrival in enumerate(arrivals):
        now = max(now, arrival)
        now += pacer.wait_ns(1000 * MS + number * FRAME, now)
        played.append(now)
    return played


def test_a_burst_is_spread_over_its_own_time() -> None:
    played = play([(number // 50) * 2000 * MS for number in range(200)])
    assert played == [number * FRAME for number in range(200)]


def test_a_burst_that_comes_late_delays_what_follows_once() -> None:
    arrivals = [(number // 50) * 2000 * MS + (300 * MS if number >= 50 else 0) for number in range(200)]
    played = play(arrivals)
    assert played[49] == 49 * FRAME
    assert [played[number] - number * FRAME for number in (50, 99, 150, 199)] == [300 * MS] * 4


@given(st.lists(st.integers(0, 500 * MS), min_size=10, max_size=60))
def test_no_two_frames_are_closer_than_their_own_times(lateness: list[int]) -> None:
    arrivals = [number * FRAME + late for number, late in enumerate(lateness)]
    played = play(arrivals)
    assert all(after - before >= FRAME for before, after in itertools.pairwise(played))
    assert all(at >= arrival for at, arrival in zip(played, arrivals, strict=True))


def test_a_clock_that_leaps_begins_anew() -> None:
    pacer = Pacer()
    assert pacer.wait_ns(0, 0) == 0
    assert pacer.wait_ns(10 * LEAP_NS, 40 * MS) == 0
    assert pacer.wait_ns(10 * LEAP_NS + FRAME, 40 * MS) == FRAME
    assert pacer.wait_ns(0, 100 * MS) == 0


def test_what_was_played_is_not_played_again() -> None:
    repeats = Repeats()
    assert not any(repeats.is_repeated("picture", number * FRAME, 0) for number in range(100))
    assert not any(repeats.is_repeated("sound", number * FRAME, 0) for number in range(100)), "kinds are apart"
    again = [repeats.is_repeated("picture", number * FRAME, MS) for number in range(50, 120)]
    assert again == [True] * 50 + [False] * 20


def test_a_server_that_counts_anew_is_played_after_a_moment() -> None:
    repeats = Repeats()
    assert not any(repeats.is_repeated("picture", number * FRAME, 0) for number in range(1000))
    now = [number * FRAME for number in range(200)]
    again = [repeats.is_repeated("picture", at, at) for at in now]
    assert again.index(False) == REPEATS_WITHIN_NS // FRAME + 1
    assert not any(again[again.index(False) :])
