"""Fair shares: what streams get of workers that are too few, simulated with the real dispatch."""

from __future__ import annotations

import heapq
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.dispatch import Dispatch
from bimodal.broker.queues import Action, Assign
from tests.broker.making import job

NANO = 1_000_000_000
SECONDS = 20


def max_min(rates: list[float], capacity: float) -> list[float]:
    """The max-min fair shares: who asks less than an equal share gets all, the others share the rest equally."""
    shares = [0.0] * len(rates)
    left, open_ = capacity, sorted(range(len(rates)), key=lambda one: rates[one])
    while open_:
        each = left / len(open_)
        one = open_.pop(0)
        shares[one] = min(rates[one], each)
        left -= shares[one]
    return shares


def jain(got: list[float], shares: list[float]) -> float:
    """Jain's index of what each got of its share."""
    parts = [one / share for one, share in zip(got, shares, strict=True)]
    return sum(parts) ** 2 / (len(parts) * sum(part * part for part in parts))


class Played:
    """Live streams of these rates, and workers of one service time, for some simulated time.

    Attributes:
        got: frames a second that were done, by stream.
        ages_ns: from each frame's offer to its answer.
    """

    def __init__(self, rates: list[float], workers: int, service_s: float, seed: int) -> None:
        self.chance = random.Random(seed)
        self.dispatch = Dispatch()
        self.service_s = service_s
        self.done = [0] * len(rates)
        self.ages_ns: list[int] = []
        self._events: list[tuple[int, int, int, int]] = []
        self._order = itertools.count()
        self._held: dict[tuple[int, int], int] = {}
        for number in range(workers):
            self.dispatch.ready(f"face {number}", "face", 0, 0)
        for stream, rate in enumerate(rates):
            self.dispatch.open_stream(str(stream), 1, "latest", {"face": 0, "speech": 0})
            self._at(round(self.chance.random() * NANO / rate), -1 - stream, 0)
        self._run(rates)
        self.got = [count / SECONDS for count in self.done]

    def _at(self, when: int, what: int, number: int) -> None:
        heapq.heappush(self._events, (when, next(self._order), what, number))

    def _run(self, rates: list[float]) -> None:
        while self._events and self._events[0][0] < SECONDS * NANO:
            now, _, what, number = heapq.heappop(self._events)
            if what < 0:
                stream = -1 - what
                self._take(self.dispatch.offer(job(str(stream), number, grab_ns=now), now), now)
                # Cameras are not exact.
                self._at(now + round(NANO / rates[stream] * self.chance.uniform(0.95, 1.05)), what, number + 1)
            else:
                found, actions = self.dispatch.answered(f"face {what}", number, now)
                assert found is not None
                self.done[int(found.stream)] += 1
                self.ages_ns.append(now - found.grab_ns)
                self._take(actions, now)

    def _take(self, actions: list[Action], now: int) -> None:
        for action in actions:
            if isinstance(action, Assign):
                took = round(self.service_s * NANO * self.chance.uniform(0.9, 1.1))
                self._at(now + took, int(action.worker.split()[1]), action.number)


@pytest.mark.parametrize(
    "rates",
    [[30.0] * 3, [30.0] * 5, [60.0, 30.0, 15.0, 5.0], [30.0, 29.0, 1.0], [60.0] * 8 + [2.0]],
    ids=["three alike", "five alike", "four unlike", "one slow", "many and one"],
)
def test_streams_get_their_max_min_share(rates: list[float]) -> None:
    for seed in range(2):
        got = Played(rates, workers=2, service_s=0.08, seed=seed).got
        shares = max_min(rates, min(25.0, sum(rates)))
        assert jain(got, shares) >= 0.98, (rates, got, shares)
        for one, share, rate in zip(got, shares, rates, strict=True):
            assert one >= 0.9 * share, (rates, got, shares)
            if rate < 0.9 * max(shares):
                assert one >= 0.97 * rate, "who asks less than the share gets all it asks"


@settings(max_examples=20)
@given(
    rates=st.lists(st.floats(1.0, 60.0), min_size=2, max_size=10),
    workers=st.integers(1, 4),
    load=st.floats(1.2, 6.0),
    seed=st.integers(0, 1000),
)
def test_shares_are_fair_at_random_rates(rates: list[float], workers: int, load: float, seed: int) -> None:
    capacity = sum(rates) / load
    got = Played(rates, workers, workers / capacity, seed).got
    shares = max_min(rates, sum(got))
    assert jain(got, shares) >= 0.98, (got, shares)


@settings(max_examples=10)
@given(count=st.integers(4, 30), seed=st.integers(0, 1000))
def test_frames_are_fresh_under_overload(count: int, seed: int) -> None:
    service_s = 0.011
    played = Played([30.0] * count, workers=2, service_s=service_s, seed=seed)
    ages = sorted(played.ages_ns)
    assert ages[int(0.99 * len(ages))] <= (2 * service_s * 1.1 + 1.05 / 30) * NANO


# Workers on other machines: a job goes where it is expected to be finished first.

MS = 1_000_000


def with_remote(here_ms: int, there_ms: int) -> tuple[Dispatch, int]:
    """A live stream, a worker here and one elsewhere, whose times are known."""
    dispatch = Dispatch()
    dispatch.open_stream("s", 1, "latest", {"face": 0, "speech": 0})
    now = 0
    for name, spent in (("gpu: face 1", there_ms), ("face 1", here_ms)):
        dispatch.ready(name, "face", 0, now)
        dispatch.offer(job("s", now), now)
        dispatch.answered(name, 1, now + spent * MS)
        dispatch.off_duty([name], now)
        now += 1000 * MS
    dispatch.off_duty([], now)
    return dispatch, now


def given(actions: list[Action]) -> list[str]:
    return [action.worker for action in actions if isinstance(action, Assign)]


def test_a_job_goes_where_it_is_finished_first() -> None:
    dispatch, now = with_remote(15, 150)
    assert given(dispatch.offer(job("s", 2 * now), now)) == ["face 1"]
    assert given(dispatch.offer(job("s", 2 * now + 1), now + 5 * MS)) == [], "10 + 15 ms here are less than 150 there"
    _, actions = dispatch.answered("face 1", 2, now + 15 * MS)
    assert given(actions) == ["face 1"]
    quick, now = with_remote(200, 20)
    assert given(quick.offer(job("s", 2 * now), now)) == ["gpu: face 1"]


def test_under_load_the_slow_one_works_too() -> None:
    dispatch, now = with_remote(50, 60)
    assert given(dispatch.offer(job("s", 2 * now), now)) == ["face 1"]
    assert given(dispatch.offer(job("s", 2 * now + 1), now + MS)) == ["gpu: face 1"], "49 + 50 ms here are more"


def test_a_job_that_is_overdue_elsewhere_is_given_to_another() -> None:
    dispatch, now = with_remote(200, 20)
    assert given(dispatch.offer(job("s", 2 * now), now)) == ["gpu: face 1"]
    assert dispatch.expire(now + 100 * MS) == []
    assert given(dispatch.expire(now + 151 * MS)) == ["face 1"], "the line has died"
    found, _ = dispatch.answered("face 1", 2, now + 300 * MS)
    assert found is not None
    counts = dispatch.counts("s", "face")
    assert (counts.done, counts.dropped) == (3, 0)
    late, _ = dispatch.answered("gpu: face 1", 2, now + 400 * MS)
    assert late is None, "a late answer counts no more"
