"""What waits for a page: the newest of each kind, and never more."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bimodal.workers.view.viewers import MOST_VIEWERS, Audience


def test_nobody_there_nothing_wanted() -> None:
    audience = Audience()
    audience.show("desk", b"x")
    assert (audience.looked_at, audience.hungry, len(audience)) == (frozenset(), frozenset(), 0)


def test_a_stream_is_wanted_while_a_page_shows_it() -> None:
    audience = Audience()
    page = audience.enter()
    assert audience.looked_at == frozenset()
    audience.look(page, "desk")
    assert audience.looked_at == audience.hungry == {"desk"}
    audience.look(page, None)
    assert audience.looked_at == frozenset()
    audience.look(page, "door")
    audience.leave(page)
    assert audience.looked_at == frozenset()


def test_a_page_that_has_not_taken_its_frame_is_not_hungry_and_gets_the_newest() -> None:
    async def scene() -> None:
        audience = Audience()
        slow, fast = audience.enter(), audience.enter()
        for page in (slow, fast):
            audience.look(page, "desk")
        audience.show("desk", b"1")
        assert audience.hungry == frozenset()
        audience.taken((await fast.next())[0])
        assert audience.hungry == {"desk"}
        audience.show("desk", b"2")
        assert await slow.next() == ("frame", b"2")
        assert audience.skipped == 1

    asyncio.run(scene())


def test_history_goes_before_the_frames_that_go_on_from_it() -> None:
    async def scene() -> None:
        page = Audience().enter()
        page.offer("frame", b"f")
        page.offer("state", "s")
        page.offer("history", "h")
        assert [(await page.next())[0] for _ in range(3)] == ["history", "state", "frame"]

    asyncio.run(scene())


def test_another_stream_is_never_shown_an_old_frame() -> None:
    audience = Audience()
    page = audience.enter()
    audience.look(page, "desk")
    audience.show("desk", b"1")
    audience.look(page, "door")
    assert page.hungry


def test_there_is_an_end_of_pages() -> None:
    audience = Audience()
    pages = [audience.enter() for _ in range(MOST_VIEWERS)]
    assert audience.full
    audience.leave(pages[0])
    assert not audience.full


@given(
    st.lists(st.sampled_from(["show desk", "show door", "look desk", "look door", "look nothing", "take"]), max_size=60)
)
def test_hungry_is_part_of_looked_at_and_little_waits(steps: list[str]) -> None:
    async def scene() -> None:
        audience = Audience()
        page = audience.enter()
        for step in steps:
            verb, _, what = step.partition(" ")
            if verb == "show":
                audience.show(what, what.encode())
            elif verb == "look":
                audience.look(page, None if what == "nothing" else what)
            elif not page.hungry:
                kind, payload = await page.next()
                audience.taken(kind)
                assert payload == (page.stream or "").encode()
            assert audience.hungry <= audience.looked_at

    asyncio.run(scene())
