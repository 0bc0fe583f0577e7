"""The films of one run of a live stream: file after file, picture and sound together."""

from __future__ import annotations

import contextlib
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from bimodal.drawing.style import Pixels
from bimodal.recordings.films import SUFFIX
from bimodal.recordings.writers import part_of
from bimodal.workers.film.writer import NANO, FilmError, FilmWriter, Samples, film_error

RATE = 48_000
# Sound comes in hops and is late; after this time the film before is completed without it.
LATE_NS = 12 * NANO
# After a longer pause without pictures a new film begins, so that none shows a still for an hour.
PAUSE_NS = 30 * NANO


class _Piece(NamedTuple):
    begin_ns: int
    samples: Samples

    @property
    def end_ns(self) -> int:
        return self.begin_ns + int(self.samples.shape[1]) * NANO // RATE

    def split(self, at_ns: int) -> tuple[_Piece, _Piece]:
        """Split at a time into the parts before and after it."""
        count = max(0, min(self.samples.shape[1], (at_ns - self.begin_ns) * RATE // NANO))
        after_ns = self.begin_ns + count * NANO // RATE
        return self._replace(samples=self.samples[:, :count]), _Piece(after_ns, self.samples[:, count:])


def film_path(folder: Path, run: int, part: int) -> Path:
    """A free file name: that of the events' part, with a number where the film was begun again."""
    tried, path = 1, folder / f"{run:04d}-{part:04d}{SUFFIX}"
    while path.exists():
        tried += 1
        path = folder / f"{run:04d}-{part:04d}-{tried}{SUFFIX}"
    return path


class LiveFilm:
    """Takes pictures and sound of one run, each in order, as they come; sound later than the pictures it belongs to.

    Args:
        folder: of the stream; made where it is missing.
        run: of the stream.
        split_s: seconds of the stream's own time in one film.
        fps: about how many pictures a second.
        has_sound: whether films have a sound track.

    Methods raise FilmError where the disk refuses; then `abandon`.
    """

    def __init__(self, folder: Path, run: int, split_s: float, fps: float, *, has_sound: bool) -> None:
        self._folder, self._run = folder, run
        self._split_s, self._fps, self._has_sound = split_s, fps, has_sound
        self._resampler: tuple[int, av.AudioResampler] | None = None
        self._pending: deque[_Piece] = deque()
        self._current: FilmWriter | None = None
        self._ending: tuple[FilmWriter, int] | None = None
        self._part = 0
        self._newest_ns = 0
        self.pictures = 0

    def picture(self, pts_ns: int, pixels: Pixels) -> None:
        """The next picture, uint8 [H, W, 3] RGB, at its time on the stream's line."""
        part = part_of(pts_ns / NANO, self._split_s)
        paused = self._current is not None and pts_ns - self._newest_ns > PAUSE_NS
        if self._current is None or part != self._part or paused:
            self._begin(part, pts_ns, pixels)
        assert self._current is not None
        self._newest_ns = max(self._newest_ns, pts_ns)
        self._current.picture(pts_ns, pixels)
        self.pictures += 1
        self._write_sound()

    def _begin(self, part: int, pts_ns: int, pixels: Pixels) -> None:
        """Begin a new film with this picture; the one before still gets the sound that belongs to it."""
        self._finish_ending()
        if self._current is not None:
            self._ending = (self._current, pts_ns)
            self._current = None
            self._write_sound()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise film_error(error, self._folder) from error
        size = (pixels.shape[1], pixels.shape[0])
        path = film_path(self._folder, self._run, part)
        self._part = part
        self._current = FilmWriter(path, size, self._fps, begin_ns=pts_ns, live=True)
        if self._has_sound:
            self._current.encode_sound(RATE, "mono")

    def sound(self, begin_ns: int, samples: Samples, rate: int) -> None:
        """The next piece of sound, float32 [n] mono at `rate` Hz, that begins at `begin_ns` on the stream's line."""
        if not self._has_sound or samples.size == 0:
            return
        self._pending.append(_Piece(begin_ns, self._at_our_rate(samples, rate)))
        while self._pending and self._pending[0].end_ns < begin_ns - PAUSE_NS:
            self._pending.popleft()
        self._write_sound()

    def _at_our_rate(self, samples: Samples, rate: int) -> Samples:
        if rate == RATE:
            return samples[None]
        if self._resampler is None or self._resampler[0] != rate:
            self._resampler = rate, av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        parts = [part.to_ndarray() for part in self._resampler[1].resample(frame)]
        return np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)

    def _write_sound(self) -> None:
        """Write pending sound into the film it belongs to, up to the newest picture."""
        if self._ending is not None:
            film, end_ns = self._ending
            self._write_until(film, end_ns)
            if self._pending or self._newest_ns > end_ns + LATE_NS or not self._has_sound:
                self._finish_ending()
        if self._ending is None and self._current is not None:
            self._write_until(self._current, self._newest_ns)

    def _write_until(self, film: FilmWriter, until_ns: int) -> None:
        while self._pending and self._pending[0].begin_ns < until_ns:
            before, after = self._pending.popleft().split(until_ns)
            if before.samples.size:
                film.sound(before.begin_ns, before.samples)
            if after.samples.size:
                self._pending.appendleft(after)
                return
            if not before.samples.size:
                return

    def _finish_ending(self) -> None:
        if self._ending is not None:
            film, _ = self._ending
            self._ending = None
            film.close()

    def close(self) -> None:
        """Complete the open films with all pending sound."""
        self._write_sound()
        self._finish_ending()
        if self._current is not None:
            film, self._current = self._current, None
            self._write_until(film, self._newest_ns + NANO)
            film.close()

    def abandon(self) -> None:
        """Close the open films; what was written stays playable. Never raises."""
        open_films = [self._ending[0]] if self._ending is not None else []
        open_films += [self._current] if self._current is not None else []
        self._ending = self._current = None
        self._pending.clear()
        for film in open_films:
            with contextlib.suppress(FilmError):
                film.close()
