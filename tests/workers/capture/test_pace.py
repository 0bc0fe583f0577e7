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


def played(repeats: Repeats, kind: str, numbers: range, at_ns: int = 0, film: int = 0, **how: bool) -> list[bool]:
    """Play frames of a film; True for each that is taken for one that was played already."""
    return [repeats.is_repeated(kind, number * FRAME, hash((film, number)), at_ns, **how) for number in numbers]


def test_what_was_played_is_not_played_again() -> None:
    repeats = Repeats()
    assert not any(played(repeats, "picture", range(100)))
    assert not any(played(repeats, "sound", range(100))), "kinds are apart"
    assert played(repeats, "picture", range(50, 120), MS) == [True] * 50 + [False] * 20
    repeats.begin()
    assert played(repeats, "picture", range(10, 130), MS) == [True] * 110 + [False] * 10


def test_a_clock_that_is_set_back_is_no_repetition() -> None:
    repeats = Repeats()
    assert not any(played(repeats, "picture", range(100)))
    assert not any(played(repeats, "picture", range(100), MS, film=1)), "a discontinuity"
    repeats.begin()
    assert not any(played(repeats, "picture", range(100), MS, film=2)), "a server that was started again"


def test_a_loop_is_no_repetition() -> None:
    repeats = Repeats()
    for _ in range(3):
        assert not any(played(repeats, "picture", range(1000), MS))


def test_a_short_loop_is_played_after_a_moment() -> None:
    repeats = Repeats()
    assert not any(played(repeats, "picture", range(100)))
    assert all(played(repeats, "picture", range(100), MS))
    assert not any(played(repeats, "picture", range(100), MS + REPEATS_WITHIN_NS + 1))
    assert not any(played(repeats, "picture", range(100), MS + REPEATS_WITHIN_NS + 2))


def test_silence_beside_new_pictures_is_new() -> None:
    repeats = Repeats()
    for film in range(2):
        assert not any(played(repeats, "picture", range(100), film=film))
        assert not any(played(repeats, "sound", range(100), beside=True)), film
