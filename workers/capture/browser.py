"""A visitor's browser as camera and microphone: pictures and sounds forwarded by the live page's process.

The page's process talks to browsers and checks what they send; here it becomes a stream. The source always exists;
visitors come and go, one at a time, on one time line, and the time between two of them is a gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.visitors import Left, Media, PageAt, VisitorNote, VisitorReceiver
from bimodal.workers.capture.camera import rgb_of
from bimodal.workers.capture.clocks import ClockMap, SteadyRate
from bimodal.workers.capture.types import Connected, OpenSource, Picture, Sound, SourceInfo

log = logging.getLogger(__name__)

NANO = 1_000_000_000
# Between two looks at whether to stop, while nothing comes.
POLL_S = 0.25
STEP_NS = 1_000_000
# The page announces itself twice in this time, and a visitor sends some thirty messages a second.
AWAY_NS = 5 * NANO
# Lost sound is at least one message long; the sending time of messages jitters by less.
SOUND_LEAP_NS = 40_000_000
# The browser's clock stands still while its machine sleeps.
CLOCK_LEAP_NS = 2 * NANO
CLOCK_READINGS = 256
LATE_NS = 40_000_000
# Wider pictures are scaled to fit, so that no visitor decides the size of the slots.
WIDEST = 16 / 9

Item: TypeAlias = Picture | Sound | Connected


def browser_source(stream: str, directory: Path, max_height: int) -> OpenSource:
    """Open the source that visitors feed; it waits for the first one. `directory` is the session's."""
    source = OpenSource(info=_info(0, 0), largest_picture=round(max_height * WIDEST) * max_height * 3)
    source.degraded_reason = WAITING_FOR_PAGE
    source.mixed = partial(_watched, source, stream, directory, max_height)
    return source


WAITING_FOR_PAGE = "waiting for a visitor; the live page is not there yet (outputs.view)"


def _watched(source: OpenSource, stream: str, directory: Path, max_height: int) -> Iterator[Item]:
    inbox = VisitorReceiver(directory, stream)
    visitors = Visitors(time.monotonic_ns(), max_height)
    try:
        while not source.stopped.is_set():
            received = inbox.receive(POLL_S)
            if received is not None:
                yield from visitors.take(*received, time.monotonic_ns())
            source.degraded_reason = visitors.degraded_reason(time.monotonic_ns())
    finally:
        inbox.close()


class Visitors:
    """Turns the page's messages into the items of one stream. Holds no socket and no clock."""

    def __init__(self, anchor_ns: int, max_height: int) -> None:
        """
        Args:
            anchor_ns: the moment of the monotonic clock that is 0 on the stream's time line.
            max_height: higher pictures are scaled down to it.
        """
        self._anchor_ns, self._max_height = anchor_ns, max_height
        self._page: str | None = None
        self._page_seen_ns = 0
        self._visit: _Visit | None = None
        self._last_picture_ns = -STEP_NS

    def take(self, note: VisitorNote, data: bytes, now_ns: int) -> list[Item]:
        """Convert one message: no item, a sound, or a picture (with `Connected` before a visit's first one).

        Sound before a visit's first picture is dropped.
        """
        match note:
            case PageAt():
                self._page, self._page_seen_ns = note.url, now_ns
            case Left():
                self._leave(note)
            case Media(kind="picture"):
                return self._picture(self._of(note), note, data)
            case Media():
                return self._sound(self._of(note), note, data)
        return []

    def degraded_reason(self, now_ns: int) -> str | None:
        """Why there is no picture while nobody visits, else None."""
        if self._visit is not None and now_ns - self._visit.heard_ns < AWAY_NS:
            return None
        self._visit = None
        if self._page is None or now_ns - self._page_seen_ns > AWAY_NS:
            return WAITING_FOR_PAGE
        return f"waiting for a visitor at {self._page}"

    def _of(self, note: Media) -> _Visit:
        if self._visit is None or self._visit.number != note.visit:
            self._visit = _Visit(note.visit)
            log.info("visit %d begins", note.visit)
        self._visit.heard_ns = note.arrived_ns
        return self._visit

    def _leave(self, note: Left) -> None:
        if self._visit is not None and self._visit.number == note.visit:
            log.info("visit %d is over: %s", note.visit, note.because)
            self._visit = None

    def _picture(self, visit: _Visit, note: Media, data: bytes) -> list[Item]:
        shift_ns = visit.shift_ns(note)
        pixels = decoded(data, self._max_height)
        if pixels is None:
            return []
        taken_ns = min(note.captured_ns + shift_ns, note.arrived_ns)
        self._last_picture_ns = max(taken_ns - self._anchor_ns, self._last_picture_ns + STEP_NS)
        picture = Picture(self._last_picture_ns, taken_ns, pixels)
        if visit.shown:
            return [picture]
        visit.shown = True
        return [Connected(_info(pixels.shape[1], pixels.shape[0])), picture]

    def _sound(self, visit: _Visit, note: Media, data: bytes) -> list[Item]:
        shift_ns = visit.shift_ns(note)
        samples = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32768)
        begun_ns = visit.samples.map(note.position * NANO // note.rate, note.captured_ns) + shift_ns
        if not visit.shown:
            return []
        steady, delay_ns = visit.rate(samples, note.rate, note.position)
        if not steady.size:
            return []
        return [Sound(begun_ns - delay_ns - self._anchor_ns, note.arrived_ns, steady, visit.rate.hertz)]


@dataclass
class _Visit:
    """One visit: the browser's clock, and the visitor's sound samples counted on it."""

    number: int
    heard_ns: int = 0
    shown: bool = False

    def __post_init__(self) -> None:
        self._clock = _clock()
        self._shift_ns = 0
        self.samples = ClockMap(leap_ns=SOUND_LEAP_NS)
        self.rate = SteadyRate()

    def shift_ns(self, note: Media) -> int:
        """Offset from the browser's clock to ours: the same for picture and sound, so that they stay in step.

        The map trusts the message with the shortest transit time. One much faster than all before it shows that those
        were late (a visit begins with a busy page): the map is then reset.
        """
        if note.arrived_ns - note.sent_ns < self._shift_ns - LATE_NS:
            self._clock = _clock()
        self._shift_ns = self._clock.map(note.sent_ns, note.arrived_ns) - note.sent_ns
        return self._shift_ns


def _clock() -> ClockMap:
    return ClockMap(readings=CLOCK_READINGS, leap_ns=CLOCK_LEAP_NS)


def decoded(jpeg: bytes, max_height: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG to uint8 [H, W, 3] RGB, scaled to fit `max_height` and `WIDEST`; None if it can't be decoded."""
    try:
        bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    if bgr is None:
        return None
    height, width = bgr.shape[:2]
    widest = round(max_height * WIDEST)
    scale = min(1.0, max_height / height, widest / width)
    return rgb_of(np.asarray(bgr, np.uint8), max(1, min(max_height, int(height * scale))))


def _info(width: int, height: int) -> SourceInfo:
    return SourceInfo(
        has_picture=True,
        has_sound=True,
        width=width,
        height=height,
        fps=0.0,
        frames_estimate=None,
        duration_ns=None,
        sample_rate=SteadyRate.hertz,
        live=True,
        name="a visitor's browser",
    )
