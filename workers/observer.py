"""Frames and their events, side by side: for everyone who shows or draws what was seen (page, window, film).

A frame's pixels are announced on the bus before anyone has looked at them, and lie in a shared slot that nobody
holds for us. So they are copied at once, checked against the slot's generation, and wait here for their event.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Container, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.errors import SlotError
from bimodal.broker.events import Emotion
from bimodal.broker.frames import RingCache
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Body, Job, StreamClosed, StreamOpened
from bimodal.broker.sockets import events_endpoint

Pixels = NDArray[np.uint8]

# A frame waits for its event about as long as an answer takes; capture has at most 32 slots under way.
MOST_WAITING = 48
TOPICS = ("frame.", "stream.", "closed.", "emotion.")


class Watched(NamedTuple):
    """One event, and the frame that it speaks of.

    Attributes:
        seq, pts_ns: the event's place in the stream, and its time on the stream's own time line.
        pixels: uint8 [H, W, 3] RGB, ours to keep; None where nobody wanted them, where the stream has no picture,
            or where the slot was overwritten before it could be read.
        size: width and height of the frame; None where it was not announced.
    """

    stream: str
    seq: int
    pts_ns: int
    pixels: Pixels | None
    event: Emotion
    size: tuple[int, int] | None = None


class _Waiting(NamedTuple):
    pts_ns: int
    pixels: Pixels | None
    size: tuple[int, int]


class Pairing:
    """Joins frames and events of all streams. Pure but for `read`, which takes a frame's pixels out of its slot."""

    def __init__(self, read: Callable[[Job], Pixels | None], most_waiting: int = MOST_WAITING) -> None:
        self._read = read
        self._most = most_waiting
        self._runs: dict[str, int] = {}
        self._waiting: dict[str, OrderedDict[int, _Waiting]] = {}

    @property
    def waiting(self) -> int:
        """Frames whose event has not come."""
        return sum(len(frames) for frames in self._waiting.values())

    def take(self, body: Body) -> Watched | None:
        """One message of the bus; what it completes. Older runs of a stream are ignored, a new one starts afresh."""
        match body:
            case Job() if self._current(body.stream, body.run):
                self._announced(body)
            case Emotion() if self._current(body.stream, body.run):
                return self._felt(body)
            case StreamOpened():
                self._opened(body)
            case StreamClosed() if self._current(body.stream, body.run):
                self._waiting[body.stream].clear()
            case _:
                pass
        return None

    def _opened(self, opened: StreamOpened) -> None:
        # The broker publishes no opening of an older run: a lower number is a stream that was taken out and put back.
        if self._runs.get(opened.stream) != opened.run:
            self._runs[opened.stream] = opened.run
            self._waiting[opened.stream] = OrderedDict()

    def _current(self, stream: str, run: int) -> bool:
        known = self._runs.get(stream, -1)
        if run > known:
            self._runs[stream] = run
            self._waiting[stream] = OrderedDict()
        return run >= known

    def _announced(self, job: Job) -> None:
        frames = self._waiting[job.stream]
        frames[job.seq] = _Waiting(job.pts_ns, self._read(job), (job.shape[1], job.shape[0]))
        while len(frames) > self._most:
            frames.popitem(last=False)

    def _felt(self, event: Emotion) -> Watched:
        frames = self._waiting[event.stream]
        # Events come in order: a frame before this one has been passed over, and its event will not come.
        while frames and next(iter(frames)) < event.seq:
            frames.popitem(last=False)
        frame = frames.pop(event.seq, None)
        if frame is None:
            return Watched(event.stream, event.seq, round(event.t * 1e9), None, event)
        return Watched(event.stream, event.seq, frame.pts_ns, frame.pixels, event, frame.size)


class Watcher:
    """Reads the bus of a session and gives each event with its frame. Holds no slot and no one up.

    Attributes:
        wants_pixels: whether pixels are copied at all; may be changed at any time.
        pixels_of: the streams whose pixels are wanted, asked anew for every frame; None means all that are watched.
    """

    def __init__(
        self,
        directory: Path,
        slots: Path,
        streams: Collection[str] | None = None,
        *,
        also: Sequence[str] = (),
        told: Callable[[Body], None] | None = None,
    ) -> None:
        """Subscribe to the session with its sockets in `directory` and its shared slots in `slots`.

        Args:
            streams: those to watch; None means all, also those that come later.
            also: further topics, or beginnings of them ("process.", "status", "sound.").
            told: called with every StreamOpened, StreamClosed and message of `also`, in order with the events.
        """
        self.wants_pixels = True
        self.pixels_of: Container[str] | None = None
        self._streams = streams
        self._told = told
        self._rings = RingCache(slots)
        self._pairing = Pairing(self._pixels)
        self._bus = Subscriber(events_endpoint(directory), (*TOPICS, *also))

    def receive(self, timeout_s: float) -> Watched | None:
        """The next event with its frame, or None when the time is over."""
        deadline = time.monotonic() + timeout_s
        while (found := self._bus.receive(max(0.0, deadline - time.monotonic()))) is not None:
            watched = self._taken(found[1])
            if watched is not None:
                return watched
        return None

    def _taken(self, body: Body) -> Watched | None:
        if not self._watches(body):
            return None
        sound = isinstance(body, Job) and body.modality == "speech"
        if self._told is not None and (sound or not isinstance(body, Job | Emotion)):
            self._told(body)
        return None if sound else self._pairing.take(body)

    def _watches(self, body: Body) -> bool:
        stream = getattr(body, "stream", None)
        return stream is None or self._streams is None or stream in self._streams

    def _pixels(self, job: Job) -> Pixels | None:
        wanted = self.wants_pixels and (self.pixels_of is None or job.stream in self.pixels_of)
        if not wanted or job.modality != "face":
            return None
        try:
            ring = self._rings.reader(job.ring)
            pixels = np.array(ring.view(job))
            return pixels if ring.holds(job) else None
        except SlotError:
            return None

    def close(self) -> None:
        """Let go of the bus."""
        self._bus.close()
