"""Cuts sound in pieces of any length into windows on a fixed grid of hops. Pure.

The grid begins at the first sound's `pts_ns` (the origin) and never moves: hop k ends at origin + (k + 1) · hop.
Samples are counted in whole numbers from the origin, so nothing drifts at rates that no hop divides (44.1 kHz).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bimodal.workers.capture.types import Sound
from bimodal.workers.errors import SourceError

NANO = 1_000_000_000
# Time stamps jitter by a container's rounding (1 ms in Matroska) and by network delay; below one video frame nobody
# notices, so the sound is taken as continuous.
TOLERANCE_NS = 40_000_000
# Gaps are filled in pieces, so that an hour of silence is not held in memory at once.
PIECE_NS = 10_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The newest sound at the end of a hop.

    Attributes:
        hop_index: k; counts from 0 without gaps unless `most_gap_s` is set.
        start_ns, end_ns: on the stream's time line.
        samples: float32 [n] mono, at most the window; shorter at the start of the stream.
        new_samples: number of samples at the end that are new since the previous hop.
        rate: Hz.
        grab_ns: of the sound that completed the hop.
    """

    hop_index: int
    start_ns: int
    end_ns: int
    samples: NDArray[np.float32]
    new_samples: int
    rate: int
    grab_ns: int


class HopCutter:
    """Cuts the sound of one stream into windows, which do not depend on the size of the pieces.

    Time stamps that differ from the count of samples by less than `TOLERANCE_NS` (40 ms) are jitter. A larger gap is
    filled with silence, so that later sound stays in place; an overlap is cut off the later sound.
    """

    def __init__(self, window_s: float, hop_s: float, most_gap_s: float | None = None) -> None:
        """Raises ValueError unless 0 < hop_s <= window_s.

        Args:
            most_gap_s: after a longer gap (a live source that was away) the hop in which it began is completed with
                silence, the silent hops are left out, and windows grow again as at the start; grid and numbers of
                hops are kept. None fills every gap (files have every hop).
        """
        if not 0 < hop_s <= window_s:
            raise ValueError("hops need 0 < hop_s <= window_s")
        self._window_ns, self._hop_ns = round(window_s * NANO), round(hop_s * NANO)
        self._most_gap_ns = None if most_gap_s is None else round(most_gap_s * NANO)
        self._rate = 0
        self._origin_ns = 0
        self._hop = 0
        self._held = np.zeros(0, np.float32)
        self._count = 0  # samples from the origin to the end of what is held
        self._fresh_from = 0  # the sample after the last one that was in a window
        self._grab_ns = 0

    def feed(self, sound: Sound) -> Iterator[Window]:
        """Yield every window that this sound completes. Exhaust the iterator before the next call.

        Raises SourceError if the rate changes within a file, since its reader converts to one rate.
        """
        samples = sound.samples
        if self._rate == 0:
            self._rate, self._origin_ns = sound.rate, sound.pts_ns
        if sound.rate != self._rate:
            self._change_rate(sound)
        self._grab_ns = sound.grab_ns
        gap_ns = sound.pts_ns - self._time_ns(self._count)
        if gap_ns > TOLERANCE_NS:
            yield from self._bridge(gap_ns)
        elif gap_ns < -TOLERANCE_NS:
            samples = samples[self._samples(-gap_ns) :]
        yield from self._take(samples)

    def flush(self) -> Iterator[Window]:
        """Yield the last, incomplete hop if at least half of it is there; it ends where the sound ends."""
        end_ns = self._time_ns(self._count)
        begun_ns = end_ns - self._origin_ns - self._hop * self._hop_ns
        if self._count > self._fresh_from and 2 * begun_ns >= self._hop_ns:
            yield self._window(self._count, end_ns)

    def _change_rate(self, sound: Sound) -> None:
        """Restart at another rate, as after a long gap: a live source came back as another device."""
        if self._most_gap_ns is None:
            raise SourceError(f"the sound changed its rate from {self._rate} to {sound.rate} Hz midway")
        self._rate = sound.rate
        self._skip_to(max(0, self._samples(sound.pts_ns - self._origin_ns)))

    def _bridge(self, gap_ns: int) -> Iterator[Window]:
        missing = self._samples(gap_ns)
        after = self._count + missing
        if self._most_gap_ns is not None and gap_ns > self._most_gap_ns:
            if self._count > self._fresh_from:
                missing = min(missing, self._end_of(self._hop) - self._count)
                yield from self._take(np.zeros(missing, np.float32))
            self._skip_to(after)
            return
        piece = self._samples(PIECE_NS)
        for begin in range(0, missing, piece):
            yield from self._take(np.zeros(min(piece, missing - begin), np.float32))

    def _skip_to(self, count: int) -> None:
        while self._end_of(self._hop) <= count:
            self._hop += 1
        self._held = np.zeros(0, np.float32)
        self._count = self._fresh_from = count

    def _take(self, samples: NDArray[np.float32]) -> Iterator[Window]:
        self._held = np.concatenate([self._held, samples])
        self._count += samples.size
        while (end := self._end_of(self._hop)) <= self._count:
            yield self._window(end, self._origin_ns + (self._hop + 1) * self._hop_ns)
            self._hop += 1
        self._held = self._held[-self._samples(self._window_ns) :]

    def _window(self, end: int, end_ns: int) -> Window:
        held_to = end - (self._count - self._held.size)
        samples = self._held[max(0, held_to - self._samples(self._window_ns)) : held_to]
        fresh, self._fresh_from = end - self._fresh_from, end
        start_ns = end_ns - samples.size * NANO // self._rate
        return Window(self._hop, start_ns, end_ns, samples, fresh, self._rate, self._grab_ns)

    def _samples(self, span_ns: int) -> int:
        """Whole samples in a span of time."""
        return span_ns * self._rate // NANO

    def _end_of(self, hop: int) -> int:
        """End of a hop in samples from the origin, exclusive."""
        return self._samples((hop + 1) * self._hop_ns)

    def _time_ns(self, sample: int) -> int:
        """Time of a sample on the stream's time line."""
        return self._origin_ns + (sample * NANO // self._rate if self._rate else 0)


class VoiceCutter:
    """Cuts the sound of one voice, or of several channels that are voices of their own, on one grid.

    Windows come hop by hop, each hop in the order of the channels.
    """

    def __init__(self, voices: int, window_s: float, hop_s: float, most_gap_s: float | None = None) -> None:
        """`voices`: how many there are; 0 is one. The others as for HopCutter."""
        self._cutters = [HopCutter(window_s, hop_s, most_gap_s) for _ in range(max(1, voices))]
        self._waiting: list[deque[Window]] = [deque() for _ in self._cutters]

    def feed(self, sound: Sound) -> Iterator[Window]:
        """Yield every window that this sound completes, once those of all channels are there."""
        if len(self._cutters) == 1:
            yield from self._cutters[0].feed(sound)
            return
        self._waiting[sound.channel].extend(self._cutters[sound.channel].feed(sound))
        yield from self._in_step()

    def flush(self) -> Iterator[Window]:
        """Yield the last, incomplete hop as HopCutter does."""
        for cutter, waiting in zip(self._cutters, self._waiting, strict=True):
            waiting.extend(cutter.flush())
        yield from self._in_step()

    def _in_step(self) -> Iterator[Window]:
        while all(self._waiting):
            for waiting in self._waiting:
                yield waiting.popleft()
