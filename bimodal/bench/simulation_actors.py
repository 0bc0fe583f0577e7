"""Simulated captures, face workers and fusion: they say what real ones say, and wait where real ones compute."""

from __future__ import annotations

import random
import time
from collections import Counter, deque

from bimodal.bench.simulation_crowd import Crowd, Line
from bimodal.bench.simulation_load import Load, Seen
from bimodal.broker.events import Emotion, Latency, TrackedFace, Verdict
from bimodal.broker.messages import (
    Ack,
    Assignment,
    Body,
    Delivery,
    Dropped,
    Face,
    FaceResult,
    Hints,
    Job,
    JobFailed,
    LaneMessage,
    Ready,
    Region,
    Release,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    Welcome,
)
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.actor import ACK_EVERY

SHAPE = (360, 640, 3)
WARM = 0.1
"""The first tenth of the jobs is not counted."""

_PROBABILITIES = {emotion: round((index + 1) / 28, 4) for index, emotion in enumerate(EMOTIONS)}
_MODELS = {"face-detector": "detector@1", "face-landmarks": "landmarks@1", "face-static": "static@1"}
_BUSY = -1
FACES = (
    Face(
        box=(212.0, 96.0, 131.0, 131.0),
        score=0.98,
        sharpness=0.7,
        mouth=0.1,
        probabilities=_PROBABILITIES,
        embedding=bytes(256),
    ),
)
_TRACKED = (
    TrackedFace(
        track=1,
        box=(212, 96, 131, 131),
        score=0.98,
        static=_PROBABILITIES,
        dynamic=None,
        video=_PROBABILITIES,
        fused=_PROBABILITIES,
        label="happy",
        confidence=0.77,
        weights={"video": 1.0, "speech": 0.0},
    ),
)
_REGIONS = (Region(x=277.0, y=161.0, side=190.0, angle=0.0, score=0.98, box=(0.0, 0.0, 0.7, 0.7)),)
_VERDICT = Verdict(label="happy", confidence=0.77, probabilities=_PROBABILITIES)
_LATENCY = Latency(queue=1.2, inference=14.1, total=19.8)


class SimulatedCapture:
    """One stream without pixels. Under `latest` a job at each of its times; under `every` one for each credit."""

    def __init__(self, crowd: Crowd, line: Line, stream: str, load: Load) -> None:
        self.line = line
        self.closed = False
        self._crowd = crowd
        self._stream = stream
        self._load = load
        self._sent = 0
        self._period_ns = round(1e9 * load.streams / load.rate) if load.rate else 0
        self._due_ns = 0

    def open(self, start_ns: int) -> None:
        """Announce the stream; its first job comes at a moment of its own within the first period."""
        opened = StreamOpened(
            stream=self._stream,
            run=1,
            policy=self._load.policy,
            source="simulated",
            has_picture=True,
            has_sound=False,
            width=SHAPE[1],
            height=SHAPE[0],
            fps=30.0,
        )
        self.line.send(opened)
        if self._load.policy == "latest":
            self._due_ns = start_ns + round(random.Random(self._stream).random() * self._period_ns)
            self._crowd.at(self._due_ns, self._tick)
        else:
            self._crowd.at(start_ns, self._spend_credit)

    def _tick(self) -> None:
        self._offer()
        if self._sent < self._load.jobs:
            self._due_ns += self._period_ns
            self._crowd.at(self._due_ns, self._tick)

    def _spend_credit(self) -> None:
        for _ in range(min(self._load.credit, self._load.jobs)):
            self._offer()

    def _offer(self) -> None:
        seq = self._sent
        self._sent += 1
        now_ns = time.monotonic_ns()
        self.line.send(
            Job(
                stream=self._stream,
                run=1,
                modality="face",
                seq=seq,
                pts_ns=now_ns,
                grab_ns=now_ns,
                ring="simulated",
                slot=seq % self._load.credit,
                generation=seq,
                shape=SHAPE,
            )
        )
        if self._sent == self._load.jobs:
            self.line.send(StreamEnded(stream=self._stream, run=1, modality="face", count=self._sent))
            self.line.send(StreamEnded(stream=self._stream, run=1, modality="speech", count=0))

    def handle(self, body: Body) -> None:
        """A credit comes back, or the stream is over."""
        if isinstance(body, Release):
            for _ in range(min(len(body.seqs), self._load.jobs - self._sent)):
                self._offer()
        elif isinstance(body, StreamClosed):
            self.closed = True


class SimulatedWorker:
    """Waits over each job as long as the load says, and answers with one face.

    In its answers `grab_ns` is when the answer was sent, and `queue_ns` how long the job was on its way to this worker,
    or -1 where this worker was busy when it was sent: then it did not wait for the broker alone.
    """

    def __init__(self, crowd: Crowd, line: Line, load: Load) -> None:
        self.line = line
        self._crowd = crowd
        self._inference_ns = round(load.inference_s * 1e9)
        self._held: deque[tuple[Assignment, int]] = deque()
        self._free_since = 0
        self._live = load.policy == "latest"

    def handle(self, body: Body) -> None:
        """A job, or the broker's welcome."""
        if isinstance(body, Welcome):
            self.line.send(Ready(last=0))
            self._free_since = time.monotonic_ns()
        elif isinstance(body, Assignment):
            now_ns, sent_ns = time.monotonic_ns(), body.job.grab_ns
            free = not self._held and sent_ns >= self._free_since
            self._held.append((body, now_ns - sent_ns if free else _BUSY))
            if len(self._held) == 1:
                self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        if self._inference_ns:
            self._crowd.at(now_ns + self._inference_ns, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        assignment, way_in_ns = self._held.popleft()
        job, now_ns = assignment.job, time.monotonic_ns()
        self.line.send(
            FaceResult(
                number=assignment.number,
                stream=job.stream,
                run=job.run,
                seq=job.seq,
                pts_ns=job.pts_ns,
                grab_ns=now_ns,
                faces=FACES,
                queue_ns=way_in_ns,
                inference_ns=self._inference_ns,
                models=_MODELS,
                hints=Hints(regions=_REGIONS, until=job.seq + 1) if self._live else None,
            )
        )
        self._free_since = now_ns
        if self._held:
            self._begin(now_ns)


class SimulatedFusion:
    """Answers each result with an event at once, and keeps count of everything."""

    def __init__(self, line: Line, load: Load) -> None:
        self.line = line
        self._load = load
        self._settled: Counter[tuple[str, int]] = Counter()
        self._counts: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._received = self._acknowledged = 0
        self._answers: list[tuple[int, int, int]] = []
        self._dropped = self._failed = 0

    @property
    def done(self) -> bool:
        """Whether every job of every stream is settled."""
        return len(self._counts) == self._load.streams and not any(self._open.values())

    def handle(self, body: Body) -> None:
        """A delivery; acknowledged as workers/actor.py does."""
        if not isinstance(body, Delivery) or body.number <= self._received:
            return
        self._deal_with(body.message, time.monotonic_ns())
        self._received = body.number
        if self._received - self._acknowledged >= ACK_EVERY or not self.line.waiting():
            self._acknowledged = self._received
            self.line.send(Ack(number=self._received))

    def _deal_with(self, message: LaneMessage, now_ns: int) -> None:
        match message:
            case FaceResult():
                self._answers.append((now_ns, now_ns - message.grab_ns, message.queue_ns))
                self.line.send(_event(message))
                self._settle(message.stream, message.seq)
            case Dropped():
                self._dropped += 1
                self._settle(message.stream, message.seq)
            case JobFailed():
                self._failed += 1
                self._settle(message.stream, message.seq)
            case StreamOpened():
                # Announced again: the broker has given up what lay before that, for fusion was too far behind.
                for seq in range(message.next_face_seq):
                    if (message.stream, seq) not in self._settled:
                        self._dropped += 1
                        self._settle(message.stream, seq)
            case StreamEnded() if message.modality == "face":
                self._counts[message.stream] = message.count
                self._open[message.stream] = self._open.get(message.stream, 0) + message.count
                self._close(message.stream)
            case _:
                pass

    def _settle(self, stream: str, seq: int) -> None:
        self._settled[stream, seq] += 1
        if self._settled[stream, seq] == 1:
            self._open[stream] = self._open.get(stream, 0) - 1
            self._close(stream)

    def _close(self, stream: str) -> None:
        if stream in self._counts and not self._open[stream]:
            self.line.send(StreamClosed(stream=stream, run=1, frames=self._counts[stream]))

    def seen(self) -> Seen:
        """What came of it."""
        answers = self._answers
        counted = answers[int(len(answers) * WARM) :]
        jobs = sum(self._counts.values())
        return Seen(
            jobs=jobs,
            answered=len(answers),
            dropped=self._dropped,
            failed=self._failed,
            missing=jobs - len(self._settled),
            twice=sum(times > 1 for times in self._settled.values()),
            seconds=(answers[-1][0] - answers[0][0]) / 1e9 if answers else 0.0,
            way_in_ms=tuple(way_in / 1e6 for _, _, way_in in counted if way_in != _BUSY),
            way_back_ms=tuple(back / 1e6 for _, back, _ in counted),
            both_ms=tuple((way_in + back) / 1e6 for _, back, way_in in counted if way_in != _BUSY),
        )


def _event(result: FaceResult) -> Emotion:
    return Emotion(
        stream=result.stream,
        run=result.run,
        seq=result.seq,
        t=result.pts_ns / 1e9,
        faces=_TRACKED,
        speech=None,
        emotion=_VERDICT,
        latency_ms=_LATENCY,
        models=_MODELS,
    )
