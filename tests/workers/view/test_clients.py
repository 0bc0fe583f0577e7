"""The clients of docs/examples/clients, as a user starts them: each prints the first event that it gets."""

from __future__ import annotations

import itertools
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bimodal.broker.sockets import events_endpoint
from tests.browser import chromium
from tests.workers.view.making import PATIENCE_S, Page

CLIENTS = Path(__file__).parents[3] / "docs" / "examples" / "clients"
TOKEN = "a-token-of-sixteen-or-more"
Serve = Callable[..., Page]


@contextmanager
def feeding(page: Page) -> Iterator[None]:
    """Events of the stream `desk` for as long as somebody waits for one."""
    ended = threading.Event()

    def feed() -> None:
        for seq in itertools.count():
            page.frame("desk", seq)
            if ended.wait(0.05):
                return

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def first_line(page: Page, *command: str | Path) -> str:
    """What a program prints first."""
    environment = {**os.environ, "BIMODAL_TOKEN": TOKEN}
    lines: queue.Queue[str] = queue.Queue()
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        reader = threading.Thread(target=lambda: lines.put(process.stdout.readline()))  # type: ignore[union-attr]
        reader.start()
        try:
            with feeding(page):
                line = lines.get(timeout=PATIENCE_S * 2)
        finally:
            process.kill()
            reader.join()
        assert line, process.stderr.read() if process.stderr else ""
        return line.strip()


def test_python(serve: Serve, tmp_path: Path) -> None:
    page = serve()
    line = first_line(page, sys.executable, CLIENTS / "listen.py", events_endpoint(page.view.directory))
    assert re.fullmatch(r"desk \d+\.\d\d happy", line)


def test_node(serve: Serve) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    version = [int(part) for part in said.strip().lstrip("v").split(".")[:2]]
    if version < [20, 10]:
        pytest.skip(f"Node.js {said.strip()} has no WebSocket")
    options = [] if version[0] >= 22 else ["--experimental-websocket"]
    page = serve(token=TOKEN)
    address = page.address.replace("http", "ws") + "events?changes=1"
    line = first_line(page, node, *options, CLIENTS / "listen.mjs", address)
    assert re.fullmatch(r"desk \d+\.\d\d happy", line)


def test_cpp(serve: Serve, tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    program = tmp_path / "listen"
    command = [compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", str(CLIENTS / "listen.cpp"), "-o", str(program)]
    subprocess.run(command, check=True)
    page = serve(token=TOKEN)
    host, port = page.address.removeprefix("http://").strip("/").split(":")
    assert first_line(page, program, host, port).endswith("happy")


def test_a_browser(serve: Serve) -> None:
    from tests.http_server import serving

    def answer(request: object) -> None:
        body = (CLIENTS / "listen.html").read_bytes()
        request.send_response(200)  # type: ignore[attr-defined]
        request.send_header("Content-Type", "text/html; charset=utf-8")  # type: ignore[attr-defined]
        request.end_headers()  # type: ignore[attr-defined]
        request.wfile.write(body)  # type: ignore[attr-defined]

    with serving(answer) as elsewhere:
        site = f"http://localhost:{elsewhere.port}"
        page = serve(origins=[site])
        address = page.address.replace("http", "ws") + "events"
        with chromium() as browser, feeding(page):
            tab = browser.new_page()
            tab.goto(f"{site}/listen.html?at={address}")
            tab.wait_for_function("document.getElementById('mood').textContent.includes('happy')")
            assert tab.text_content("#mood") == "desk: happy 80 %"
