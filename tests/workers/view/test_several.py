"""One page over two sessions: names that say whose they are, pictures of both, one /metrics, one /readyz."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from bimodal.broker.messages import Status, StreamStatus
from bimodal.broker.sockets import events_endpoint
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.several import Place, SeveralSessions, merged, process_name, renamed
from tests.broker.making import opened
from tests.workers.view.making import PATIENCE_S, Page, beat, event
from tests.workers.view.test_server import flow, frame, look

Serve = Callable[..., Page]


def test_names_say_whose_they_are_and_keep_their_kind_first() -> None:
    assert process_name("face 2", "lab") == "face lab/2"
    assert process_name("capture desk", "lab") == "capture lab/desk"
    assert process_name("broker", "lab") == "broker lab"
    assert process_name("gpu: face 77", "lab") == "lab/gpu: face 77"
    assert renamed(event("desk", 1), "lab").stream == "lab/desk"  # type: ignore[union-attr]
    assert renamed(opened("desk", "latest"), "lab").stream == "lab/desk"  # type: ignore[union-attr]
    assert renamed(beat("fusion"), "lab").name == "fusion lab"  # type: ignore[union-attr]


def test_counters_of_several_sessions_are_those_of_one() -> None:
    def status(stream: str, waiting: int) -> Status:
        one = StreamStatus(
            stream=stream, policy="latest", source="camera 0", offered={}, done={}, dropped={}, failed={}
        )
        return Status(streams=(one,), waiting=waiting, workers={"face": 2}, undecodable=1)

    both = merged([status("a/desk", 3), status("b/desk", 4)])
    assert [one.stream for one in both.streams] == ["a/desk", "b/desk"]
    assert (both.waiting, both.workers, both.undecodable) == (7, {"face": 4}, 2)


@pytest.fixture
def both(serve: Serve) -> Iterator[tuple[SeveralSessions, Page, Page]]:
    lab, hall = serve(), serve()
    places = []
    for name, page in (("lab", lab), ("hall", hall)):
        folder = page.view.directory
        places.append(Place(name, events_endpoint(folder), folder))
    several = SeveralSessions(places, ViewActorSettings(port=0))
    yield several, lab, hall
    several.close()


def test_streams_of_both_sessions_are_on_one_page_and_in_one_exposition(
    both: tuple[SeveralSessions, Page, Page],
) -> None:
    several, lab, hall = both
    end = time.monotonic() + PATIENCE_S
    seq = 0
    while len(several.view.system.streams) < 2:
        assert time.monotonic() < end
        seq += 1
        lab.frame("desk", seq)
        hall.frame("desk", seq)
        time.sleep(0.05)
    assert sorted(several.view.system.streams) == ["hall/desk", "lab/desk"]
    with httpx.Client(base_url=several.address) as client:
        text = client.get("/metrics").text
        assert 'bimodal_end_to_end_seconds_count{stream="lab/desk"}' in text
        assert 'bimodal_end_to_end_seconds_count{stream="hall/desk"}' in text
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert {reason.partition(":")[0] for reason in ready.json()["reasons"]} == {"lab", "hall"}


def test_a_session_on_this_machine_shows_its_pictures(both: tuple[SeveralSessions, Page, Page]) -> None:
    several, lab, _ = both
    page = Page.__new__(Page)  # only its address is needed
    page.address = several.address
    with flow(page) as line:
        end = time.monotonic() + PATIENCE_S
        while "lab/desk" not in several.view.system.streams:
            assert time.monotonic() < end
            lab.announce("desk")
            lab.capture.send(opened("desk", "latest"))
            time.sleep(0.05)
        look(line, "lab/desk")
        for seq in range(1, 200):
            lab.frame("desk", seq)
            if "lab/desk" not in several.view.viewers.awaiting:
                break
            time.sleep(0.02)
        _, jpeg = frame(line)
        assert jpeg[:2] == b"\xff\xd8"
