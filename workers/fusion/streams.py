"""Fusion of one stream and run: results in, in whatever order they come; events out, in the order of the frames."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeAlias, TypeVar

from bimodal.broker.events import Emotion
from bimodal.broker.messages import (
    Dropped,
    FaceResult,
    JobFailed,
    LaneMessage,
    Modality,
    SpeechResult,
    StreamClosed,
    StreamEnded,
    StreamOpened,
)
from bimodal.workers.fusion import events
from bimodal.workers.fusion.scene import NO_MODELS, FusionModels, Meaning, Scene
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.speech import SpeechLine, of_hop

Outcome: TypeAlias = FaceResult | SpeechResult | JobFailed


class StreamFusion:
    """One run of one stream, from its opening to its close. Holds no clock and no socket.

    One event a video frame, or one a hop where the stream has no picture. A failed job keeps its place, a dropped
    one leaves none. Under policy `every` the events depend on the messages alone, not on the order in which the
    two modalities' results arrive.
    """

    def __init__(
        self,
        opened: StreamOpened,
        settings: FusionSettings,
        models: FusionModels = NO_MODELS,
    ) -> None:
        self.opened = opened
        self.closed: StreamClosed | None = None
        self._settings = settings
        self._models = models
        limit = settings.order_limit if opened.policy == "latest" else None
        self._lanes: dict[Modality, Lane[Outcome]] = {
            "face": Lane(opened.next_face_seq, limit),
            "speech": Lane(opened.next_speech_seq, limit),
        }
        self._shown: Modality = "face" if opened.has_picture else "speech"
        self._speech = SpeechLine(opened, settings)
        self._scene = Scene(settings, models)
        self._frames: deque[Outcome] = deque()
        self._events = 0

    def reconfigure(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        """Use other settings and models from the next message on; nothing that is remembered or held is lost."""
        self._settings, self._models = settings, models
        for lane in self._lanes.values():
            lane.reconfigure(settings.order_limit if self.opened.policy == "latest" else None)
        self._speech.reconfigure(settings)
        self._scene.reconfigure(settings, models)

    @property
    def held(self) -> int:
        """How many results wait here, for an earlier one or for the speech that belongs to them."""
        return len(self._frames) + sum(lane.waiting for lane in self._lanes.values())

    def receive(self, message: LaneMessage, now_ns: int) -> list[Emotion | StreamClosed]:
        """One message from the broker; the events that are complete with it, and the close after the last.

        Args:
            now_ns: the monotonic clock of the capturing host; only for `latency_ms`.

        Messages of other streams and runs, duplicates, and what fusion has no use for change nothing.
        """
        if message.stream != self.opened.stream or message.run != self.opened.run or self.closed is not None:
            return []
        match message:
            case StreamOpened():
                self._resume("face", message.next_face_seq)
                self._resume("speech", message.next_speech_seq)
            case StreamEnded():
                self._lanes[message.modality].end(message.count)
            case FaceResult():
                self._resolve("face", message.seq, message)
            case SpeechResult():
                self._resolve("speech", message.seq, message)
            case JobFailed():
                self._resolve(message.modality, message.seq, None if message.stale else message)
            case Dropped():
                self._resolve(message.modality, message.seq, None)
            case _:
                return []
        return self._complete(now_ns)

    def _resolve(self, modality: Modality, seq: int, outcome: Outcome | None) -> None:
        lane = self._lanes[modality]
        joined_later = modality == "speech" and self._shown == "face" and lane.awaits(seq)
        if joined_later and isinstance(outcome, SpeechResult | JobFailed):
            self._speech.add(outcome)
        self._take(modality, lane.resolve(seq, outcome))

    def _resume(self, modality: Modality, next_seq: int) -> None:
        self._take(modality, self._lanes[modality].resume(next_seq))

    def _take(self, modality: Modality, outcomes: list[Outcome]) -> None:
        if modality == self._shown:
            self._frames.extend(outcomes)

    def _complete(self, now_ns: int) -> list[Emotion | StreamClosed]:
        complete: list[Emotion | StreamClosed] = []
        while self._frames and self._ready(self._frames[0].pts_ns):
            complete.append(self._event(self._frames.popleft(), now_ns))
        self._events += len(complete)
        if not self._frames and all(lane.ended for lane in self._lanes.values()):
            self.closed = StreamClosed(stream=self.opened.stream, run=self.opened.run, frames=self._events)
            complete.append(self.closed)
        return complete

    def _ready(self, pts_ns: int) -> bool:
        """Whether all speech that may belong to a frame of this time is known."""
        if self._shown == "speech":
            return True
        lane = self._lanes["speech"]
        return lane.ended or lane.next >= self._speech.awaited(pts_ns)

    def _event(self, outcome: Outcome, now_ns: int) -> Emotion:
        speech = self._speech.join(outcome.pts_ns) if self._shown == "face" else of_hop(outcome)
        self._scene.hear(outcome.pts_ns, speech)
        match outcome:
            case FaceResult():
                faces, meaning = self._scene.look(outcome.pts_ns, outcome.faces, speech, outcome.models)
            case SpeechResult():
                faces, meaning = (), self._scene.listen(speech, "no picture")
            case JobFailed():
                what = "frame" if self._shown == "face" else "speech"
                faces, meaning = (), Meaning(None, because=f"{what} failed: {outcome.because}")
        return events.emotion(
            outcome,
            faces,
            speech,
            meaning,
            self._models,
            min_confidence=self._settings.min_confidence,
            now_ns=now_ns,
        )


# Fusion of all streams: lane messages in, events out.


class Fusion:
    """Holds one StreamFusion a stream: that of its newest run. What is closed is remembered by its close alone."""

    def __init__(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        self._settings = settings
        self._models = models
        self._streams: dict[str, StreamFusion] = {}
        self._closed: dict[str, StreamClosed] = {}

    def reconfigure(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        """Use other settings and models, in all open streams and those to come."""
        self._settings, self._models = settings, models
        for stream in self._streams.values():
            stream.reconfigure(settings, models)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams that are open."""
        return tuple(self._streams)

    @property
    def held(self) -> int:
        """How many results wait in all streams."""
        return sum(stream.held for stream in self._streams.values())

    def receive(self, message: LaneMessage, now_ns: int) -> list[Emotion | StreamClosed]:
        """One message from the broker; the events that are complete with it.

        A new run of a stream takes the place of the old one, whatever that still held. Messages of older runs and
        of streams that were never opened change nothing. A run that is closed and announced again is closed again
        at once: the first close may have been lost with a broker.
        """
        if isinstance(message, StreamOpened):
            closed = self._open(message)
            if closed is not None:
                return [closed]
        stream = self._streams.get(message.stream)
        if stream is None:
            return []
        complete = stream.receive(message, now_ns)
        if stream.closed is not None:
            self._closed[message.stream] = stream.closed
            del self._streams[message.stream]
        return complete

    def _open(self, opened: StreamOpened) -> StreamClosed | None:
        """Make room for the run, unless it is old or open already; the close where it is closed already."""
        closed, held = self._closed.get(opened.stream), self._streams.get(opened.stream)
        if closed is not None and closed.run >= opened.run:
            return closed if closed.run == opened.run else None
        if held is None or held.opened.run < opened.run:
            self._closed.pop(opened.stream, None)
            self._streams[opened.stream] = StreamFusion(opened, self._settings, self._models)
        return None


# Restores the order of one modality's jobs. Workers answer in any order; every job is resolved exactly once.


_T = TypeVar("_T")


class Lane(Generic[_T]):
    """The jobs of one stream, run and modality, counted from 0 and given out in that order.

    There are no timers: a job that will not come is reported as dropped, and until then everything after it waits.

    Attributes:
        next: the first job that is not yet resolved in order; all before it are.
        count: how many jobs there are in all, once that is known.
    """

    def __init__(self, next_seq: int = 0, limit: int | None = None) -> None:
        """`limit`: with more outcomes than this waiting, what they wait for counts as dropped; None: never."""
        self.next = max(0, next_seq)
        self.count: int | None = None
        self._limit = limit
        self._waiting: dict[int, _T | None] = {}

    @property
    def ended(self) -> bool:
        """Whether every job there will ever be is resolved."""
        return self.count is not None and self.next >= self.count

    @property
    def waiting(self) -> int:
        """How many outcomes wait for an earlier job."""
        return len(self._waiting)

    def awaits(self, seq: int) -> bool:
        """Whether this job is still to be resolved; False for duplicates and for what lies outside the run."""
        return seq >= self.next and seq not in self._waiting and (self.count is None or seq < self.count)

    def resolve(self, seq: int, outcome: _T | None) -> list[_T]:
        """One job's outcome, None where it was dropped. Returns all outcomes that are now in order.

        A duplicate changes nothing.
        """
        if not self.awaits(seq):
            return []
        self._waiting[seq] = outcome
        released = self._release()
        if self._limit is not None and len(self._waiting) > self._limit:
            self.next = min(self._waiting)
            released += self._release()
        return released

    def reconfigure(self, limit: int | None) -> None:
        """Go on with another limit; it counts from the next outcome on."""
        self._limit = limit

    def resume(self, next_seq: int) -> list[_T]:
        """Nothing before `next_seq` will come any more: what is missing counts as dropped."""
        released: list[_T] = []
        for seq in sorted(seq for seq in self._waiting if seq < next_seq):
            outcome = self._waiting.pop(seq)
            if outcome is not None:
                released.append(outcome)
        self.next = max(self.next, next_seq)
        return released + self._release()

    def end(self, count: int) -> None:
        """There are `count` jobs in all."""
        if self.count is None:
            self.count = count
            self._waiting = {seq: outcome for seq, outcome in self._waiting.items() if seq < count}

    def _release(self) -> list[_T]:
        released: list[_T] = []
        while self.next in self._waiting:
            outcome = self._waiting.pop(self.next)
            self.next += 1
            if outcome is not None:
                released.append(outcome)
        return released
