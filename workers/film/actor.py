"""The process that films live streams: frames with their events, and sound, from the bus to the disk."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Job, StreamClosed, StreamOpened
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import Pixels, Style
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.film.live import LiveFilm
from bimodal.workers.film.writer import NANO, FilmError
from bimodal.workers.observer import FramedEvent, FrameObserver
from bimodal.workers.settings import FilmActorSettings

log = logging.getLogger(__name__)

TURN_S = 0.05
AGAIN_AFTER_S = 30.0
BLIND_FROM = 32
# Films may be late; faces and voices may not.
NICENESS = 5


class FilmActor(FrameObserver):
    """One film after another for each stream. Holds no slot and no one up: what it is too slow for is not filmed."""

    topics = (*FrameObserver.topics, "sound.")
    read_s = TURN_S

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(settings, mailbox)
        os.nice(NICENESS)
        cv2.setNumThreads(1)
        mine = own(settings, FilmActorSettings)
        self._mine = mine
        self._folder = Path(mine.folder)
        self._style = Style(faces=mine.faces)
        self._room = Room(self._folder, mine.min_free_mb)
        self._opened: dict[str, StreamOpened] = {}
        self._films: dict[str, tuple[int, LiveFilm]] = {}
        self._lost: dict[str, tuple[str, float]] = {}
        self._blind: Counter[str] = Counter()
        self._pictures = 0

    # -------------------------------------------------------------------------------- what comes

    def on_idle(self) -> None:
        """Film what arrives; complete all films while the disk is nearly full."""
        if self._room.look() is not None:
            self._close_all()
        super().on_idle()

    def on_frame(self, framed: FramedEvent) -> None:
        """Film one frame."""
        if self._room.short is None:
            self._guarded(framed.stream, lambda: self._frame(framed))

    def on_message(self, body: Body) -> None:
        """Follow openings and closings of streams, and film sound."""
        match body:
            case StreamOpened():
                self._opened[body.stream] = body
            case StreamClosed():
                self._opened.pop(body.stream, None)
                self._guarded(body.stream, lambda: self._close(body.stream))
                self._lost.pop(body.stream, None)
                self._blind.pop(body.stream, None)
            case Job():
                self._guarded(body.stream, lambda: self._sound(body))
            case _:
                pass

    def _guarded(self, stream: str, work: Callable[[], None]) -> None:
        """One stream that can't be filmed is tried again later; the others go on."""
        known = self._lost.get(stream)
        if known is not None and time.monotonic() < known[1]:
            return
        try:
            work()
        except FilmError as error:
            log.warning("%s is not filmed: %s", stream, error)
            _, film = self._films.pop(stream, (0, None))
            if film is not None:
                film.abandon()
            self._lost[stream] = (str(error), time.monotonic() + AGAIN_AFTER_S)

    def _frame(self, framed: FramedEvent) -> None:
        pixels = self._picture(framed)
        if pixels is None:
            return
        film = self._film(framed)
        film.picture(framed.pts_ns, pixels)
        self._pictures += 1
        self._lost.pop(framed.stream, None)

    def _picture(self, framed: FramedEvent) -> Pixels | None:
        """None for a frame that was overwritten before it could be copied."""
        pixels, opened = framed.pixels, self._opened.get(framed.stream)
        self._blind[framed.stream] = self._blind[framed.stream] + 1 if pixels is None else 0
        if pixels is None:
            # A stream that began before we did has not told us whether it has a picture.
            if self._blind[framed.stream] < BLIND_FROM if opened is None else opened.has_picture:
                return None
            pixels = ground()
        if self._mine.annotated:
            return overlay(pixels, framed.event, self._style)
        return ground(pixels.shape[1], pixels.shape[0]) if self._style.faces == "hide" else pixels

    def _film(self, framed: FramedEvent) -> LiveFilm:
        run, film = self._films.get(framed.stream, (0, None))
        if film is None or run != framed.event.run:
            self._close(framed.stream)
            opened = self._opened.get(framed.stream)
            film = LiveFilm(
                self._folder / framed.stream,
                framed.event.run,
                self._mine.split_s,
                opened.fps if opened is not None else 0.0,
                # Where nobody told, a sound track that stays empty does no harm.
                has_sound=opened is None or opened.has_sound,
            )
            self._films[framed.stream] = (framed.event.run, film)
        return film

    def _sound(self, job: Job) -> None:
        run, film = self._films.get(job.stream, (0, None))
        if film is None or run != job.run:
            return
        if job.rate > 0 and job.fresh > 0:
            samples = self.copied(job, slice(-job.fresh, None))  # what is new since the window before
            if samples is not None:
                film.sound(job.pts_ns - samples.size * NANO // job.rate, samples, job.rate)

    # -------------------------------------------------------------------------------- the end

    def _close(self, stream: str) -> None:
        _, film = self._films.pop(stream, (0, None))
        if film is not None:
            film.close()

    def _close_all(self) -> None:
        for stream in list(self._films):
            try:
                self._close(stream)
            except FilmError:
                log.exception("the film of %s can't be completed", stream)

    def figures(self) -> dict[str, float]:
        """Pictures filmed."""
        return {"filmed": float(self._pictures)}

    def degraded_reason(self) -> str | None:
        """Why a stream is not filmed."""
        if self._room.short is not None:
            return self._room.short
        found = [f"{stream} is not filmed: {because}" for stream, (because, _) in self._lost.items()]
        return "; ".join(found) or None

    def close(self) -> None:
        """A live film is complete whenever it is stopped."""
        self._close_all()
        super().close()


# Whether the disk has room for films.


MEGA = 1_000_000
LOOK_EVERY_S = 2.0
# Once it was short there must be this much more than the limit, so that films don't stop and begin all the time.
ENOUGH = 1.1


def free_bytes(folder: Path) -> int:
    """What the disk of a folder that exists has left for us."""
    return shutil.disk_usage(folder).free


class Room:
    """Looks at the disk now and then.

    Args:
        folder: where films go; it exists.
        min_free_mb: what must stay free, in millions of bytes.
        free, clock: for tests.
    """

    def __init__(
        self,
        folder: Path,
        min_free_mb: int,
        free: Callable[[Path], int] = free_bytes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._least = min_free_mb * MEGA
        self._free, self._clock = free, clock
        self._due = 0.0
        self.short: str | None = None

    def look(self) -> str | None:
        """Why nothing may be written now, None where there is room. Cheap: the disk is asked every two seconds."""
        now = self._clock()
        if now >= self._due:
            self._due = now + LOOK_EVERY_S
            self._ask()
        return self.short

    def _ask(self) -> None:
        try:
            free = self._free(self._folder)
        except OSError as error:
            self.short = f"{self._folder} can't be looked at ({error.strerror}), so no video is recorded"
            return
        if free >= self._least * (ENOUGH if self.short else 1):
            self.short = None
        else:
            self.short = (
                f"the disk of {self._folder} is nearly full ({free / MEGA:.0f} MB free, outputs.record.min_free_mb is "
                f"{self._least / MEGA:.0f}), so no video is recorded until there is room"
            )
