"""The acknowledged lane: in order, credited, nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimodal.broker.lanes import Lane
from bimodal.broker.messages import Dropped


def message(number: int, stream: str = "a") -> Dropped:
    return Dropped(stream=stream, run=1, modality="face", seq=number, because="test")


@given(st.lists(st.sampled_from(["push", "take", "acknowledge"]), max_size=200), st.integers(1, 8))
def test_everything_arrives_once_in_order_and_within_credit(steps: list[str], credit: int) -> None:
    lane = Lane(credit)
    pushed = 0
    under_way: list[int] = []
    arrived: list[int] = []
    settled: list[int] = []
    for step in steps:
        if step == "push":
            lane.push(message(pushed))
            pushed += 1
        elif step == "take":
            for delivery in lane.take():
                assert isinstance(delivery.message, Dropped)
                assert delivery.number == delivery.message.seq + 1
                arrived.append(delivery.message.seq)
                under_way.append(delivery.number)
        elif under_way:
            middle = under_way[len(under_way) // 2]
            settled += [found.seq for found in lane.acknowledge(middle) if isinstance(found, Dropped)]
            under_way = [number for number in under_way if number > middle]
        assert len(under_way) <= credit
        assert lane.backlog == pushed - len(settled)
    assert arrived == list(range(len(arrived)))
    assert settled == list(range(len(settled)))


def test_only_what_is_not_sent_yet_can_be_discarded() -> None:
    lane = Lane(credit=2)
    for number in range(5):
        lane.push(message(number, "live" if number % 2 else "file"))
    assert [delivery.number for delivery in lane.take()] == [1, 2]
    assert lane.discard(lambda found: found.stream == "live") == [message(3, "live")]
    lane.acknowledge(2)
    assert [found.message.seq for found in lane.take() if isinstance(found.message, Dropped)] == [2, 4]
