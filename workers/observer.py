"""Base classes of outputs: actors that read the event bus and show, send or store what they read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bimodal.broker.errors import SlotError
from bimodal.broker.events import Emotion
from bimodal.broker.frames import RingCache
from bimodal.broker.mailbox import Mailbox, Subscriber
from bimodal.broker.messages import Body, Job, StreamClosed, StreamOpened
from bimodal.broker.sockets import events_endpoint
from bimodal.workers.actor import ActorSettings

Pixels = NDArray[np.uint8]

# Heartbeats and a stop are due between turns.
MOST_READING_S = 0.1
# A frame waits for its event about as long as inference takes; capture has at most 32 slots under way.
MOST_WAITING = 48


class Observer:
    """Base of an output: reads the event bus in the loop of its own process.

    An output is one class with `on_event`, its settings in workers/settings.py and its row in the process table
    (bimodal/supervisor/processes.py). Override any other method of the Actor protocol where there is more to do:

        class PostActor(Observer):
            def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
                super().__init__(settings, mailbox)
                self._url = own(settings, PostSettings).url
                self._problem: str | None = None

            def on_event(self, event: Emotion) -> None:
                try:
                    httpx.post(self._url, content=msgspec.json.encode(event), timeout=2).raise_for_status()
                    self._problem = None
                except httpx.HTTPError as error:
                    self._problem = f"{self._url} takes no events: {error}"

            def degraded_reason(self) -> str | None:
                return self._problem

    A slow output loses events and delays nobody. One whose `on_event` blocks for 15 s counts as hung and
    is restarted, as is one that raises; a WorkerError carries a sentence for the user.

    Attributes:
        topics: beginnings of the topics to subscribe to ("process.", "status"); messages other than events go to
            `on_message`.
        turn_s: seconds that the loop waits for a message of the bus at most; None: until the next beat.
        read_s: seconds that `on_idle` waits for one, of an output whose loop does not wait.
    """

    topics: tuple[str, ...] = ("emotion.",)
    turn_s: float | None = None
    read_s = 0.0

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Subscribe; what is published from now on waits until the loop reads it."""
        self.models: dict[str, str] = {}
        self.events = 0
        self._bus = Subscriber(events_endpoint(Path(settings.directory)), self.topics)
        self._mailbox = mailbox
        mailbox.watch(self._bus.watched)

    def on_event(self, event: Emotion) -> None:
        """Handle one event."""
        raise NotImplementedError

    def on_message(self, body: Body) -> None:
        """Handle one message of the other topics."""

    def on_idle(self) -> None:
        """Handle what arrives; a subclass with more to do in each turn calls this first."""
        found = self._bus.receive(self.read_s)
        if found is not None:
            self._gather()
        end = time.monotonic() + MOST_READING_S
        while found is not None:
            self._dispatch(found[1])
            found = self._bus.receive(0.0) if time.monotonic() < end else None

    def _gather(self) -> None:
        """Wait a moment for more, in an output that need not have each message at once."""

    def _dispatch(self, body: Body) -> None:
        if isinstance(body, Emotion):
            self.events += 1
            self.on_event(body)
        else:
            self.on_message(body)

    def on_connected(self) -> None:
        """Nothing to announce."""

    def figures(self) -> dict[str, float]:
        """Events handled."""
        return {"events": float(self.events)}

    def degraded_reason(self) -> str | None:
        """None: whoever needs a reason overrides this."""
        return None

    def finished(self) -> int | None:
        """None: it runs until it is stopped."""
        return None

    def close(self) -> None:
        """Disconnect from the bus."""
        self._mailbox.unwatch(self._bus.watched)
        self._bus.close()


class FramedEvent(NamedTuple):
    """One event and the frame that it describes.

    Attributes:
        seq, pts_ns: the event's place in the stream, and its time on the stream's own time line.
        pixels: uint8 [H, W, 3] RGB, a copy; None where they were not wanted, where the stream has no picture, or where
            the slot was overwritten before it could be read.
        size: width and height of the picture as it is shown, in whose pixels boxes are; None where it was not
            announced.
    """

    stream: str
    seq: int
    pts_ns: int
    pixels: Pixels | None
    event: Emotion
    size: tuple[int, int] | None = None


class FrameObserver(Observer):
    """Base of an output that needs pictures: gives each event with its frame to `on_frame`.

    A frame is announced on the bus before inference, and nobody keeps its shared slot for us: its pixels are copied at
    once and wait here for their event. `on_message` gets openings and closings of streams, announcements of sound, and
    further topics, in order with the events.
    """

    topics: tuple[str, ...] = ("frame.", "stream.", "closed.", "emotion.")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        super().__init__(settings, mailbox)
        self._rings = RingCache(Path(settings.slots))
        self._pairing = Pairing(self._pixels)

    def on_frame(self, framed: FramedEvent) -> None:
        """Handle one event with its frame."""
        raise NotImplementedError

    def wants_pixels(self, stream: str) -> bool:  # noqa: ARG002
        """True while pixels of this stream are worth copying; asked anew for every frame."""
        return True

    def copied(self, job: Job, part: slice = slice(None)) -> NDArray[Any] | None:
        """A copy of (a part of) the data that a job announces; None where its slot has been overwritten."""
        try:
            ring = self._rings.reader(job.ring)
            data = np.array(ring.view(job)[part])
            return data if ring.holds(job) else None
        except SlotError:
            return None

    def _dispatch(self, body: Body) -> None:
        sound = isinstance(body, Job) and body.modality == "speech"
        if sound or not isinstance(body, Job | Emotion):
            self.on_message(body)
        framed = None if sound else self._pairing.take(body)
        if framed is not None:
            self.events += 1
            self.on_frame(framed)

    def _pixels(self, job: Job) -> Pixels | None:
        return self.copied(job) if self.wants_pixels(job.stream) else None


class _Waiting(NamedTuple):
    pts_ns: int
    pixels: Pixels | None
    size: tuple[int, int]


class Pairing:
    """Joins frames and events of all streams. Pure but for `read`, which copies a frame's pixels out of its slot."""

    def __init__(self, read: Callable[[Job], Pixels | None], most_waiting: int = MOST_WAITING) -> None:
        self._read = read
        self._most = most_waiting
        self._runs: dict[str, int] = {}
        self._waiting: dict[str, OrderedDict[int, _Waiting]] = {}

    @property
    def waiting(self) -> int:
        """Number of frames whose event has not come."""
        return sum(len(frames) for frames in self._waiting.values())

    def take(self, body: Body) -> FramedEvent | None:
        """Take one message of the bus and return the pair that it completes.

        Older runs of a stream are ignored; a new run starts afresh.
        """
        match body:
            case Job() if self._current(body.stream, body.run):
                self._announced(body)
            case Emotion() if self._current(body.stream, body.run):
                return self._completed(body)
            case StreamOpened():
                self._opened(body)
            case StreamClosed() if self._current(body.stream, body.run):
                self._waiting[body.stream].clear()
            case _:
                pass
        return None

    def _opened(self, opened: StreamOpened) -> None:
        # The broker publishes no opening of an older run: a lower number is a stream that was removed and added again.
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
        frames[job.seq] = _Waiting(job.pts_ns, self._read(job), job.size or (job.shape[1], job.shape[0]))
        while len(frames) > self._most:
            frames.popitem(last=False)

    def _completed(self, event: Emotion) -> FramedEvent:
        frames = self._waiting[event.stream]
        # Events come in order: an earlier frame was dropped, and its event will not come.
        while frames and next(iter(frames)) < event.seq:
            frames.popitem(last=False)
        frame = frames.pop(event.seq, None)
        if frame is None:
            return FramedEvent(event.stream, event.seq, round(event.t * 1e9), None, event)
        return FramedEvent(event.stream, event.seq, frame.pts_ns, frame.pixels, event, frame.size)
