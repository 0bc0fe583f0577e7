"""The live page of a running `bimodal up`, in a real Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from bimodal.broker.messages import Heartbeat
from bimodal.drawing.style import Style
from bimodal.recordings.reading import clips, is_complete
from bimodal.recordings.report.page import write_report, write_reports
from bimodal.workers.film.annotate import annotate
from tests.browser import chromium, opened
from tests.end_to_end.driving import PATIENCE_S, Driven
from tests.media import scene, silence, speech, write_clip
from tests.recordings.report.test_page import NOW, felt, recorded
from tests.reverse_proxy import proxying

TOKEN = "a-token-of-sixteen-or-more"

# The canvas as a few numbers, so that two moments can be compared.
PRINT = """() => {
  const canvas = document.querySelector('#picture');
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let sum = 0;
  for (let i = 0; i < data.length; i += 397) sum = (sum * 31 + data[i]) % 1000003;
  return sum;
}"""
SUMS = """() => [...document.querySelectorAll('#bars .row[role=img]')].map((row) => {
  const shares = [...row.querySelectorAll('.bar')].map((bar) => bar.dataset.share).filter((share) => share !== '');
  return shares.length === 7 ? shares.reduce((sum, share) => sum + Number(share), 0) : null;
})"""

# Everything that a process's row says of its state, from now on.
WATCH_WORDS = """(row) => {
  window.words = [];
  const state = document.querySelector(row + ' .state');
  const note = () => window.words.push(state.textContent);
  new MutationObserver(note).observe(state, {childList: true, characterData: true, subtree: true});
}"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a talking face, then three of an empty wall and silence: the label comes and goes."""
    pictures = [scene(1 if number < 75 else 0, number / 25) for number in range(150)]
    said, rate = speech(3.0)
    sound = np.concatenate([said, silence(3.0, rate)])
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", pictures, sound=sound, rate=rate)


def start(folder: Path, session: str, streams: str, view: str = "port: 0", record: str = "null") -> Driven:
    config = folder / "config.yaml"
    config.write_text(
        f"streams: {{{streams}}}\nworkers: {{face: {{count: 1}}}}\nlog: {{file: '{folder / 'log'}'}}\n"
        f"outputs: {{view: {{{view}}}, record: {record}}}\n"
    )
    return Driven("up", "--config", config, "--session", session, session=session)


def address(driven: Driven) -> str:
    """Where the page is, as its heartbeat says."""
    found = driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.name == "view" and bool(body.address))
    assert isinstance(found, Heartbeat)
    assert found.address is not None
    return found.address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the running system's config and recordings."""
    return tmp_path_factory.mktemp("view")


@pytest.fixture(scope="module")
def running(browser: Browser, clip: Path, folder: Path) -> Iterator[tuple[Driven, str]]:
    """A system with a stream of picture and sound and one of sound alone, and where its page is."""
    sound, rate = speech(4.0)
    radio = write_clip(clip.with_name("radio.wav"), sound=sound, rate=rate, sound_codec="pcm_s16le")
    streams = f"clip: {{file: '{clip}', loop: true}}, radio: {{file: '{radio}', loop: true}}"
    record = f"{{folder: '{folder / 'kept'}', begin: by_button}}"
    with start(folder, "test-view", streams, record=record) as driven:
        yield driven, address(driven)


def accessible(page: Page) -> None:
    """Nothing that axe-core knows is wrong: contrast of at least 4.5, names, roles, places for the keyboard."""
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def label_is(page: Any, text: str) -> None:
    """Wait for the headline: a label, or that of a face whose voice contradicts it."""
    says = "document.querySelector('#label').textContent"
    page.wait_for_function(f"text => {says} === text || {says}.startsWith(text + ' ≠')", arg=text)


def shown_moves(page: Any) -> None:
    """The canvas shows pixels, and then others."""
    first = page.evaluate(PRINT)
    page.wait_for_function(f"first => ({PRINT})() !== first", arg=first)


def test_the_page_shows_what_happens(browser: Browser, running: tuple[Driven, str]) -> None:
    _, url = running
    with opened(browser, viewport={"width": 1280, "height": 800}) as (page, seen):
        page.goto(url)
        label_is(page, "happy")
        shown_moves(page)
        assert "640 × 360" in page.inner_text("#caption")
        sums = page.wait_for_function(f"() => {{ const sums = ({SUMS})(); return sums[0] && sums[2] ? sums : null; }}")
        sums = sums.json_value()
        assert len(sums) == 3
        assert all(total is None or abs(total - 1) < 0.01 for total in sums)
        label_is(page, "unknown")  # the empty wall
        assert page.inner_text("#because")
        label_is(page, "happy")
        page.wait_for_selector("#processes tr[data-name='face 1'] .ready")
        rows = page.eval_on_selector_all("#processes tbody tr", "rows => rows.map(row => row.dataset.name)")
        assert {"broker", "face 1", "audio 1", "fusion", "view", "capture clip", "capture radio"} <= set(rows)
        assert "face-robust@" in page.inner_text("#processes tr[data-name='face 1']")
        page.wait_for_function("() => /valence [+−]/.test(document.querySelector('#affect p').textContent)")
        assert page.inner_text("#does").startswith("head ")
        accessible(page)
        assert seen.errors == []
        assert seen.hosts == {url.removeprefix("http://").rstrip("/")}


def test_behind_a_proxy_it_is_the_same_page(browser: Browser, running: tuple[Driven, str]) -> None:
    port = int(running[1].rstrip("/").rpartition(":")[2])
    with proxying(port, "/lab", strip=True) as proxy, opened(browser) as (page, seen):
        page.goto(f"{proxy.address}/")
        label_is(page, "happy")
        shown_moves(page)
        assert seen.errors == []
        assert seen.hosts == {proxy.address.removeprefix("http://").removesuffix("/lab")}


def test_it_is_worked_with_the_keyboard(browser: Browser, running: tuple[Driven, str]) -> None:
    _, url = running
    with opened(browser) as (page, seen):
        page.goto(url)
        label_is(page, "happy")
        page.keyboard.press("2")
        page.wait_for_selector("#streams [aria-selected=true][data-stream=radio]")
        page.wait_for_function("() => document.querySelector('#caption').textContent.startsWith('radio.wav')")
        page.wait_for_function("() => document.querySelector('#moment').textContent.startsWith('hop')")
        # The voice alone: no face, and yet all seven of what both mean.
        sums = page.wait_for_function(
            f"() => {{ const sums = ({SUMS})(); return sums[2] ? sums : null; }}"
        ).json_value()
        assert sums[0] is None
        assert sums[1:] == pytest.approx([1.0, 1.0], abs=0.01)
        assert page.inner_text("#face-says") == "no picture"
        page.keyboard.press("[")
        page.wait_for_selector("#streams [aria-selected=true][data-stream=clip]")
        label_is(page, "happy")
        for _ in range(60):
            with page.expect_download() as saved:
                page.keyboard.press("s")
            assert saved.value.suggested_filename.startswith("clip ")
            still = cv2.imread(str(saved.value.path()))
            assert still.shape[1] > 300
            if still[: still.shape[0] // 2].std() > 10:
                break
            page.wait_for_timeout(500)  # the label may come before the picture
        else:
            pytest.fail("there is no picture in it")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("t")
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#timeline .tip:visible")
        assert page.get_attribute("#timeline", "aria-valuenow") == "-1"
        page.keyboard.press("Escape")
        page.keyboard.press("Space")
        page.wait_for_function("() => document.querySelector('#moment').textContent.startsWith('held')")
        assert seen.errors == []


def test_recording_waits_for_its_button(browser: Browser, running: tuple[Driven, str], folder: Path) -> None:
    driven, url = running
    kept = folder / "kept"
    with opened(browser) as (page, seen):
        page.goto(url)
        button = page.locator("#record")
        button.wait_for()
        assert button.inner_text() == "Record"
        assert not kept.exists()
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('#record').textContent === 'Stop recording'")
        driven.wait_for(
            lambda body: isinstance(body, Heartbeat) and body.name == "record" and body.figures.get("kept", 0) > 5
        )
        button.click()
        page.wait_for_function("() => document.querySelector('#record').textContent === 'Record'")
        assert seen.errors == []
    found = {clip.name: clip for (session,) in [list(kept.iterdir())] for clip in clips(session)}
    assert sum(1 for clip in found.values() for _ in clip.events()) > 5
    end = time.monotonic() + PATIENCE_S
    while not all(is_complete(part) for clip in found.values() for part in clip.parts):
        assert time.monotonic() < end, "its table and summary are missing"
        time.sleep(0.05)


def test_a_worker_that_is_killed_is_seen_to_come_back(browser: Browser, running: tuple[Driven, str]) -> None:
    driven, url = running
    with opened(browser) as (page, _):
        page.goto(url)
        row = "#processes tr[data-name='face 1']"
        page.wait_for_selector(f"{row} .ready")
        before = page.inner_text(f"{row} td:nth-child(3)")
        page.evaluate(WATCH_WORDS, row)
        driven.kill("face 1")
        page.wait_for_selector("#banners li:has-text('face 1'):has-text('is started again')")
        page.wait_for_function(
            "([row, before]) => { const line = document.querySelector(row); const pid = line.children[2].textContent;"
            " return line.querySelector('.ready') && pid !== before && pid !== '–'; }",
            arg=[row, before],
        )
        assert page.inner_text(f"{row} td:nth-child(4)") == "1"
        words = page.evaluate("() => window.words")
        assert "restarting" in words
        assert words[-1] == "ready"
        page.wait_for_selector("#banners li:has-text('face 1')", state="detached")


def test_the_page_finds_its_way_back_by_itself(browser: Browser, running: tuple[Driven, str]) -> None:
    driven, url = running
    with opened(browser) as (page, _):
        page.goto(url)
        label_is(page, "happy")
        driven.kill("view")
        page.wait_for_selector("#banners li:has-text('connection')")
        page.wait_for_selector("body.lost #stage.stale")
        page.wait_for_selector("#banners li:has-text('connection')", state="detached")
        page.wait_for_selector("body:not(.lost)")
        shown_moves(page)
        assert page.url == url


def test_a_broker_that_is_started_again_is_only_a_pause(browser: Browser, running: tuple[Driven, str]) -> None:
    driven, url = running
    with opened(browser) as (page, _):
        page.goto(url)
        pid = "#processes tr[data-name=broker] td:nth-child(3)"
        page.wait_for_selector(pid)
        before = page.inner_text(pid)
        driven.kill("broker")
        page.wait_for_function(
            "([pid, before]) => ![before, '–'].includes(document.querySelector(pid)?.textContent)", arg=[pid, before]
        )
        shown_moves(page)


def test_it_fits_a_phone_in_the_dark(browser: Browser, running: tuple[Driven, str]) -> None:
    _, url = running
    phone = {"width": 390, "height": 844}
    with opened(browser, viewport=phone, color_scheme="dark", is_mobile=True, has_touch=True) as (page, seen):
        page.goto(url)
        label_is(page, "happy")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 15, 19)"
        accessible(page)
        assert seen.errors == []


CUES = "() => [...document.querySelector('video').textTracks[0].activeCues].map((cue) => cue.text)"


def test_a_report_plays_its_film_from_the_disk(browser: Browser, tmp_path: Path) -> None:
    """Its stretches jump to their places, where their captions are shown: on the film that was annotated."""
    source = write_clip(tmp_path / "source.mp4", [scene(1, n / 25) for n in range(100)])
    labels = ["happy"] * 50 + ["sad"] * 50
    clip = recorded(tmp_path, [felt(seq, label) for seq, label in enumerate(labels)])
    annotate(
        source, tmp_path / "clip.jsonl", tmp_path / "clip.annotated.mp4", style=Style(), on_progress=lambda _: None
    )
    address = write_report(clip, NOW).as_uri()
    with opened(browser, viewport={"width": 1280, "height": 800}) as (page, seen):
        page.goto(address)
        # So slow that it is still there when it is looked at, however slow this machine is.
        page.evaluate(
            "() => { const v = document.querySelector('video'); v.defaultPlaybackRate = v.playbackRate = 1 / 16; }"
        )
        # Whoever turns captions on in the player does this.
        page.evaluate("() => { document.querySelector('video').textTracks[0].mode = 'showing'; }")
        page.wait_for_function("() => document.querySelector('track').readyState === 2")
        for label, begin in (("sad", 2.0), ("happy", 0.0)):
            page.click(f".seg.{label}")
            page.wait_for_function(f"() => ({CUES})().join() === 'face 1: {label} 70 %'")
            assert begin <= page.evaluate("() => document.querySelector('video').currentTime") < begin + 1.9
        times = page.evaluate(
            "() => [...document.querySelector('video').textTracks[0].cues].map((cue) => [cue.startTime, cue.endTime])"
        )
        assert times == [[0, 2], [2, 4]]
        accessible(page)
        assert seen.errors == []
    phone = {"width": 390, "height": 844}
    with opened(browser, viewport=phone, color_scheme="dark", is_mobile=True) as (page, seen):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        accessible(page)


def test_an_index_is_sorted_and_filtered(browser: Browser, tmp_path: Path) -> None:
    for name, count, label in (("long", 90, "sad"), ("short", 10, "happy")):
        recorded(tmp_path, [felt(seq, label) for seq in range(count)], name)
    (tmp_path / "wrong.jsonl").write_bytes(b"no event\n")
    write_reports(tmp_path, clips(tmp_path), NOW)
    shown = "() => [...document.querySelectorAll('tbody tr:not([hidden])')].map((row) => row.cells[0].textContent)"
    with opened(browser) as (page, seen):
        page.goto((tmp_path / "index.html").as_uri())
        assert page.evaluate(shown) == ["wrong", "long", "short"], "what failed comes first"
        page.click("th button:has-text('length')")
        assert page.evaluate(shown)[-2:] == ["short", "long"]
        page.fill("input[type=search]", "happy")
        assert page.evaluate(shown) == ["short"]
        page.fill("input[type=search]", "")
        page.check("input[type=checkbox]")
        assert page.evaluate(shown) == ["wrong"]
        accessible(page)
        assert seen.errors == []


def test_a_token_and_hidden_faces(browser: Browser, tmp_path: Path) -> None:
    quiet = write_clip(tmp_path / "quiet.mp4", [scene(1, n / 25) for n in range(50)], sound=silence(2.0), rate=48000)
    view = f"port: 0, host: 0.0.0.0, token: {TOKEN}, faces: hide"
    with start(tmp_path, "test-view-token", f"clip: {{file: '{quiet}', loop: true}}", view) as driven:
        port = address(driven).rstrip("/").rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/"
        assert httpx.get(url).status_code == 401
        with opened(browser) as (page, seen):
            page.goto(url)
            page.fill("input[name=token]", TOKEN)
            page.click("button")
            label_is(page, "happy")
            assert seen.errors == []
            encoded = driven.wait_for(lambda body: isinstance(body, Heartbeat) and body.figures.get("sent", 0) > 0)
            assert isinstance(encoded, Heartbeat)
            assert encoded.figures["encoded"] == 0
        driven.interrupt()
        driven.finish()
    assert TOKEN not in (tmp_path / "log").read_text()


def test_a_host_that_others_can_reach_needs_a_token(tmp_path: Path) -> None:
    with start(tmp_path, "test-view-open", "clip: {auto: true}", "host: 0.0.0.0") as driven:
        code, _, err = driven.finish()
    assert code == 1
    assert "needs a 'token'" in err
    assert "Traceback" not in err
