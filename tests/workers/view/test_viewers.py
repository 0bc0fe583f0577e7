"""The outbox of a page holds the newest of each kind, and never more."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.view.viewers import MOST_VIEWERS, Viewers


def test_nobody_there_nothing_wanted() -> None:
    viewers = Viewers()
    viewers.put_frame("desk", b"x")
    assert (viewers.shown, viewers.awaiting, len(viewers)) == (frozenset(), frozenset(), 0)


def test_a_stream_is_wanted_while_a_page_shows_it() -> None:
    viewers = Viewers()
    page = viewers.add()
    assert viewers.shown == frozenset()
    viewers.select(page, "desk")
    assert viewers.shown == viewers.awaiting == {"desk"}
    viewers.select(page, None)
    assert viewers.shown == frozenset()
    viewers.select(page, "door")
    viewers.remove(page)
    assert viewers.shown == frozenset()


def test_a_page_that_has_not_taken_its_frame_awaits_none_and_gets_the_newest() -> None:
    async def scene() -> None:
        viewers = Viewers()
        slow, fast = viewers.add(), viewers.add()
        for page in (slow, fast):
            viewers.select(page, "desk")
        viewers.put_frame("desk", b"1")
        assert viewers.awaiting == frozenset()
        viewers.on_sent((await fast.next())[0])
        assert viewers.awaiting == {"desk"}
        viewers.put_frame("desk", b"2")
        assert await slow.next() == ("frame", b"2")
        assert viewers.skipped == 1

    asyncio.run(scene())


def test_history_goes_before_the_frames_that_go_on_from_it() -> None:
    async def scene() -> None:
        page = Viewers().add()
        page.put("frame", b"f")
        page.put("state", "s")
        page.put("history", "h")
        assert [(await page.next())[0] for _ in range(3)] == ["history", "state", "frame"]

    asyncio.run(scene())


def test_another_stream_is_never_shown_an_old_frame() -> None:
    viewers = Viewers()
    page = viewers.add()
    viewers.select(page, "desk")
    viewers.put_frame("desk", b"1")
    viewers.select(page, "door")
    assert page.awaiting


def test_there_is_an_end_of_pages() -> None:
    viewers = Viewers()
    pages = [viewers.add() for _ in range(MOST_VIEWERS)]
    assert viewers.full
    viewers.remove(pages[0])
    assert not viewers.full


@given(
    st.lists(st.sampled_from(["show desk", "show door", "look desk", "look door", "look nothing", "take"]), max_size=60)
)
def test_awaited_streams_are_shown_ones_and_little_waits(steps: list[str]) -> None:
    async def scene() -> None:
        viewers = Viewers()
        page = viewers.add()
        for step in steps:
            verb, _, what = step.partition(" ")
            if verb == "show":
                viewers.put_frame(what, what.encode())
            elif verb == "look":
                viewers.select(page, None if what == "nothing" else what)
            elif not page.awaiting:
                kind, payload = await page.next()
                viewers.on_sent(kind)
                assert payload == (page.stream or "").encode()
            assert viewers.awaiting <= viewers.shown

    asyncio.run(scene())
