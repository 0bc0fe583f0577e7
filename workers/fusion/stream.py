"""Fusion of one stream and run: results in, in whatever order they come; events out, in the order of the frames."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from bimodal.broker.messages import (
    Dropped,
    Emotion,
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
from bimodal.workers.fusion.dynamic import DynamicModel
from bimodal.workers.fusion.join import SpeechLine, of_hop
from bimodal.workers.fusion.learned import LearnedFusion
from bimodal.workers.fusion.order import Lane
from bimodal.workers.fusion.scene import Meaning, Scene
from bimodal.workers.fusion.settings import FusionSettings

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
        dynamic: DynamicModel | None = None,
        learned: LearnedFusion | None = None,
    ) -> None:
        self.opened = opened
        self.closed: StreamClosed | None = None
        self._settings = settings
        self._dynamic = dynamic.identity if dynamic is not None else None
        self._learned = learned.identity if learned is not None else None
        limit = settings.order_limit if opened.policy == "latest" else None
        self._lanes: dict[Modality, Lane[Outcome]] = {
            "face": Lane(opened.next_face_seq, limit),
            "speech": Lane(opened.next_speech_seq, limit),
        }
        self._shown: Modality = "face" if opened.has_picture else "speech"
        self._speech = SpeechLine(opened, settings)
        self._scene = Scene(settings, dynamic, learned)
        self._frames: deque[Outcome] = deque()
        self._events = 0

    def reconfigure(
        self, settings: FusionSettings, dynamic: DynamicModel | None, learned: LearnedFusion | None = None
    ) -> None:
        """Go on with other settings, from the next message on; nothing that is remembered or held is lost."""
        self._settings = settings
        self._dynamic = dynamic.identity if dynamic is not None else None
        self._learned = learned.identity if learned is not None else None
        for lane in self._lanes.values():
            lane.reconfigure(settings.order_limit if self.opened.policy == "latest" else None)
        self._speech.reconfigure(settings)
        self._scene.reconfigure(settings, dynamic, learned)

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
            min_confidence=self._settings.min_confidence,
            dynamic=self._dynamic,
            learned=self._learned,
            now_ns=now_ns,
        )
