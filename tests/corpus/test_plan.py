"""The plan: places differ, the largest clip goes first, refusals stand in the table, memory stays flat."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from bimodal.corpus.plan import Plan
from bimodal.corpus.rows import MOST_TRIES, Item
from bimodal.workers.errors import SourceError
from tests.corpus.making import item, row_of


def test_two_files_with_one_place_are_refused_and_one_named_twice_counts_once(tmp_path: Path) -> None:
    plan = Plan()
    one = item(tmp_path / "a.mp4")
    plan.add([one, one])
    assert plan.states() == {"new": 1}
    with pytest.raises(SourceError, match=r"would both be a\.…: name their folder instead"):
        plan.add([item(tmp_path / "b" / "a.mp4")])


def test_the_largest_clip_goes_first_and_pictures_together(tmp_path: Path) -> None:
    plan = Plan()
    clips = [item(tmp_path / f"{n}.mp4", bytes=n) for n in (5, 9, 7)]
    pictures = [item(tmp_path / f"{n}.png", f"p{n}", picture=True) for n in range(5)]
    plan.add([*clips, *pictures])
    plan.mark([one.place for one in [*clips, *pictures]], "waiting")
    plan.mark(["7"], "waiting", work="join")
    order = []
    while (found := plan.next_clip()) is not None:
        order.append((found[0].bytes, found[1]))
        plan.mark([found[0].place], "given")
    assert order == [(9, "do"), (7, "join"), (5, "do")]
    assert len(plan.next_pictures(3)) == 3
    assert plan.tried("p3") == 1 < MOST_TRIES
    assert [one.place for one in plan.next_pictures(5)] == ["p3"]


def test_a_refusal_stands_in_the_table_and_the_row_below_it_is_kept(tmp_path: Path) -> None:
    plan = Plan()
    one, other = item(tmp_path / "a.mp4"), item(tmp_path / "b.mp4")
    plan.add([one])
    plan.put([row_of(one), row_of(other)])
    plan.refuse(row_of(one, status="failed", reason="no"))
    assert [(row.clip, row.status) for row in plan.table()] == [("a", "failed"), ("b", "done")]
    assert [row.clip for row in plan.table(own=True)] == ["a"]
    assert [row.status for row in plan.rows()] == ["done", "done"]
    plan.drop_rows(lambda row: row.clip == "b")
    assert plan.row("a") is None
    assert [row.clip for row in plan.rows("done")] == ["b"]


def test_a_hundred_thousand_items_take_no_memory_of_python() -> None:
    plan = Plan()
    tracemalloc.start()
    try:
        plan.add(Item(place=f"p{n % 300}/{n}", file=f"/x/{n}", source=f"{n}.mp4", bytes=n) for n in range(100_000))
        assert sum(1 for _ in plan.items()) == 100_000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 5_000_000
