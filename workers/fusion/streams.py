"""Fusion of streams: results in, in any order; events out, in the order of the frames."""

from __future__ import annotations

from collections import deque
from functools import reduce
from typing import Generic, TypeAlias, TypeVar

import msgspec

from bimodal.broker.events import Emotion, Hop
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
from bimodal.recordings.records import set_of
from bimodal.workers.fusion import events
from bimodal.workers.fusion.scene import NO_MODELS, FusionModels, Scene, SceneEmotion
from bimodal.workers.fusion.settings import FusionSettings
from bimodal.workers.fusion.speech import SpeechLine, leading_voice

FusionEvent: TypeAlias = Emotion | Hop | StreamClosed
Outcome: TypeAlias = FaceResult | SpeechResult | JobFailed


class StreamFusion:
    """One run of one stream, from its opening to its close. Holds no clock and no socket.

    One Emotion a video frame, or one a hop where the stream has no picture; and one Hop a hop and voice, in order. A
    failed job gives an event, a dropped one none. Under policy `every` the events do not depend on the order in which
    the two modalities' results arrive.
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
        self._emotions = set_of(opened)
        self._scene = Scene(settings, models, self._emotions)
        self._voices = max(1, len(opened.channels))
        self._frames: deque[Outcome] = deque()
        self._hops: deque[SpeechResult | JobFailed] = deque()
        self._hop: list[SpeechResult | JobFailed] = []
        self._voice_events = events.SpeechEvents()
        self._events = 0

    def reconfigure(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        """Use other settings and models from the next message on; no state is lost."""
        self._settings, self._models = settings, models
        for lane in self._lanes.values():
            lane.reconfigure(settings.order_limit if self.opened.policy == "latest" else None)
        self._speech.reconfigure(settings)
        self._scene.reconfigure(settings, models)

    @property
    def held(self) -> int:
        """Number of results that wait for an earlier one or for their speech."""
        return len(self._frames) + sum(lane.waiting for lane in self._lanes.values())

    def receive(self, message: LaneMessage, now_ns: int) -> list[FusionEvent]:
        """Take a message from the broker; returns the events that it completes, and the close after the last.

        Args:
            now_ns: the monotonic clock of the capturing host; only for `latency_ms`.

        Messages of other streams and runs, duplicates, and types that fusion does not use are ignored.
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
        if modality == "face":
            self._frames.extend(outcomes)
            return
        for outcome in outcomes:
            if isinstance(outcome, FaceResult):
                continue
            self._hops.append(outcome)
            if self._shown == "speech":
                self._take_voice(outcome)

    def _take_voice(self, outcome: SpeechResult | JobFailed) -> None:
        """Without pictures, of each hop the voice that speaks is the event; hops come whole, or lack dropped voices."""
        if self._hop and self._hop[0].seq // self._voices != outcome.seq // self._voices:
            self._end_hop()
        self._hop.append(outcome)
        if (outcome.seq + 1) % self._voices == 0:
            self._end_hop()

    def _end_hop(self) -> None:
        if self._hop:
            self._frames.append(reduce(leading_voice, self._hop))
            self._hop = []

    def _complete(self, now_ns: int) -> list[FusionEvent]:
        complete: list[FusionEvent] = []
        while self._hops:
            outcome = self._hops.popleft()
            heard = self._speech.of_voice(outcome) if isinstance(outcome, SpeechResult) else None
            complete.append(
                events.hop(outcome, heard, self.opened.channels, now_ns=now_ns, order=self._emotions.emotions)
            )
        if self._lanes["speech"].ended:
            self._end_hop()
        frames = len(self._frames)
        while self._frames and self._ready(self._frames[0].pts_ns):
            complete.append(self._event(self._frames.popleft(), now_ns))
        self._events += frames - len(self._frames)
        if not self._frames and all(lane.ended for lane in self._lanes.values()):
            self.closed = StreamClosed(stream=self.opened.stream, run=self.opened.run, frames=self._events)
            complete.append(self.closed)
        return complete

    def _ready(self, pts_ns: int) -> bool:
        """True once all speech that may belong to a frame of this time is known."""
        if self._shown == "speech":
            return True
        lane = self._lanes["speech"]
        return lane.ended or lane.next >= self._speech.awaited(pts_ns)

    def _event(self, outcome: Outcome, now_ns: int) -> Emotion:
        speech = self._speech.join(outcome.pts_ns) if self._shown == "face" else self._speech.of_hop(outcome)
        self._scene.on_speech(outcome.pts_ns, speech)
        match outcome:
            case FaceResult():
                faces, overall = self._scene.on_frame(
                    outcome.pts_ns, outcome.faces, speech, outcome.models, outcome.shot
                )
            case SpeechResult():
                faces, overall = (), self._scene.voice_only(speech, "no picture")
            case JobFailed():
                what = "frame" if self._shown == "face" else "speech"
                faces, overall = (), SceneEmotion(None, reason=f"{what} failed: {outcome.because}")
        if isinstance(outcome, SpeechResult | JobFailed) and self._shown == "speech" and self._voices > 1:
            outcome = msgspec.structs.replace(outcome, seq=outcome.seq // self._voices)
        return events.emotion(
            outcome,
            faces,
            speech,
            overall,
            self._models,
            min_confidence=self._settings.min_confidence,
            now_ns=now_ns,
            order=self._emotions.emotions,
            voices=self._voice_events,
        )


class Fusion:
    """Fusion of all streams, with one StreamFusion each, of its newest run. Of a closed one only the close is kept."""

    def __init__(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        self._settings = settings
        self._models = models
        self._streams: dict[str, StreamFusion] = {}
        self._closed: dict[str, StreamClosed] = {}

    def reconfigure(self, settings: FusionSettings, models: FusionModels = NO_MODELS) -> None:
        """Use other settings and models, in open and in future streams."""
        self._settings, self._models = settings, models
        for stream in self._streams.values():
            stream.reconfigure(settings, models)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the open streams."""
        return tuple(self._streams)

    @property
    def held(self) -> int:
        """Number of waiting results in all streams."""
        return sum(stream.held for stream in self._streams.values())

    def receive(self, message: LaneMessage, now_ns: int) -> list[FusionEvent]:
        """Take a message from the broker; returns the events that it completes.

        A new run of a stream replaces the old one with all its results. Messages of older runs and of streams that were
        never opened are ignored. A closed run that is announced again is closed again at once: the first close may
        have been lost with a broker.
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
        """Open the run, unless it is old or open already; returns the close of a run that is closed already."""
        closed, held = self._closed.get(opened.stream), self._streams.get(opened.stream)
        if closed is not None and closed.run >= opened.run:
            return closed if closed.run == opened.run else None
        if held is None or held.opened.run < opened.run:
            self._closed.pop(opened.stream, None)
            self._streams[opened.stream] = StreamFusion(opened, self._settings, self._models)
        return None


_T = TypeVar("_T")


class Lane(Generic[_T]):
    """Restores the order of the jobs of one stream, run and modality, counted from 0; workers answer in any order.

    Every job is resolved exactly once. There are no timers: a lost job is reported as dropped, and later ones wait
    until then.

    Attributes:
        next: the first job that is not yet resolved in order.
        count: number of jobs in all, once that is known.
    """

    def __init__(self, next_seq: int = 0, limit: int | None = None) -> None:
        """`limit`: with more waiting outcomes than this, the job they wait for counts as dropped; None: never."""
        self.next = max(0, next_seq)
        self.count: int | None = None
        self._limit = limit
        self._waiting: dict[int, _T | None] = {}

    @property
    def ended(self) -> bool:
        """True once all jobs are resolved."""
        return self.count is not None and self.next >= self.count

    @property
    def waiting(self) -> int:
        """Number of outcomes that wait for an earlier job."""
        return len(self._waiting)

    def awaits(self, seq: int) -> bool:
        """True where this job is unresolved; False for duplicates and for numbers outside the run."""
        return seq >= self.next and seq not in self._waiting and (self.count is None or seq < self.count)

    def resolve(self, seq: int, outcome: _T | None) -> list[_T]:
        """Take the outcome of a job, None where it was dropped. Returns all outcomes that are now in order.

        Duplicates are ignored.
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
        """Use another limit from the next outcome on."""
        self._limit = limit

    def resume(self, next_seq: int) -> list[_T]:
        """Go on at `next_seq`: unresolved jobs before it count as dropped."""
        released: list[_T] = []
        for seq in sorted(seq for seq in self._waiting if seq < next_seq):
            outcome = self._waiting.pop(seq)
            if outcome is not None:
                released.append(outcome)
        self.next = max(self.next, next_seq)
        return released + self._release()

    def end(self, count: int) -> None:
        """Set the number of jobs."""
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
