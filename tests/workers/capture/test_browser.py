"""Visitors' browsers as a source: their clocks, their coming and going, and what of theirs can't be read."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bimodal.broker.visitors import Left, Media, PageAt, VisitorSender
from bimodal.workers.capture.browser import Visitors, browser_source, decoded
from bimodal.workers.capture.clocks import SteadyRate
from bimodal.workers.capture.types import Connected, Picture, Sound
from tests import media as made

MS, S = 1_000_000, 1_000_000_000
ANCHOR_NS = 500 * S
RATE, STRETCH = 48_000, 2048


def jpeg(number: int) -> bytes:
    return bytes(cv2.imencode(".jpg", made.numbered(number))[1].tobytes())


JPEG = jpeg(1)
TINY = bytes(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())


class FakeBrowser:
    """A browser whose clock is `offset_ns` ahead of ours; what it sends is under way for `delays_ms`, in turn."""

    def __init__(self, visit: int, offset_ns: int, delays_ms: list[float]) -> None:
        self.visit, self.offset_ns = visit, offset_ns
        self._delays = [round(delay * MS) for delay in delays_ms]
        self._sent = 0

    def _way(self) -> int:
        self._sent += 1
        return self._delays[self._sent % len(self._delays)]

    def picture(self, number: int, taken_ns: int) -> Media:
        sent_ns = taken_ns + 20 * MS
        return self._note("picture", taken_ns, sent_ns, number, 0)

    def sound(self, position: int, begun_ns: int, late_ns: int = 0) -> Media:
        """`late_ns`: by how much the page noticed it late."""
        ended_ns = begun_ns + STRETCH * S // RATE
        return self._note("sound", begun_ns + late_ns, ended_ns + late_ns, position, RATE)

    def _note(self, kind: object, captured_ns: int, sent_ns: int, position: int, rate: int) -> Media:
        return Media(
            visit=self.visit,
            kind=kind,  # type: ignore[arg-type]
            captured_ns=captured_ns + self.offset_ns,
            sent_ns=sent_ns + self.offset_ns,
            arrived_ns=sent_ns + self._way(),
            position=position,
            rate=rate,
        )


def taken(visitors: Visitors, note: Media, data: bytes) -> list[Picture | Sound | Connected]:
    return visitors.take(note, data, note.arrived_ns)


@settings(max_examples=30)
@given(
    st.integers(-(10**15), 10**15),
    st.lists(st.floats(2, 400), min_size=3, max_size=40),
    st.lists(st.integers(0, 80), min_size=1, max_size=20),
)
def test_picture_and_sound_stay_in_step_whatever_the_network_does(
    offset_ns: int, delays_ms: list[float], late_ms: list[int]
) -> None:
    """A flash and a click at the same moment must have the same time, once the clocks have settled."""
    browser = FakeBrowser(1, offset_ns, [*delays_ms, 2.0])
    visitors = Visitors(ANCHOR_NS, 720)
    steps = 400
    stretch_ns = STRETCH * S // RATE
    for step in range(steps):
        moment = ANCHOR_NS + 3 * S + step * stretch_ns
        seen = taken(visitors, browser.picture(step, moment), TINY)
        late = late_ms[step % len(late_ms)] * MS if step % 7 else 0
        heard = taken(visitors, browser.sound(step * STRETCH, moment, late), bytes(2 * STRETCH))
    picture, sound = seen[-1], heard[-1]
    assert isinstance(picture, Picture)
    assert isinstance(sound, Sound)
    assert abs(picture.pts_ns - sound.pts_ns) < 5 * MS
    assert abs(picture.pts_ns + ANCHOR_NS - moment) < 10 * MS, "only the shortest way is unknown"
    assert picture.grab_ns <= moment + 10 * MS


def test_visitors_come_and_go_on_one_line() -> None:
    visitors = Visitors(ANCHOR_NS, 720)
    first, second = FakeBrowser(1, 10**12, [5.0]), FakeBrowser(2, -(10**12), [5.0])
    items = []
    for number in range(5):
        items += taken(visitors, first.picture(number, ANCHOR_NS + S + number * 40 * MS), JPEG)
    visitors.take(Left(1, "the visitor left"), b"", ANCHOR_NS + 2 * S)
    for number in range(5):
        items += taken(visitors, second.picture(number, ANCHOR_NS + 60 * S + number * 40 * MS), JPEG)
    assert [type(item) for item in items] == 2 * [Connected, *5 * [Picture]]
    pictures = [item for item in items if isinstance(item, Picture)]
    assert min(np.diff([picture.pts_ns for picture in pictures])) > 0
    assert abs(pictures[5].pts_ns - 60 * S) < 30 * MS
    connected = items[0]
    assert isinstance(connected, Connected)
    assert (connected.info.width, connected.info.height) == (160, 96)
    assert connected.info.live


def test_it_says_what_it_waits_for() -> None:
    visitors = Visitors(0, 720)
    assert "the live page is not there" in str(visitors.degraded_reason(0))
    visitors.take(PageAt("https://desk:8484/"), b"", 0)
    assert visitors.degraded_reason(S) == "waiting for a visitor at https://desk:8484/"
    assert taken(visitors, FakeBrowser(1, 0, [0.0]).picture(0, 2 * S), JPEG)
    assert visitors.degraded_reason(3 * S) is None
    visitors.take(PageAt("https://desk:8484/"), b"", 4 * S)
    assert visitors.degraded_reason(8 * S) == "waiting for a visitor at https://desk:8484/", "who is silent is gone"
    assert "the live page is not there" in str(visitors.degraded_reason(60 * S))


def test_sound_before_the_first_picture_is_left_out_and_a_broken_picture_too() -> None:
    visitors = Visitors(0, 720)
    browser = FakeBrowser(1, 0, [1.0])
    assert taken(visitors, browser.sound(0, S), bytes(2 * STRETCH)) == []
    assert taken(visitors, browser.picture(0, S), b"\xff\xd8 no picture") == []
    assert [type(item) for item in taken(visitors, browser.picture(1, S + 40 * MS), JPEG)] == [Connected, Picture]
    assert [type(item) for item in taken(visitors, browser.sound(STRETCH, S), bytes(2 * STRETCH))] == [Sound]


@given(st.integers(1, 400), st.integers(1, 400), st.integers(32, 120))
def test_a_picture_never_has_more_pixels_than_its_slot(width: int, height: int, max_height: int) -> None:
    data = bytes(cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes())
    pixels = decoded(data, max_height)
    assert pixels is not None
    source = browser_source("guest", Path("/nowhere"), max_height)
    assert pixels.nbytes <= source.largest_picture
    if height <= max_height and width <= max_height:
        assert pixels.shape == (height, width, 3)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000])
def test_sound_of_any_rate_becomes_48_khz_in_its_place(rate: int) -> None:
    heard = np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate).astype(np.float32)
    steady, pieces, expected_ns = SteadyRate(), [], 0
    for position in range(0, heard.size, 1764):
        piece = heard[position : position + 1764]
        given_, before_ns = steady(piece, rate, position)
        if given_.size:
            assert abs(position * S // rate - before_ns - expected_ns) < 50_000, "each goes on where the last ended"
            expected_ns += given_.size * S // steady.hertz
        pieces.append(given_)
    got = np.concatenate(pieces)
    wanted = np.sin(2 * np.pi * 440 * np.arange(got.size) / steady.hertz)
    assert got.size > 1.9 * steady.hertz
    assert np.corrcoef(got, wanted)[0, 1] > 0.999


@pytest.fixture
def line(tmp_path: Path) -> Iterator[VisitorSender]:
    opened = VisitorSender(tmp_path, "guest")
    yield opened
    opened.close()


def test_the_source_reads_what_the_page_hands_over(tmp_path: Path, line: VisitorSender) -> None:
    source = browser_source("guest", tmp_path, 720)
    assert source.mixed is not None
    assert not line.send(PageAt("nobody is there yet")), "what nobody takes is lost at once, and said"
    going_on = threading.Event()

    def put_until_closed() -> None:
        for number in range(10):
            now_ns = time.monotonic_ns()
            note = Media(
                visit=7, kind="picture", captured_ns=now_ns, sent_ns=now_ns, arrived_ns=now_ns, position=number
            )
            while not line.send(note, jpeg(number)) and not going_on.wait(0.01):
                pass  # it connects by itself, a moment after the source has begun to read

    sender = threading.Thread(target=put_until_closed)
    reading = source.mixed()
    sender.start()
    numbers: list[int] = []
    try:
        for item in reading:
            if isinstance(item, Picture):
                numbers.append(made.read_number(item.pixels))
            if len(numbers) == 10:
                source.stopped.set()
    finally:
        going_on.set()
        sender.join()
    assert numbers == list(range(10))
    assert source.degraded_reason is None
