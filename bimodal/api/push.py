"""`bimodal.push`: one's own frames and sound into a running system of this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bimodal.api.listen import DEFAULT_SESSION
from bimodal.api.sources import check_picture, voices_of
from bimodal.broker.control import PushReply, PushRequest, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.frames import Ring, SlotAllocator, slots_for
from bimodal.broker.rings import ring_name
from bimodal.broker.sockets import visitor_endpoint
from bimodal.broker.visitors import Left, PushedFrame, PushedSound, VisitorSender
from bimodal.supervisor.session import find_session, running_sessions
from bimodal.workers.capture.pixels import scaled_size
from bimodal.workers.errors import SourceError

NANO = 1_000_000_000
# Sound that is pushed without times follows on, unless it is so far from the clock.
LEAP_NS = NANO // 2
MOST_SOUND_S = 1.0
# A gap in the sound is worse than a wait; a picture that comes late is worth nothing.
SOUND_WAITS_S, RETRY_S = 1.0, 0.005
MOST_RATE = 768_000


def push(stream: str, *, session: str | None = None) -> Push:
    """Begin to push into a stream of a running system; the config declares it: `streams: {robot: {push: true}}`.

    Args:
        stream: its name.
        session: the name of the system, where this machine runs several.

    Returns what takes frames and sound, until its `close` or as a context manager. One program a stream at a time.

    Raises ControlError where no such system runs or the stream is not declared so, SourceError where another program
    pushes into it.
    """
    name = session
    if name is None:
        running = running_sessions()
        name = running[0] if len(running) == 1 else DEFAULT_SESSION
    directory = find_session(name)
    return Push(stream, directory, ask(directory, PushRequest(stream), PushReply))


class Push:
    """Frames and sound of a program. For one thread at a time.

    Times are seconds on the program's own line, from any beginning, and grow; without them it is the clock. Frames are
    written once, into shared memory from which the workers read.

    `frames` and `sounds` count those that were pushed, `lost` those of both that the system did not take, because it
    was busy or is being started again.
    """

    def __init__(self, stream: str, directory: Path, reply: PushReply) -> None:
        self.frames = self.sounds = self.lost = 0
        self._stream, self._directory, self._reply = stream, directory, reply
        self._lock = self._locked()
        self._number = time.monotonic_ns()
        self._line = VisitorSender(directory, stream)
        self._began_ns = time.monotonic_ns()
        self._ring: Ring | None = None
        self._made = 0
        self._allocator = SlotAllocator(1, leased=False)
        self._sound_end_ns: int | None = None
        self._taken = False
        self._closed = False

    def _locked(self) -> int:
        path = Path(visitor_endpoint(self._directory, self._stream).removeprefix("ipc://")).with_suffix(".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SourceError(f"another program pushes into '{self._stream}' already") from None
        return descriptor

    def frame(self, pixels: NDArray[np.uint8], t: float | None = None) -> bool:
        """Push a picture: uint8 [H, W, 3] RGB. It is copied once, into shared memory.

        Returns False where it was lost (`lost` counts). Raises SourceError where it is anything else, SlotError where
        shared memory is full, ControlError where the system has ended.
        """
        height, width = check_picture(np.asarray(pixels)).shape[:2]
        size = scaled_size(width, height, self._reply.max_height)
        if size != (width, height):
            import cv2

            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        with self.slot(size[1], size[0], t, shown=(width, height)) as room:
            np.copyto(room, pixels)
        return self._taken

    @contextlib.contextmanager
    def slot(
        self, height: int, width: int, t: float | None = None, *, shown: tuple[int, int] | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Lend the shared memory of the next picture, uint8 [height, width, 3] RGB, to be drawn into: no copy at all.

        It is pushed at the end of the context, unless that is left by an error; the array is not to be used then.

        Args:
            shown: (width, height) in whose pixels boxes shall be; by default the picture's own.

        Raises SourceError where the picture is higher than `capture.max_height`, or the stream takes sound only.
        """
        self._check_open()
        if not self._reply.picture:
            raise SourceError(f"'{self._stream}' takes sound only: it is declared with push: sound")
        if not (0 < height <= self._reply.max_height and width > 0):
            raise SourceError(f"a slot has 1 to {self._reply.max_height} rows (capture.max_height), not {height}")
        grab_ns = time.monotonic_ns()
        ring = self._room(height * width * 3)
        number = self._allocator.take()
        assert number is not None
        yield ring.begin(number, (height, width, 3))
        note = PushedFrame(
            visit=self._number,
            pts_ns=self._time_ns(t, grab_ns),
            grab_ns=grab_ns,
            ring=ring.name,
            slot=number,
            generation=ring.end(number),
            shape=(height, width, 3),
            size=shown or (width, height),
        )
        self.frames += 1
        self._taken = self._send(note)

    def sound(self, samples: NDArray[Any], rate: int, t: float | None = None) -> bool:
        """Push a stretch of sound: float32 [S] or [S, C] in −1…1, or int16, at `rate` samples a second.

        Args:
            t: time of its first sample; by default it follows on the one before.

        Waits up to a second for a system that is busy. Returns False where it, or a part of it, was lost. Raises as
        `frame`.
        """
        self._check_open()
        if not self._reply.sound:
            raise SourceError(f"'{self._stream}' takes no sound: push: picture, or the config has no speech model")
        samples = np.asarray(samples)
        if samples.dtype == np.int16:
            samples = samples.astype(np.float32) / np.float32(32768)
        if not 8000 <= rate <= MOST_RATE:
            raise SourceError(f"sound has 8 to {MOST_RATE // 1000} kHz, not {rate} samples a second")
        mono = voices_of(samples, rate)[0].astype("<f4", copy=False)
        begin_ns = self._sound_begin_ns(t, mono.size * NANO // rate)
        taken, piece = True, round(MOST_SOUND_S * rate)
        grab_ns = time.monotonic_ns()
        for begin in range(0, mono.size, piece):
            note = PushedSound(visit=self._number, pts_ns=begin_ns + begin * NANO // rate, grab_ns=grab_ns, rate=rate)
            taken = self._send(note, mono[begin : begin + piece].tobytes(), SOUND_WAITS_S) and taken
        self.sounds += 1
        self._sound_end_ns = begin_ns + mono.size * NANO // rate
        return taken

    def _sound_begin_ns(self, t: float | None, length_ns: int) -> int:
        if t is not None:
            return round(t * NANO)
        now_ns = time.monotonic_ns() - self._began_ns - length_ns
        if self._sound_end_ns is None or abs(self._sound_end_ns - now_ns) > LEAP_NS:
            return now_ns
        return self._sound_end_ns

    def _time_ns(self, t: float | None, grab_ns: int) -> int:
        return grab_ns - self._began_ns if t is None else round(t * NANO)

    def _room(self, size: int) -> Ring:
        """The ring for pictures of `size` bytes; new where they have grown, or somebody has removed it."""
        if self._ring is None or self._ring.gone or size > self._ring.slot_bytes:
            folder = Path(self._reply.slots)
            if not folder.is_dir():
                raise self._ended()
            budget = min(self._reply.memory_mb * 2**20, shutil.disk_usage(folder).free // 3)
            slots = slots_for(budget, size)
            self._ring = Ring(folder, ring_name(self._stream, self._number, "face", self._made), slots, size)
            self._made += 1
            self._allocator = SlotAllocator(slots, leased=False)
        return self._ring

    def _send(self, note: PushedFrame | PushedSound, data: bytes = b"", within_s: float = 0.0) -> bool:
        end = time.monotonic() + within_s
        while not self._line.send(note, data):
            if time.monotonic() >= end:
                break
            time.sleep(RETRY_S)
        else:
            return True
        self.lost += 1
        if not self._directory.is_dir():
            raise self._ended()
        return False

    def _ended(self) -> ControlError:
        return ControlError(f"session '{self._directory.name}' has ended: begin to push again once it runs")

    def _check_open(self) -> None:
        if self._closed:
            raise SourceError("this push is closed")

    def close(self) -> None:
        """Stop pushing; the stream then waits for the next program."""
        if not self._closed:
            self._closed = True
            self._line.send(Left(self._number, "the program has closed it"))
            self._line.close()
            os.close(self._lock)

    def __enter__(self) -> Push:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
