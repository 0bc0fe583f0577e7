"""The process that records films of live streams: frames with their events, and sound."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Job, StreamClosed, StreamOpened
from bimodal.broker.paths import unpack
from bimodal.drawing.overlay import ground, overlay
from bimodal.drawing.style import Pixels, Style
from bimodal.recordings.records import set_of
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.film.live import LiveFilm
from bimodal.workers.film.writer import NANO, FilmError
from bimodal.workers.observer import FramedEvent, FrameObserver
from bimodal.workers.settings import FilmActorSettings

if TYPE_CHECKING:
    from bimodal.workers.film.meshes import MeshFinder

log = logging.getLogger(__name__)

RETRY_AFTER_S = 30.0
NO_PICTURE_AFTER = 32
# Inference is scheduled first.
NICENESS = 5


class FilmActor(FrameObserver):
    """Writes one film after another for each stream. Frames that it is too slow for are left out."""

    topics = (*FrameObserver.topics, "sound.")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(settings, mailbox)
        os.nice(NICENESS)
        cv2.setNumThreads(1)
        mine = own(settings, FilmActorSettings)
        if mine.private:
            os.umask(0o077)
        self._settings = mine
        self._folder = unpack(mine.folder)
        self._style = Style(faces=mine.faces, draw=mine.draw)
        self._find_meshes = _mesh_finder(mine)
        self._free_space = FreeSpace(self._folder, mine.min_free_mb)
        self._opened: dict[str, StreamOpened] = {}
        self._films: dict[str, tuple[int, LiveFilm]] = {}
        self._failed: dict[str, tuple[str, float]] = {}
        self._without_pixels: Counter[str] = Counter()
        self._pictures = 0

    # -------------------------------------------------------------------------------- what comes

    def on_idle(self) -> None:
        """Film what arrives; complete all films while the disk is nearly full."""
        if self._free_space.check() is not None:
            self._close_all()
        super().on_idle()

    def on_frame(self, framed: FramedEvent) -> None:
        """Film one frame."""
        if self._free_space.shortage is None:
            self._attempt(framed.stream, lambda: self._frame(framed))

    def on_message(self, body: Body) -> None:
        """Follow openings and closings of streams, and film sound."""
        match body:
            case StreamOpened():
                self._opened[body.stream] = body
            case StreamClosed():
                self._opened.pop(body.stream, None)
                self._attempt(body.stream, lambda: self._close(body.stream))
                self._failed.pop(body.stream, None)
                self._without_pixels.pop(body.stream, None)
            case Job():
                self._attempt(body.stream, lambda: self._sound(body))
            case _:
                pass

    def _attempt(self, stream: str, work: Callable[[], None]) -> None:
        """Run `work`; a stream whose film can't be written is tried again later, and the others go on."""
        known = self._failed.get(stream)
        if known is not None and time.monotonic() < known[1]:
            return
        try:
            work()
        except FilmError as error:
            log.warning("%s is not filmed: %s", stream, error)
            _, film = self._films.pop(stream, (0, None))
            if film is not None:
                film.abandon()
            self._failed[stream] = (str(error), time.monotonic() + RETRY_AFTER_S)

    def _frame(self, framed: FramedEvent) -> None:
        pixels = self._picture(framed)
        if pixels is None:
            return
        film = self._film(framed)
        film.picture(framed.pts_ns, pixels)
        self._pictures += 1
        self._failed.pop(framed.stream, None)

    def _picture(self, framed: FramedEvent) -> Pixels | None:
        """The picture to film; None for a frame that was overwritten before it could be copied."""
        pixels, opened = framed.pixels, self._opened.get(framed.stream)
        self._without_pixels[framed.stream] = self._without_pixels[framed.stream] + 1 if pixels is None else 0
        if pixels is None:
            # The announcement of a stream that began earlier is not known: does it have a picture?
            if self._without_pixels[framed.stream] < NO_PICTURE_AFTER if opened is None else opened.has_picture:
                return None
            pixels = ground()
        if self._settings.annotated:
            about = set_of(opened) if opened is not None else None
            style = msgspec.structs.replace(self._style, emotions=about)
            return overlay(pixels, framed.event, style, self._meshes(pixels, framed))
        return ground(pixels.shape[1], pixels.shape[0]) if self._style.faces == "hide" else pixels

    def _meshes(self, pixels: Pixels, framed: FramedEvent) -> Sequence[NDArray[np.float32] | None]:
        if self._find_meshes is None or framed.pixels is None:
            return ()
        return self._find_meshes(pixels, framed.event)

    def _film(self, framed: FramedEvent) -> LiveFilm:
        run, film = self._films.get(framed.stream, (0, None))
        if film is None or run != framed.event.run:
            self._close(framed.stream)
            opened = self._opened.get(framed.stream)
            film = LiveFilm(
                self._folder / framed.stream,
                framed.event.run,
                self._settings.split_minutes * 60,
                opened.fps if opened is not None else 0.0,
                # Where that is not known, a sound track that stays empty does no harm.
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
        """Streams that are not filmed, and why; None while all are."""
        if self._free_space.shortage is not None:
            return self._free_space.shortage
        found = [f"{stream} is not filmed: {because}" for stream, (because, _) in self._failed.items()]
        return "; ".join(found) or None

    def close(self) -> None:
        """Complete all films."""
        self._close_all()
        super().close()


def _mesh_finder(mine: FilmActorSettings) -> MeshFinder | None:
    """What finds the meshes to draw; None where none are drawn. Raises ArtifactError."""
    if not mine.annotated or "mesh" not in mine.draw or mine.landmarks is None:
        return None
    # ONNX Runtime is loaded only where meshes are drawn.
    from bimodal.workers.film.meshes import MeshFinder

    return MeshFinder(mine.landmarks)


# Free space on the disk.

MEGA = 1_000_000
CHECK_EVERY_S = 2.0
# After a shortage there must be this much more than the limit, so that films don't stop and begin all the time.
HYSTERESIS = 1.1


def free_bytes(folder: Path) -> int:
    """Bytes that are free on the disk of a folder that exists."""
    return shutil.disk_usage(folder).free


class FreeSpace:
    """Checks that the disk keeps enough free space.

    Args:
        folder: of the films; it exists.
        min_free_mb: millions of bytes that must stay free.
        free, clock: for tests.

    Attributes:
        shortage: why no film may be written; None while there is space.
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
        self.shortage: str | None = None

    def check(self) -> str | None:
        """Return `shortage`. Cheap: the disk is measured every two seconds."""
        now = self._clock()
        if now >= self._due:
            self._due = now + CHECK_EVERY_S
            self._measure()
        return self.shortage

    def _measure(self) -> None:
        try:
            free = self._free(self._folder)
        except OSError as error:
            self.shortage = f"{self._folder} can't be looked at ({error.strerror}), so no video is recorded"
            return
        if free >= self._least * (HYSTERESIS if self.shortage else 1):
            self.shortage = None
        else:
            self.shortage = (
                f"the disk of {self._folder} is nearly full ({free / MEGA:.0f} MB free, outputs.record.min_free_mb is "
                f"{self._least / MEGA:.0f}), so no video is recorded until there is room"
            )
