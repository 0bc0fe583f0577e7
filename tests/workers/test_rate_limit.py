"""Rate limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.rate_limit import ClientLimits, TokenBucket


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0, 30)), max_size=60))
def test_an_allowance_is_never_exceeded(steps: list[tuple[float, float]]) -> None:
    allowance = TokenBucket(rate=10.0, burst_s=2.0, now_s=0.0)
    now = taken = 0.0
    for wait, amount in steps:
        now += wait
        if allowance.take(amount, now):
            taken += amount
        assert taken <= 10.0 * (now + 2.0) + 1e-6


def test_an_allowance_refills_after_a_pause() -> None:
    allowance = TokenBucket(rate=10.0, burst_s=2.0, now_s=0.0)
    assert allowance.take(20, 0.0)
    assert not allowance.take(1, 0.0)
    assert allowance.take(10, 1.0)
    assert not allowance.take(1, 0.5), "a clock that goes back refills nothing"
    assert allowance.take(20, 100.0)
    assert not allowance.take(1, 100.0)


def test_each_client_has_a_bucket_of_its_own_and_is_told_when_to_come_again() -> None:
    limits = ClientLimits(rate=0.5, burst_s=4.0)
    assert [limits.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 2.0]
    assert limits.take("b", 0.0) == 0.0
    assert limits.take("a", 2.0) == 0.0


def test_one_request_at_least_may_come_at_once() -> None:
    limits = ClientLimits(rate=0.01, burst_s=2.0)
    assert (limits.take("a", 0.0), limits.take("a", 0.0)) == (0.0, 100.0)


def test_the_number_of_clients_that_are_remembered_is_bounded() -> None:
    limits = ClientLimits(rate=1.0, burst_s=1.0, most_clients=2)
    for client in ("a", "b", "c"):
        limits.take(client, 0.0)
    assert limits.take("c", 0.0) > 0
    assert limits.take("a", 0.0) == 0.0, "it was forgotten"
