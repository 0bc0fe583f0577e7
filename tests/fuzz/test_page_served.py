"""The live page as it is really served, under noise: it answers or hangs up, logs no error of its own, and goes on."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from bimodal.broker.sockets import make_private
from tests.workers.view.making import Page

TIMES = int(os.environ.get("BIMODAL_FUZZ", "1"))
PATHS = ("/", "/enter", "/stream", "/events", "/visit", "/visitors", "/metrics", "/livez", "/readyz", "/page/../x")
HEADERS = ("Host", "Origin", "Cookie", "Authorization", "Content-Length", "Transfer-Encoding", "Upgrade", "Accept")
VALUES = ("localhost", "127.0.0.1", "[::1", "chunked", "websocket", "-1", "99999999999", "a=b; c", "Bearer x", "*/*")

some = settings(max_examples=60 * TIMES, deadline=None, suppress_health_check=list(HealthCheck), database=None)

text = st.text(st.characters(codec="latin-1"), max_size=12)
header = st.tuples(st.one_of(st.sampled_from(HEADERS), text), st.one_of(st.sampled_from(VALUES), text))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request."""
    method = draw(st.sampled_from(("GET", "POST", "HEAD", "PUT", "OPTIONS", "\0", "GET ")))
    path = draw(st.sampled_from(PATHS)) + draw(st.one_of(st.just(""), text))
    headers = [f"{name}: {value}" for name, value in draw(st.lists(header, max_size=4))]
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + draw(st.binary(max_size=60))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder: Path = tmp_path_factory.mktemp("page") / "s"
    make_private(folder)
    found = Page(folder)
    yield found
    found.close()


@pytest.fixture(autouse=True)
def nothing_is_logged(page: Page, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No error of our own, and it still answers."""
    with caplog.at_level(logging.ERROR):
        yield
    assert page.server.alive
    client = http.client.HTTPConnection(*_place(page), timeout=20)
    client.request("GET", "/livez")
    assert client.getresponse().status == 200
    client.close()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def _place(page: Page) -> tuple[str, int]:
    found = urlsplit(page.address)
    assert found.hostname
    assert found.port
    return found.hostname, found.port


def test_requests(page: Page) -> None:
    @some
    @given(st.one_of(requests(), st.binary(max_size=200)))
    def throw(data: bytes) -> None:
        with socket.create_connection(_place(page), timeout=20) as line:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(OSError):
                while line.recv(65536):
                    pass

    throw()


def test_websockets(page: Page) -> None:
    host, port = _place(page)
    deep = '{"a":' + "[" * 5000
    asked = ('{"look":"desk"}', '{"look":null}', '{"look":7}', '{"type":"hello"}', deep, "null", "9" * 500)
    message = st.one_of(st.sampled_from(asked), text, st.binary(max_size=64))

    @some
    @given(st.sampled_from(("/stream", "/events", "/visit?stream=desk", "/nowhere")), st.lists(message, max_size=3))
    def throw(path: str, messages: list[str | bytes]) -> None:
        address = f"ws://{host}:{port}{path}"
        lost = contextlib.suppress(WebSocketException, OSError, TimeoutError)
        with lost, connect(address, open_timeout=20, close_timeout=1) as line:
            for each in messages:
                line.send(each)

    throw()
