"""Number of workers for the load."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimodal.supervisor.autoscale import BUSY_LITTLE, Load, LoadFollower

FPS = 30


class Machine:
    """A steady load of so many workers' worth, and what it does to the counters."""

    def __init__(self, work: float, count: int, *, every: bool = False) -> None:
        self.work, self.count, self.every = work, count, every
        self.now = 0.0
        self.offered = self.dropped = 0
        self.busy_s = 0.0

    def second(self) -> Load:
        self.now += 1
        done = min(1.0, self.count / self.work) if self.work else 1.0
        self.offered += FPS
        waiting = 0
        if self.every:
            waiting = 0 if done == 1.0 else 50
        else:
            self.dropped += round(FPS * (1 - done))
        self.busy_s += min(self.work, self.count)
        return Load(self.now, self.offered, self.dropped, self.busy_s, waiting)

    def run(self, follower: LoadFollower, seconds: int) -> list[int]:
        counts = []
        for _ in range(seconds):
            self.count = follower.wanted(self.count, self.second())
            counts.append(self.count)
        return counts


@given(st.floats(0, 12), st.integers(1, 4), st.integers(0, 6), st.booleans())
def test_a_steady_load_settles_on_one_number_within_the_limits(work: float, least: int, more: int, every: bool) -> None:
    follower, machine = LoadFollower(least, least + more), Machine(work, least, every=every)
    counts = machine.run(follower, 900)
    assert all(least <= count <= least + more for count in counts)
    assert len(set(counts[-300:])) == 1, "it does not swing"


@given(st.floats(0.5, 5.5), st.booleans())
def test_it_settles_on_as_many_as_are_needed(work: float, from_above: bool) -> None:
    machine = Machine(work, 8 if from_above else 1)
    count = machine.run(LoadFollower(1, 8), 1200)[-1]
    assert count >= work * 0.9, "hardly a job is dropped"
    assert count == 1 or work / (count - 1) > BUSY_LITTLE - 0.01 or not from_above, "and not many are idle"


def test_a_second_of_trouble_changes_nothing() -> None:
    follower, machine = LoadFollower(1, 4), Machine(0.9, 2)
    machine.run(follower, 20)
    machine.dropped += 5
    assert set(machine.run(follower, 10)) == {2}


def test_numbers_out_of_the_limits_are_brought_back_at_once() -> None:
    assert LoadFollower(2, 3).wanted(5, Load(0.0, 0, 0, 0.0)) == 3
    assert LoadFollower(2, 3).wanted(1, Load(0.0, 0, 0, 0.0)) == 2


def test_a_broker_that_counts_from_0_again_is_no_load() -> None:
    follower, machine = LoadFollower(1, 4), Machine(0.5, 1)
    machine.run(follower, 20)
    machine.offered = machine.dropped = 0
    assert set(machine.run(follower, 20)) == {1}
