"""A stream that programs fill: pixels in slots of their own, sound as samples; or browsers, over the live page.

One program at a time. The source always exists; programs come and go on one time line, as visitors do (browser.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from bimodal.broker.errors import SlotError
from bimodal.broker.frames import RingCache
from bimodal.broker.messages import Job
from bimodal.broker.rings import remove_rings_of_run
from bimodal.broker.visitors import Left, Media, PageAt, PushedFrame, PushedSound, VisitorNote, VisitorReceiver
from bimodal.workers.capture.browser import AWAY_NS, POLL_S, STEP_NS, WIDEST, Item, Visitors
from bimodal.workers.capture.types import Connected, OpenSource, Picture, Placed, Sound, SourceInfo

log = logging.getLogger(__name__)

# Jobs that are under way may still name a slot of a program that has left.
KEPT_NS = 10_000_000_000
Kind = bool | Literal["picture", "sound"]


def push_source(stream: str, directory: Path, slots: Path, max_height: int, kind: Kind) -> OpenSource:
    """Open the source that programs fill; it waits for the first one.

    Args:
        directory, slots: folders of the session.
        kind: picture and sound (True), or one of them.
    """
    source = OpenSource(info=_info(kind, 0, 0), largest_picture=round(max_height * WIDEST) * max_height * 3)
    source.degraded_reason = waiting_for(stream)
    source.mixed = partial(_watched, source, stream, directory, slots, max_height, kind)
    return source


def waiting_for(stream: str) -> str:
    """What the stream waits for, in one sentence."""
    return f"waiting for a program that pushes into it (bimodal.push('{stream}'))"


def _watched(
    source: OpenSource, stream: str, directory: Path, slots: Path, max_height: int, kind: Kind
) -> Iterator[Item]:
    inbox = VisitorReceiver(directory, stream)
    pushes = Pushes(stream, slots, time.monotonic_ns(), max_height, kind)
    try:
        while not source.stopped.is_set():
            received = inbox.receive(POLL_S)
            now_ns = time.monotonic_ns()
            if received is not None:
                yield from pushes.take(*received, now_ns)
            pushes.sweep(now_ns)
            source.degraded_reason = pushes.degraded_reason(now_ns)
    finally:
        inbox.close()


class Pushes:
    """Turns notes of programs, and of the live page, into the items of one stream. Holds no socket and no clock."""

    def __init__(self, stream: str, slots: Path, anchor_ns: int, max_height: int, kind: Kind) -> None:
        """`anchor_ns`: the moment of the monotonic clock at which the source began."""
        self._stream, self._slots, self._kind = stream, slots, kind
        self._anchor_ns = anchor_ns
        self._rings = RingCache(slots)
        self._visitors = Visitors(anchor_ns, max_height)
        self._program: int | None = None
        self._heard_ns = 0
        self._offset_ns = 0
        self._announced = False
        self._last_ns: int | None = None
        self._old: dict[int, int] = {}

    def take(self, note: VisitorNote, data: bytes, now_ns: int) -> list[Item]:
        """Convert one note; `Connected` goes before the first item. Of two senders at once the later one is ignored."""
        match note:
            case PageAt():
                return self._visitors.take(note, data, now_ns)
            case Left():
                self._leave(note, now_ns)
                return self._visitors.take(note, data, now_ns)
            case Media():
                if self._is_pushed(now_ns):
                    return []
                return self._announcing(self._visitors.take(note, data, now_ns))
            case PushedFrame() | PushedSound():
                if not self._accepts(note, now_ns):
                    return []
                item = self._picture(note) if isinstance(note, PushedFrame) else self._sound(note, data)
                return [] if item is None else self._announcing([item])

    def _is_pushed(self, now_ns: int) -> bool:
        return self._program is not None and now_ns - self._heard_ns < AWAY_NS

    def _accepts(self, note: PushedFrame | PushedSound, now_ns: int) -> bool:
        if note.visit != self._program:
            if self._is_pushed(now_ns) or self._visitors.degraded_reason(now_ns) is None:
                return False
            self._begin(note, now_ns)
        self._heard_ns = now_ns
        return True

    def _begin(self, note: PushedFrame | PushedSound, now_ns: int) -> None:
        """The first program's line is the stream's; later ones go on where the clock is."""
        if self._program is not None:
            self._old[self._program] = now_ns
        log.info("program %d begins to push", note.visit)
        self._program = note.visit
        if self._announced:
            self._offset_ns = max(now_ns - self._anchor_ns, (self._last_ns or 0) + STEP_NS) - note.pts_ns
        else:
            self._anchor_ns = now_ns - note.pts_ns

    def _leave(self, note: Left, now_ns: int) -> None:
        if note.visit == self._program:
            log.info("program %d has left: %s", note.visit, note.because)
            self._old[note.visit] = now_ns
            self._program = None

    def sweep(self, now_ns: int) -> None:
        """Remove the slots of programs that left a while ago."""
        for visit, left_ns in list(self._old.items()):
            if now_ns - left_ns > KEPT_NS:
                del self._old[visit]
                remove_rings_of_run(self._slots, self._stream, visit)

    def degraded_reason(self, now_ns: int) -> str | None:
        """Why nothing comes while nobody pushes, else None."""
        if self._is_pushed(now_ns):
            return None
        waiting = self._visitors.degraded_reason(now_ns)
        return None if waiting is None else waiting_for(self._stream)

    def _announcing(self, items: list[Item]) -> list[Item]:
        """The items, with one `Connected` of this stream's own before the first."""
        found: list[Item] = []
        for item in items:
            if isinstance(item, Connected):
                continue
            if not self._announced:
                self._announced = True
                height, width = item.pixels.shape[:2] if isinstance(item, Picture) else (0, 0)
                found.append(Connected(_info(self._kind, width, height)))
            if isinstance(item, Picture):
                least_ns = item.pts_ns if self._last_ns is None else self._last_ns + 1
                self._last_ns = max(item.pts_ns, least_ns)
                item = replace(item, pts_ns=self._last_ns)
            found.append(item)
        return found

    def _picture(self, note: PushedFrame) -> Picture | None:
        job = Job(
            stream=self._stream,
            run=0,
            modality="face",
            seq=0,
            pts_ns=note.pts_ns,
            grab_ns=note.grab_ns,
            ring=note.ring,
            slot=note.slot,
            generation=note.generation,
            shape=note.shape,
        )
        try:
            pixels = self._rings.reader(note.ring).view(job)
        except SlotError:  # overwritten already, or removed: as any frame that comes too late
            return None
        placed = Placed(note.ring, note.slot, note.generation)
        return Picture(note.pts_ns + self._offset_ns, note.grab_ns, pixels, note.size, placed)

    def _sound(self, note: PushedSound, data: bytes) -> Sound | None:
        if len(data) % 4 or not data:
            return None
        return Sound(note.pts_ns + self._offset_ns, note.grab_ns, np.frombuffer(data, "<f4"), note.rate)


def _info(kind: Kind, width: int, height: int) -> SourceInfo:
    return SourceInfo(
        has_picture=kind != "sound",
        has_sound=kind != "picture",
        width=width,
        height=height,
        fps=0.0,
        frames_estimate=None,
        duration_ns=None,
        sample_rate=0,
        live=True,
        name="a program that pushes",
    )
