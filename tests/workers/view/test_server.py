"""The page over real HTTP and WebSockets, fed by a real broker."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from bimodal.broker.control import Accepted, ControlServer, RecordRequest, Refused, Reply, Request
from bimodal.workers.errors import ViewError
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.listening import listen
from bimodal.workers.view.server import FILES, Server
from bimodal.workers.view.viewers import MOST_VIEWERS
from tests.reverse_proxy import proxying
from tests.workers.view.making import PATIENCE_S, Page, beat
from tests.workers.view.test_live_socket import unpacked

TOKEN = "a-token-of-sixteen-or-more"
Serve = Callable[..., Page]


def flow(page: Page, **how: Any) -> ClientConnection:
    return connect(page.address.replace("http", "ws") + "stream", open_timeout=PATIENCE_S, **how)


def look(line: ClientConnection, stream: str | None) -> dict[str, Any]:
    """Look at a stream; the history that answers. Then frames may come."""
    line.send(json.dumps({"look": stream}))
    return told(line, "history")


def told(line: ClientConnection, kind: str) -> dict[str, Any]:
    """The next text message of a kind."""
    while True:
        data = line.recv(PATIENCE_S)
        if isinstance(data, str) and (message := json.loads(data))["type"] == kind:
            return message


def frame(line: ClientConnection) -> tuple[dict[str, Any], bytes]:
    """The next frame."""
    while True:
        data = line.recv(PATIENCE_S)
        if isinstance(data, bytes):
            return unpacked(data)


# ------------------------------------------------------------------------------------ what flows


def test_a_page_gets_each_frame_with_its_event(serve: Serve) -> None:
    page = serve()
    with flow(page) as line:
        assert told(line, "hello")["session"] == page.view.session
        look(line, "desk")
        for seq in range(5):
            page.frame("desk", seq)
            head, data = frame(line)
            assert (head["event"]["seq"], head["size"], head["picture"]) == (seq, [64, 48], "jpeg")
            assert data.startswith(b"\xff\xd8")


def test_nothing_is_encoded_while_nobody_looks(serve: Serve) -> None:
    page = serve()
    for seq in range(10):
        page.frame("desk", seq)
    assert page.came("desk", 9)
    with flow(page) as line:  # a page that is open, but in a hidden tab
        look(line, None)
        for seq in range(10, 20):
            page.frame("desk", seq)
        assert page.came("desk", 19)
        assert page.actor.encoded == 0
        assert look(line, "desk")["points"]
        page.frame("desk", 20)
        frame(line)
        assert page.actor.encoded == 1
        look(line, None)
        page.frame("desk", 21)
        assert page.came("desk", 21)
        assert page.actor.encoded == 1


def test_a_frame_is_encoded_once_for_all_pages_and_only_of_streams_that_are_shown(serve: Serve) -> None:
    page = serve(streams=("desk", "door"))
    with flow(page) as one, flow(page) as other:
        look(one, "desk")
        look(other, "desk")
        for seq in range(5):
            page.frame("door", seq)
            page.frame("desk", seq)
            assert frame(one) == frame(other)
        assert page.came("door", 4)
    assert page.actor.encoded == 5


def test_hidden_faces_leave_boxes_and_no_pixel(serve: Serve) -> None:
    page = serve(faces="hide")
    with flow(page) as line:
        assert told(line, "hello")["faces"] == "hide"
        look(line, "desk")
        for seq in range(3):
            page.frame("desk", seq)
            head, data = frame(line)
            assert (head["picture"], data) == ("hidden", b"")
            assert len(head["event"]["faces"]) == 1
    assert page.actor.encoded == 0


def test_a_slow_page_gets_fewer_frames_and_holds_nobody_up(serve: Serve) -> None:
    page = serve(size=(480, 640))
    noise = np.random.default_rng(1).integers(0, 255, (480, 640, 3), np.uint8)
    with flow(page, max_queue=1) as slow, flow(page) as fast:
        look(slow, "desk")
        look(fast, "desk")
        seq = 0
        while page.view.viewers.skipped == 0 and seq < 400:
            page.frame("desk", seq, noise)
            assert frame(fast)[0]["event"]["seq"] == seq
            seq += 1
        assert page.view.viewers.skipped > 0
        # What it gets when it reads again is in order, and ends with the newest.
        page.frame("desk", seq, noise)
        assert frame(fast)[0]["event"]["seq"] == seq
        seen = [frame(slow)[0]["event"]["seq"]]
        while seen[-1] != seq:
            seen.append(frame(slow)[0]["event"]["seq"])
        assert seen == sorted(seen)
        assert len(seen) < seq + 1


def test_processes_streams_and_what_is_wrong_are_told(serve: Serve) -> None:
    page = serve()
    page.frame("desk", 0)
    page.capture.send(beat("face 1", "failed", "its model is gone"))
    with flow(page) as line:
        state = told(line, "state")
        while not state["processes"]:
            state = told(line, "state")
    assert state["streams"][0]["stream"] == "desk"
    assert state["processes"][0]["word"] == "failed"
    assert state["banners"] == [{"level": "error", "about": "face 1", "text": "failed: its model is gone"}]


def test_pages_that_leave_are_forgotten(serve: Serve) -> None:
    page = serve()
    with flow(page) as line:
        look(line, "desk")
        assert page.view.viewers.shown == {"desk"}
    with flow(page) as line:  # by the time that this one is told something, the first is gone
        told(line, "hello")
        while page.view.viewers.shown:
            told(line, "state")
        assert len(page.view.viewers) == 1


@pytest.mark.parametrize(
    "rubbish",
    [
        "",
        "{",
        "[]",
        '{"look": 5}',
        '{"look": "desk", "x": 1}',
        "x" * 5000,
        b"\x00",
        "{}",
        '{"record": 1}',
        '{"record": true, "look": null}',
    ],
)
def test_what_no_page_says_ends_the_line_and_nothing_else(serve: Serve, rubbish: str | bytes) -> None:
    page = serve()
    with flow(page) as good, flow(page) as bad:
        bad.send(rubbish)
        with pytest.raises(ConnectionClosed):
            told(bad, "history")
        look(good, "desk")


def test_more_pages_than_can_be_served_are_told_so(serve: Serve) -> None:
    page = serve()
    with ExitStack() as pages:
        for _ in range(MOST_VIEWERS):
            told(pages.enter_context(flow(page)), "hello")
        with flow(page) as one_more, pytest.raises(ConnectionClosed, match="too many pages are open"):
            told(one_more, "hello")


# ------------------------------------------------------------------------------------ who is let in


def status_of_refusal(page: Page, **how: Any) -> int:
    with pytest.raises(InvalidStatus) as refused, flow(page, **how):
        pass
    return refused.value.response.status_code


def test_other_sites_pages_are_refused(serve: Serve) -> None:
    page = serve()
    assert status_of_refusal(page, origin="http://evil.example") == 403
    with flow(page, origin=page.address.rstrip("/")) as line:
        told(line, "hello")
    assert httpx.get(page.address, headers={"host": "evil.example"}).status_code == 403


def test_the_token_is_asked_for_and_opens_the_door(serve: Serve) -> None:
    page = serve(token=TOKEN)
    assert status_of_refusal(page) == 401
    assert httpx.get(page.address).status_code == 401
    assert httpx.get(page.address + "page/app.js").status_code == 401
    with httpx.Client(base_url=page.address, headers={"accept": "text/html"}) as browser:
        assert browser.get("/").headers["location"] == "enter"
        assert browser.get("/page/visitor.html").headers["location"] == "../enter"
        assert "Token" in browser.get("/", follow_redirects=True).text
        assert browser.post("/enter", data={"token": "wrong"}).status_code == 401
        assert browser.post("/enter", content=b"token=" + b"x" * 10_000).status_code == 401
        entered = browser.post("/enter", data={"token": TOKEN})
        assert (entered.status_code, entered.headers["location"]) == (303, "./")
        cookie = entered.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert TOKEN not in cookie
        assert browser.get("/").status_code == 200
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with flow(page, additional_headers={"cookie": cookies}) as line:
        told(line, "hello")
    with flow(page, additional_headers={"authorization": f"Bearer {TOKEN}"}) as line:
        told(line, "hello")
    linked = httpx.get(page.address + "enter", params={"token": TOKEN})
    assert (linked.status_code, linked.headers["location"]) == (303, "./")


def test_every_answer_keeps_the_page_to_itself(serve: Serve) -> None:
    page = serve(token=TOKEN)
    for path in ("", "enter", "nowhere", "page/style.css"):
        headers = httpx.get(page.address + path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_token_stands_in_no_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        page = serve(token=TOKEN)
        httpx.get(page.address + "enter", params={"token": TOKEN})
        with flow(page, additional_headers={"authorization": f"Bearer {TOKEN}"}) as line:
            told(line, "hello")
    ours = [
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore", "websockets.client"))
    ]
    assert TOKEN not in "".join(record.getMessage() for record in ours)


@pytest.mark.parametrize(
    "path", ["page/../context.py", "page/%2e%2e/context.py", "page/..%2fcontext.py", "page//etc/passwd"]
)
def test_files_are_those_of_the_page_only(serve: Serve, path: str) -> None:
    assert httpx.get(serve().address + path).status_code == 404


# ------------------------------------------------------------------------------------ behind a reverse proxy


@pytest.mark.parametrize(
    ("strip", "base_path"), [(False, "/lab/emotions"), (False, "/lab/emotions/"), (True, "/lab/emotions"), (True, "/")]
)
def test_behind_a_proxy_every_address_of_the_page_is_below_its_path(serve: Serve, strip: bool, base_path: str) -> None:
    page = serve(token=TOKEN, base_path=base_path)
    port = int(page.address.rstrip("/").rpartition(":")[2])
    with (
        proxying(port, "/lab/emotions", strip=strip) as proxy,
        httpx.Client(headers={"accept": "text/html"}, follow_redirects=True) as browser,
    ):
        asked = browser.get(f"{proxy.address}/page/visitor.html")
        assert str(asked.url) == f"{proxy.address}/enter"
        entered = browser.post(f"{proxy.address}/enter", data={"token": TOKEN})
        assert (str(entered.url), entered.status_code) == (f"{proxy.address}/", 200)
        assert {cookie.path for cookie in browser.cookies.jar} == {base_path}
        for at, text in ((str(entered.url), entered.text), (f"{proxy.address}/page/visitor.html", "")):
            shown = text or browser.get(at).text
            linked = [urljoin(at, one) for one in re.findall(r'(?:href|src)="([^"#]+)"', shown)]
            assert len(linked) >= 5
            assert {browser.get(one).status_code for one in linked} == {200}
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)
        with connect(
            f"{proxy.address.replace('http', 'ws')}/stream",
            additional_headers={"cookie": cookies},
            origin=proxy.address.removesuffix("/lab/emotions"),
            open_timeout=PATIENCE_S,
        ) as line:
            told(line, "hello")


def test_the_path_of_the_proxy_without_its_slash_leads_to_the_page(serve: Serve) -> None:
    page = serve(base_path="/lab/emotions")
    asked = httpx.get(page.address + "lab/emotions", follow_redirects=True)
    assert (str(asked.url), asked.status_code) == (page.address + "lab/emotions/", 200)
    assert httpx.get(page.address + "lab/emotionsx").status_code == 404
    assert httpx.get(page.address).status_code == 200, "without the proxy it answers as before"


def test_no_address_in_the_pages_files_begins_at_the_root() -> None:
    for file in (*FILES.glob("*.html"), *FILES.glob("*.js"), *FILES.glob("*.css")):
        found = re.findall(
            r"""(?:href|src|action)="/|(?:import|from|fetch|URL|addModule)\(?\s*["'`]/|url\(/""", file.read_text()
        )
        assert not found, file.name


# ------------------------------------------------------------------------------------ where it is served


def test_a_port_that_is_taken_gives_way_to_the_next() -> None:
    with closing(listen(ViewActorSettings(port=0))) as first:
        taken = first.getsockname()[1]
        with closing(listen(ViewActorSettings(port=taken))) as second:
            assert taken < second.getsockname()[1] < taken + 32


def test_a_new_life_comes_back_to_the_port_of_the_old_one() -> None:
    with closing(listen(ViewActorSettings(port=0))) as first:
        port = first.getsockname()[1]
        with closing(listen(ViewActorSettings(port=0), before=port)) as other:
            assert other.getsockname()[1] != port
    with closing(listen(ViewActorSettings(port=0), before=port)) as again:
        assert again.getsockname()[1] == port


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_a_host_that_is_not_ours_is_refused_in_a_sentence(host: str) -> None:
    with pytest.raises(ViewError, match=f"can't be served at '?{host}"):
        listen(ViewActorSettings(host=host, token="x" * 16))


def test_a_certificate_that_cannot_be_read_is_named(serve: Serve, tmp_path: Any) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    page = serve()
    for name in ("c.pem", "none.pem"):
        settings = ViewActorSettings(tls_certificate=str(tmp_path / name), tls_key=str(tmp_path / name))
        page.view.settings = settings
        with socket.socket() as bound, pytest.raises(ViewError, match=name):
            Server(page.view, bound)


def test_recording_is_asked_of_the_supervisor_and_a_refusal_is_told(serve: Serve) -> None:
    page = serve(records=True)
    asked: list[bool] = []
    ended = threading.Event()

    def answer(request: Request) -> Reply:
        assert isinstance(request, RecordRequest)
        asked.append(request.on)
        return Accepted("it begins") if request.on else Refused("the disk is full")

    def supervise() -> None:
        server = ControlServer(page.view.directory)
        while not ended.wait(0.005):
            server.serve(answer)
        server.close()

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        with flow(page) as line:
            assert told(line, "state")["recording"] == "off"
            for on in (True, False):
                line.send(json.dumps({"record": on}))
            assert told(line, "notice") == {"type": "notice", "about": "recording", "text": "the disk is full"}
            assert asked == [True, False]
    finally:
        ended.set()
        supervisor.join()


def test_without_a_folder_nobody_is_asked_to_record(serve: Serve) -> None:
    with flow(serve()) as line:
        line.send(json.dumps({"record": True}))
        assert "outputs.record" in told(line, "notice")["text"]
        assert told(line, "state")["recording"] is None
