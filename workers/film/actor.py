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
import numpy as np

from bimodal.broker.errors import SlotError
from bimodal.broker.frames import RingShelf
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Job, StreamClosed, StreamOpened
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import Pixels, Style
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.film.live import LiveFilm
from bimodal.workers.film.writer import NANO, FilmError, Samples
from bimodal.workers.observer import Watched, Watcher
from bimodal.workers.settings import RecordSettings

log = logging.getLogger(__name__)

TURN_S = 0.05
AGAIN_AFTER_S = 30.0
BLIND_FROM = 32
# Films may be late; faces and voices may not.
NICENESS = 5


class FilmActor:
    """One film after another for each stream. Holds no slot and no one up: what it is too slow for is not filmed.

    Attributes:
        turn_s: the loop comes round so often; waiting is done on the bus.
    """

    turn_s = 0.0

    def __init__(self, settings: ActorSettings, _mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        os.nice(NICENESS)
        cv2.setNumThreads(1)
        mine = own(settings, RecordSettings)
        self._mine = mine
        self._folder = Path(mine.folder)
        self._style = Style(faces=mine.faces)
        self._room = Room(self._folder, mine.min_free_mb)
        self._rings = RingShelf(Path(settings.slots))
        self._opened: dict[str, StreamOpened] = {}
        self._films: dict[str, tuple[int, LiveFilm]] = {}
        self._lost: dict[str, tuple[str, float]] = {}
        self._blind: Counter[str] = Counter()
        self._pictures = 0
        self._watcher = Watcher(Path(settings.directory), Path(settings.slots), also=("sound.",), told=self._told)

    # -------------------------------------------------------------------------------- what comes

    def idle(self) -> None:
        """Film what came."""
        watched = self._watcher.receive(TURN_S)
        if self._room.look() is not None:
            self._close_all()
        elif watched is not None:
            self._guarded(watched.stream, lambda: self._frame(watched))

    def _told(self, body: Body) -> None:
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

    def _frame(self, watched: Watched) -> None:
        pixels = self._picture(watched)
        if pixels is None:
            return
        film = self._film(watched)
        film.picture(watched.pts_ns, pixels)
        self._pictures += 1
        self._lost.pop(watched.stream, None)

    def _picture(self, watched: Watched) -> Pixels | None:
        """None for a frame that was overwritten before it could be copied."""
        pixels, opened = watched.pixels, self._opened.get(watched.stream)
        self._blind[watched.stream] = self._blind[watched.stream] + 1 if pixels is None else 0
        if pixels is None:
            # A stream that began before we did has not told us whether it has a picture.
            if self._blind[watched.stream] < BLIND_FROM if opened is None else opened.has_picture:
                return None
            pixels = ground()
        if self._mine.annotated:
            return overlay(pixels, watched.event, self._style)
        return ground(pixels.shape[1], pixels.shape[0]) if self._style.faces == "hide" else pixels

    def _film(self, watched: Watched) -> LiveFilm:
        run, film = self._films.get(watched.stream, (0, None))
        if film is None or run != watched.event.run:
            self._close(watched.stream)
            opened = self._opened.get(watched.stream)
            film = LiveFilm(
                self._folder / watched.stream,
                watched.event.run,
                self._mine.split_minutes * 60,
                opened.fps if opened is not None else 0.0,
                # Where nobody told, a sound track that stays empty does no harm.
                has_sound=opened is None or opened.has_sound,
            )
            self._films[watched.stream] = (watched.event.run, film)
        return film

    def _sound(self, job: Job) -> None:
        run, film = self._films.get(job.stream, (0, None))
        if film is None or run != job.run:
            return
        samples = self._fresh(job)
        if samples is not None:
            film.sound(job.pts_ns - samples.size * NANO // job.rate, samples, job.rate)

    def _fresh(self, job: Job) -> Samples | None:
        """What is new in a window since the one before; None where it was overwritten."""
        if job.rate <= 0 or job.fresh <= 0:
            return None
        try:
            ring = self._rings.reader(job.ring)
            samples = np.array(ring.view(job)[-job.fresh :])
            return samples if ring.holds(job) else None
        except SlotError:
            return None

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

    def welcome(self) -> None:
        """The broker has nothing for us."""

    def handle(self, body: Body) -> None:
        """Nor does it send anything."""

    def figures(self) -> dict[str, float]:
        """Pictures filmed."""
        return {"filmed": float(self._pictures)}

    def trouble(self) -> str | None:
        """Why a stream is not filmed."""
        if self._room.short is not None:
            return self._room.short
        found = [f"{stream} is not filmed: {because}" for stream, (because, _) in self._lost.items()]
        return "; ".join(found) or None

    def finished(self) -> int | None:
        """Never by itself."""
        return None

    def close(self) -> None:
        """A live film is complete whenever it is stopped."""
        self._close_all()
        self._watcher.close()


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
