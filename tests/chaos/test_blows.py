"""Blows are a pure function of the seed, and spare nobody."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bimodal.supervisor.child import SILENT_S
from tests.chaos.blows import AROUND, HOMELESS, PAUSE_S, RESUMED_AFTER_S, ROLES, ROUND, blows, first

seeds = st.integers(0, 2**32)


@given(seeds, st.integers(0, 100))
def test_the_same_seed_gives_the_same_blows(seed: int, count: int) -> None:
    assert first(seed, count) == first(seed, count)
    assert first(seed, count) == first(seed, count + 7)[:count]


@given(seeds)
def test_every_round_kills_each_kind_of_process_resumes_one_hangs_one_and_swaps(seed: int) -> None:
    coming = blows(seed)
    for _ in range(3):
        found = [next(coming) for _ in range(ROUND)]
        assert {blow.role for blow in found if blow.kind == "kill"} == set(ROLES)
        counts = {"kill": len(ROLES), "resume": 1, "hang": 1, "swap": 2} | dict.fromkeys(AROUND, 1)
        assert Counter(blow.kind for blow in found) == counts
        assert all(blow.role in HOMELESS for blow in found if blow.kind in ("sweep", "evict"))


@given(seeds)
def test_over_seven_rounds_each_role_is_resumed_hangs_and_dies_during_a_swap(seed: int) -> None:
    found = first(seed, ROUND * len(ROLES))
    for kind in ("resume", "hang", "swap"):
        assert Counter(blow.role for blow in found if blow.kind == kind and blow.role) == Counter(ROLES)


@given(seeds)
def test_times_are_within_their_bounds(seed: int) -> None:
    for blow in first(seed, 2 * ROUND):
        assert PAUSE_S[0] <= blow.pause_s <= PAUSE_S[1]
        assert 0 <= blow.choice < 1
        if blow.kind == "resume":
            assert RESUMED_AFTER_S[0] <= blow.wait_s <= RESUMED_AFTER_S[1] < SILENT_S


def test_seeds_differ() -> None:
    assert len({tuple(first(seed, ROUND)) for seed in range(50)}) == 50
