"""Every job is given out once, in order, and nothing waits for what will not come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.fusion.streams import Lane


@given(st.integers(1, 30).flatmap(lambda count: st.permutations(range(count))), st.data())
def test_any_order_in_gives_the_same_order_out(arrival: list[int], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from(arrival)))
    lane: Lane[int] = Lane()
    lane.end(len(arrival))
    out: list[int] = []
    for seq in arrival:
        assert not lane.ended
        out += lane.resolve(seq, None if seq in lost else seq)
        out += lane.resolve(seq, seq)
    assert out == [seq for seq in range(len(arrival)) if seq not in lost]
    assert lane.ended
    assert lane.waiting == 0


def test_a_gap_holds_back_what_follows_it() -> None:
    lane: Lane[str] = Lane()
    assert lane.resolve(1, "b") == []
    assert lane.resolve(2, "c") == []
    assert lane.waiting == 2
    assert lane.resolve(0, "a") == ["a", "b", "c"]


def test_a_duplicate_changes_nothing() -> None:
    lane: Lane[str] = Lane()
    assert lane.resolve(0, "first") == ["first"]
    assert lane.resolve(0, "second") == []
    lane.resolve(2, "third")
    assert lane.resolve(2, "fourth") == []
    assert lane.resolve(1, None) == ["third"]


def test_resuming_flushes_what_is_missing_and_keeps_what_came() -> None:
    lane: Lane[str] = Lane()
    lane.resolve(1, "b")
    lane.resolve(3, "d")
    lane.resolve(5, "f")
    assert lane.resume(5) == ["b", "d", "f"]
    assert lane.next == 6
    assert lane.resume(2) == []
    assert lane.next == 6
    assert lane.resolve(4, "e") == []


def test_a_lane_may_begin_late() -> None:
    lane: Lane[str] = Lane(next_seq=7)
    assert lane.resolve(6, "old") == []
    assert lane.resolve(7, "new") == ["new"]


def test_the_end_may_be_known_before_the_last_jobs_are() -> None:
    lane: Lane[str] = Lane()
    lane.end(2)
    assert not lane.ended
    assert lane.resolve(2, "beyond the end") == []
    lane.resolve(1, "b")
    assert not lane.ended
    assert lane.resolve(0, None) == ["b"]
    assert lane.ended


def test_a_lane_without_jobs_ends_at_once() -> None:
    lane: Lane[str] = Lane()
    assert not lane.ended
    lane.end(0)
    assert lane.ended


def test_beyond_its_limit_a_lane_waits_no_longer() -> None:
    lane: Lane[int] = Lane(limit=3)
    assert [lane.resolve(seq, seq) for seq in (1, 2, 4)] == [[], [], []]
    assert lane.resolve(5, 5) == [1, 2]
    assert lane.waiting == 2
    assert lane.resolve(3, 3) == [3, 4, 5]
