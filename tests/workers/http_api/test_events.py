"""Outboxes of readers of events."""

from __future__ import annotations

import asyncio
import json

import pytest

from bimodal.workers.http_api.events import MOST_WAITING, EventsQuery, Feed, Reader, Sent, as_server_sent
from bimodal.workers.http_api.problems import ProblemError
from tests.workers.view.making import event, face


def all_of(reader: Reader) -> list[dict[str, object]]:
    """What a reader gets until it is closed."""

    async def read() -> list[dict[str, object]]:
        reader.close()
        return [json.loads(sent.json) async for sent in reader.messages() if sent is not None]

    return asyncio.run(read())


def test_a_reader_gets_what_it_asked_for() -> None:
    feed = Feed(8)
    with (
        feed.reader(EventsQuery()) as every,
        feed.reader(EventsQuery(stream="door")) as door,
        feed.reader(EventsQuery(changes=True)) as changes,
        feed.reader(EventsQuery(count=2)) as two,
    ):
        for seq in range(4):
            feed.publish(event("desk", seq, face()))
        feed.publish(event("desk", 4))
        feed.publish(event("door", 0))
        told = {name: all_of(reader) for name, reader in
                {"every": every, "door": door, "changes": changes, "two": two}.items()}  # fmt: skip
    assert [one["seq"] for one in told["every"]] == [0, 1, 2, 3, 4, 0]
    assert [one["stream"] for one in told["door"]] == ["door"]
    assert [(one["stream"], one["seq"]) for one in told["changes"]] == [("desk", 0), ("desk", 4), ("door", 0)]
    assert len(told["two"]) == 2
    assert len(feed) == 0


def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    reader = Reader(EventsQuery())
    for seq in range(MOST_WAITING + 3):
        reader.put(Sent(b"%d" % seq, f"1-{seq}"))
    told = all_of(reader)
    assert told[0] == {"type": "lost", "count": 3}
    assert told[1:] == list(range(3, MOST_WAITING + 3))


def test_more_readers_than_allowed_are_refused() -> None:
    feed = Feed(1)
    with feed.reader(EventsQuery()), pytest.raises(ProblemError, match="1 programs read"), feed.reader(EventsQuery()):
        pass


@pytest.mark.parametrize("turns", range(5))
def test_a_reader_that_leaves_as_an_event_comes_is_gone(turns: int) -> None:
    async def leave() -> int:
        feed = Feed(1)
        reading = asyncio.create_task(read(feed))
        await asyncio.sleep(0.01)
        assert len(feed) == 1
        feed.publish(event("desk", 0))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait({reading}, timeout=1.0)
        return len(feed)

    async def read(feed: Feed) -> None:
        async for _ in feed.server_sent(EventsQuery()):
            pass

    assert asyncio.run(leave()) == 0


def test_a_message_of_server_sent_events_is_one_block() -> None:
    assert as_server_sent(Sent(b'{"a":1}', "1-7")) == b'id: 1-7\nevent: emotion\ndata: {"a":1}\n\n'
    assert as_server_sent(Sent(b"{}")) == b"event: lost\ndata: {}\n\n"
