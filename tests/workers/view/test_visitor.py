"""The WebSockets /visit and /events of the real server, without a browser."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bimodal.broker.events import Emotion, Latency, Verdict
from bimodal.broker.visitors import Left, Media, PageAt, VisitorNote, VisitorReceiver
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view import events_socket, visitor
from bimodal.workers.view.listening import address_of, listen
from bimodal.workers.view.server import Server
from bimodal.workers.view.settings import VisitorSettings
from bimodal.workers.view.state import View
from bimodal.workers.view.visitor_message import HEADER, MAGIC, VERSION

TOKEN = "lend me your eyes"
JPEG = bytes(cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes())
PICTURE = HEADER.pack(MAGIC, VERSION, 1, 0, 5.0, 6.0, 0) + JPEG
SOUND = HEADER.pack(MAGIC, VERSION, 2, 48000, 5.0, 6.0, 0) + bytes(4096)


PATIENCE_S = 30.0
Note = TypeVar("Note", bound=VisitorNote)
MODEST = VisitorSettings(max_height=90, max_picture_kbytes=8, max_fps=60, max_kbytes_per_s=100)


class Page:
    """The server, and programs that talk to it."""

    def __init__(self, directory: Path, limits: VisitorSettings, **more: Any) -> None:
        settings = ViewActorSettings(port=0, visitors=limits, visitor_streams=("guest", "other"), **more)
        bound = listen(settings)
        self.address = address_of(settings, bound)
        self.view = View(settings, directory, self.address)
        self.server = Server(self.view, bound)
        self.server.start()

    def open(self, path: str, **how: Any) -> Any:
        """A WebSocket, to be entered."""
        return connect(self.address.replace("http", "ws").rstrip("/") + path, open_timeout=PATIENCE_S, **how)

    @contextlib.contextmanager
    def visit(self, **introduction: object) -> Iterator[ClientConnection]:
        """A visitor who has said who they want to be."""
        with self.open("/visit") as socket:
            socket.send(json.dumps(introduction))
            yield socket

    def refuses(self, **introduction: object) -> tuple[int, str]:
        """How a visit ends that begins like this."""
        with self.visit(**introduction) as socket:
            return end_of(socket)

    def offer(self) -> Any:
        """What the button is told."""
        with urllib.request.urlopen(self.address + "visitors", timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def tell(self, event: Emotion) -> None:
        """An event of the bus."""
        self.server.loop.call_soon_threadsafe(self.view.take, event)


def told(socket: ClientConnection) -> Any:
    """The next message of the server."""
    return json.loads(socket.recv(PATIENCE_S))


def read_on(socket: ClientConnection) -> None:
    """Read to the end."""
    while socket.recv(PATIENCE_S):
        pass


def end_of(socket: ClientConnection) -> tuple[int, str]:
    """The code and the reason that the server closes it with."""
    with pytest.raises(ConnectionClosed) as closed:
        read_on(socket)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Begins a page."""
    pages: list[Page] = []

    def begin(limits: VisitorSettings = MODEST, **more: Any) -> Page:
        pages.append(Page(tmp_path, limits, **more))
        return pages[-1]

    yield begin
    for page in pages:
        page.server.stop()


@pytest.fixture
def page(serve: Any) -> Page:
    begun: Page = serve()
    return begun


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[VisitorReceiver]:
    opened = VisitorReceiver(tmp_path, "guest")
    yield opened
    opened.close()


def until(inbox: VisitorReceiver, kind: type[Note]) -> Note:
    """The next note of a kind."""
    for _ in range(600):
        found = inbox.receive(0.05)
        if found is not None and isinstance(found[0], kind):
            return found[0]
    raise AssertionError(f"no {kind.__name__} came")


def test_a_visit_from_its_beginning_to_its_end(inbox: VisitorReceiver, page: Page) -> None:
    with page.visit(stream="guest") as socket:
        welcome = told(socket)
        assert welcome["type"] == "welcome"
        assert (welcome["max_fps"], welcome["max_width"], welcome["max_height"]) == (60, 160, 90)
        assert page.offer() == {"streams": {"guest": True, "other": False}, "token": False}
        socket.send(PICTURE)
        assert told(socket)["pictures"] == 1
        # The line connects by itself; what comes before that is lost.
        while (found := inbox.receive(0.05)) is None or not isinstance(found[0], Media):
            socket.send(PICTURE)
        note, data = found
        assert isinstance(note, Media)
        assert (note.kind, note.captured_ns, note.sent_ns, data) == ("picture", 5_000_000, 6_000_000, JPEG)
        assert note.arrived_ns > 0
    assert until(inbox, Left).because == "the visitor left"


def test_the_seat_is_free_again_when_the_visitor_has_left(page: Page) -> None:
    for _ in range(2):
        with page.visit(stream="guest") as first:
            assert told(first)["type"] == "welcome"
            code, reason = page.refuses(stream="guest")
            assert (code, "somebody else" in reason) == (4409, True)
            with page.visit(stream="other") as elsewhere:
                assert told(elsewhere)["stream"] == "other"
        while page.offer()["streams"]["guest"]:
            pass  # the server learns that the visitor has left, a moment later


@pytest.mark.parametrize(
    ("introduction", "messages", "code"),
    [
        ({"stream": "desk"}, (), 4404),
        ({"stream": 3}, (), 4400),
        ({}, (), 4400),
        ({"stream": "guest", "more": 1}, (), 4400),
        ({"stream": "guest", "token": "x" * 4000}, (), 4400),
        ({"stream": "guest"}, ("a text",), 4400),
        ({"stream": "guest"}, (b"no picture",), 4400),
        ({"stream": "guest"}, (PICTURE[:60],), 4400),
        ({"stream": "guest"}, (PICTURE + bytes(8000),), 4413),
        ({"stream": "guest"}, (PICTURE,) * 250, 4429),
        ({"stream": "guest"}, (SOUND,) * 120, 4429),
    ],
)
def test_what_is_wrong_ends_the_visit_with_a_reason(
    page: Page, introduction: dict[str, object], messages: tuple[bytes | str, ...], code: int
) -> None:
    with page.visit(**introduction) as socket:
        with contextlib.suppress(ConnectionClosed):  # it may be refused before all is said
            for message in messages:
                socket.send(message)
        found, reason = end_of(socket)
    assert found == code
    assert reason
    with page.visit(stream="guest") as again:
        assert told(again)["type"] == "welcome", "the seat is free"


def test_the_token_is_asked_for_and_a_wrong_one_takes_its_time(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitor, "AFTER_WRONG_TOKEN_S", 0.01)
    page = serve(VisitorSettings(token=TOKEN))
    assert page.offer()["token"] is True
    for wrong in ({}, {"token": ""}, {"token": TOKEN[:-1]}, {"token": "ä" * 17}):
        code, _ = page.refuses(stream="guest", **wrong)
        assert code == 4401, "nothing but the token opens it"
    code, _ = page.refuses(stream="guest", token="\ud800")
    assert code in (4400, 4401)
    with page.visit(stream="guest", token=TOKEN) as socket:
        assert told(socket)["type"] == "welcome"


@pytest.mark.parametrize("path", ["/visit", "/events"])
def test_pages_of_other_sites_and_people_without_the_page_s_token_stay_outside(serve: Any, path: str) -> None:
    for page, how, status in (
        (serve(), {"origin": "https://evil.test"}, 403),
        (serve(token=TOKEN), {}, 401),
        (serve(token=TOKEN), {"additional_headers": {"Authorization": "Bearer no"}}, 401),
    ):
        with pytest.raises(InvalidStatus) as refused, page.open(path, **how):
            pass
        assert refused.value.response.status_code == status
    with serve(token=TOKEN).open(path, additional_headers={"Authorization": f"Bearer {TOKEN}"}):
        pass


def test_capture_is_told_where_the_page_is(page: Page, inbox: VisitorReceiver) -> None:
    visits = visitor.Visits(VisitorSettings(), ["guest"], page.view.directory, page.view.address)
    for second in range(1000):
        visits.announce(second * visitor.ANNOUNCE_EVERY_S)
        found = inbox.receive(0.02)
        if found is not None:
            break
    visits.close()
    assert found is not None
    assert found[0] == PageAt(page.address)


def event(stream: str, seq: int) -> Emotion:
    return Emotion(
        stream=stream,
        seq=seq,
        t=seq / 25,
        faces=(),
        speech=None,
        emotion=Verdict(label=None, confidence=None, because="no face, no sound"),
        latency_ms=Latency(queue=1.0, inference=2.0, total=4.0),
        models={},
    )


def test_a_reader_may_want_changes_only(page: Page) -> None:
    with page.open("/events?changes=1") as changes:
        for seq in range(5):
            page.tell(event("desk", seq))
        page.tell(event("door", 9))
        assert [(one["stream"], one["seq"]) for one in (told(changes), told(changes))] == [("desk", 0), ("door", 9)]


def test_events_come_as_json_and_of_one_stream_where_one_is_asked_for(page: Page) -> None:
    with page.open("/events?stream=desk") as desk, page.open("/events") as every:
        for seq, stream in enumerate(["desk", "door", "desk"]):
            page.tell(event(stream, seq))
        assert [told(desk)["seq"] for _ in range(2)] == [0, 2]
        found = [told(every) for _ in range(3)]
    assert [one["stream"] for one in found] == ["desk", "door", "desk"]
    assert found[0]["emotion"] == {
        "label": None, "confidence": None, "agreement": None, "because": "no face, no sound", "probabilities": None,
        "valence": None, "arousal": None, "affect": None,
    }  # fmt: skip
    assert set(found[0]) == {"type", *Emotion.__struct_fields__}


def test_a_page_of_a_named_site_may_read_events_but_lend_no_camera(serve: Any) -> None:
    here, there, word = "http://localhost:3000", "http://localhost:4000", TOKEN.replace(" ", "-")
    open_page, closed_page = serve(origins=(here,)), serve(token=word, origins=(here,))
    with open_page.open("/events", origin=here) as reader:
        open_page.tell(event("desk", 1))
        assert told(reader)["seq"] == 1
    with closed_page.open("/events", origin=here, subprotocols=["bimodal", word]) as reader:
        assert reader.subprotocol == "bimodal"
    for page, path, how in (
        (open_page, "/events", {"origin": there}),
        (open_page, "/visit", {"origin": here}),
        (open_page, "/stream", {"origin": here}),
        (closed_page, "/events", {"origin": here}),
        (closed_page, "/events", {"origin": here, "subprotocols": ["bimodal", "whatever"]}),
    ):
        with pytest.raises(InvalidStatus), page.open(path, **how):
            pass


def test_a_slow_reader_loses_the_oldest_and_holds_nobody_up() -> None:
    feed = events_socket.EventFeed()
    reader = events_socket._Reader(None, None)
    feed._readers.add(reader)
    for seq in range(1000):
        feed.publish(event("desk", seq))
    assert len(reader.waiting) == events_socket.MOST_WAITING
    assert json.loads(reader.waiting[-1])["seq"] == 999
