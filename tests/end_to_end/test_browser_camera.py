"""A visitor's browser as camera and microphone: real Chromium, its fake devices fed by the demo clip."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Body, Heartbeat
from bimodal.commands.keys import make_certificate
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.listening import address_of, listen
from bimodal.workers.view.server import Server
from bimodal.workers.view.state import View
from tests.browser import PATIENCE_MS, Seen, chromium, fake_devices, write_wav, write_y4m
from tests.end_to_end.driving import Driven
from tests.http_server import serving
from tests.media import DEMO

SECONDS = 4.0
TOKEN = "lend me your eyes"
PAGE_TOKEN = "whoever may look at it"


class Guest(NamedTuple):
    """A browser with a face and a voice."""

    browser: Browser

    def page(self, url: str) -> tuple[Page, list[str]]:
        """A page of its own, and what its console calls an error."""
        page = self.browser.new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(PATIENCE_MS)
        seen = Seen(page)
        page.goto(url)
        return page, seen.errors


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("devices")
    pictures = write_y4m(folder / "camera.y4m", DEMO, SECONDS)
    sound = write_wav(folder / "microphone.wav", DEMO, SECONDS)
    with chromium(*fake_devices(pictures, sound), "--host-resolver-rules=MAP cam.test 127.0.0.1") as browser:
        yield Guest(browser)


def up(folder: Path, session: str, view: str) -> Driven:
    config = folder / "config.yaml"
    config.write_text(f"streams: {{guest: {{browser: true}}}}\noutputs: {{view: {{port: 0, {view}}}}}\n")
    return Driven("up", "--config", config, "--session", session, session=session)


def address(driven: Driven) -> str:
    """Where the page is, once capture waits for a visitor there."""
    beat = driven.wait_for(waits)
    assert isinstance(beat, Heartbeat)
    return str(beat.because).rpartition(" ")[2]


def waits(body: Body) -> bool:
    return isinstance(body, Heartbeat) and body.name == "capture guest" and "visitor at http" in str(body.because)


def sees_and_hears(body: Body) -> bool:
    return isinstance(body, Emotion) and len(body.faces) == 1 and body.speech is not None and bool(body.speech.label)


def test_a_visitor_is_seen_and_heard_and_another_may_follow(tmp_path: Path, guest: Guest) -> None:
    with up(tmp_path, "test-guest", "host: 127.0.0.1") as driven:
        url = address(driven)
        first, first_errors = guest.page(url)
        first.click("#visitor-button")
        event = driven.wait_for(sees_and_hears)
        assert isinstance(event, Emotion)
        expect(first.locator("#visitor-note")).to_contain_text("pictures,", timeout=PATIENCE_MS)

        second, _ = guest.page(url + "page/visitor.html")
        second.click("#visitor-button")
        expect(second.locator("#visitor-note")).to_contain_text("somebody else is 'guest'", timeout=PATIENCE_MS)
        expect(second.locator("video")).to_be_hidden()

        first.click("#visitor-button")
        driven.wait_for(waits)
        second.click("#visitor-button")
        later = driven.wait_for(lambda body: sees_and_hears(body) and body.t > event.t + 0.5)  # type: ignore[union-attr]
        assert isinstance(later, Emotion)
        assert later.run == event.run, "the stream went on"
        second.close()
        driven.wait_for(waits)
        assert first_errors == []


def test_over_https_and_only_with_the_token(tmp_path: Path, guest: Guest) -> None:
    files = make_certificate(tmp_path / "tls", ["cam.test"])
    keys = f"tls_certificate: {files.certificate}, tls_key: {files.key}"
    view = f"token: '{PAGE_TOKEN}', {keys}, visitors: {{token: '{TOKEN}', max_fps: 10, max_height: 120}}"
    with up(tmp_path, "test-guest-tls", view) as driven:
        url = address(driven).replace("127.0.0.1", "cam.test")
        assert url.startswith("https://cam.test:")
        page, errors = guest.page(f"{url}enter?token={PAGE_TOKEN}")
        page.goto(url + "page/visitor.html")
        page.click("#visitor-button")
        expect(page.locator("#visitor-note")).to_contain_text("knows the token", timeout=PATIENCE_MS)
        page.fill("#visitor-token", "whatever it may be")
        page.click("#visitor form button")
        expect(page.locator("#visitor-note")).to_contain_text("not the token", timeout=PATIENCE_MS)
        # The live page itself, over HTTPS, by a link that carries the token.
        page.goto(f"{url}?link#visitor-token={TOKEN}")
        page.click("#visitor-button")
        driven.wait_for(sees_and_hears)
        assert TOKEN not in page.url
        expect(page.locator("#visitor-note")).to_contain_text("You are 'guest'", timeout=PATIENCE_MS)
        assert errors == []


@pytest.fixture
def plain_page(tmp_path: Path) -> Iterator[str]:
    """The page without a certificate, under a name that is not this machine's own."""
    settings = ViewActorSettings(port=0, token=PAGE_TOKEN, visitor_streams=("guest",))
    bound = listen(settings)
    server = Server(View(settings, tmp_path, address_of(settings, bound)), bound)
    server.start()
    yield address_of(settings, bound).replace("127.0.0.1", "cam.test")
    server.stop()


def test_a_page_without_https_says_what_is_missing(plain_page: str, guest: Guest) -> None:
    page, errors = guest.page(f"{plain_page}enter?token={PAGE_TOKEN}")
    page.goto(plain_page + "page/visitor.html")
    expect(page.locator("#visitor-note")).to_contain_text("bimodal keys tls", timeout=PATIENCE_MS)
    expect(page.locator("#visitor-button")).to_be_disabled()
    assert errors == []


def send_page(handler: http.server.BaseHTTPRequestHandler) -> None:
    """Some other site's page."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.wfile.write(b"<!doctype html><title>elsewhere</title>")


def test_a_page_of_another_origin_may_not_connect(plain_page: str, guest: Guest) -> None:
    with serving(send_page) as elsewhere:
        # Whoever may look at the page has a cookie, which goes along from other ports of the same host.
        page, _ = guest.page(f"{plain_page}enter?token={PAGE_TOKEN}")
        page.goto(f"http://cam.test:{elsewhere.port}/")
        for path in ("visit", "events"):
            outcome = page.evaluate(
                """(url) => new Promise((done) => {
                    const socket = new WebSocket(url);
                    socket.onopen = () => done("open");
                    socket.onerror = () => done("refused");
                })""",
                plain_page.replace("http", "ws") + path,
            )
            assert outcome == "refused"
