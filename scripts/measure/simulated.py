"""Simulated captures, face workers and fusion: they send what real ones send, and wait instead of computing."""

from __future__ import annotations

import heapq
import itertools
import random
import select
import selectors
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import zmq

from bimodal.broker.events import Emotion, Latency, TrackedFace, Verdict
from bimodal.broker.mailbox import HELLO_EVERY_S, HELLO_QUIET_S
from bimodal.broker.messages import (
    Ack,
    Assignment,
    Body,
    Delivery,
    Dropped,
    Face,
    FaceResult,
    Heartbeat,
    Hello,
    Hints,
    Job,
    JobFailed,
    LaneMessage,
    Policy,
    Ready,
    Region,
    Release,
    Role,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    Welcome,
    decode,
    seal,
)
from bimodal.broker.readers import raise_descriptor_limit
from bimodal.broker.router import SUPERVISOR
from bimodal.broker.sockets import bind, connect, events_endpoint, mailbox_endpoint
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.actor import ACK_EVERY

SHAPE = (360, 640, 3)
WARM = 0.1
"""The first tenth of the jobs is warm-up and not counted."""

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
    """One stream without pixels: under `latest` it sends jobs at its rate, under `every` one for each credit."""

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
        """Announce the stream; its first job is sent at its own offset within the first period."""
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
        """Handle a returned credit, or the end of the stream."""
        if isinstance(body, Release):
            for _ in range(min(len(body.seqs), self._load.jobs - self._sent)):
                self._offer()
        elif isinstance(body, StreamClosed):
            self.closed = True


class SimulatedWorker:
    """Waits for the load's inference time over each job, and answers with one face.

    In its answers `inference_ns` is the time from grabbing to sending, and `queue_ns` the job's transit time to this
    worker; -1 if this worker was busy when the job was sent, since it then waited for more than the broker.
    """

    def __init__(self, crowd: Crowd, line: Line, load: Load) -> None:
        self.line = line
        self._crowd = crowd
        self._inference_ns = round(load.inference_s * 1e9)
        self._held: deque[tuple[Assignment, int]] = deque()
        self._free_since = 0
        self._live = load.policy == "latest"

    def handle(self, body: Body) -> None:
        """Handle a job, or the broker's Welcome."""
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
                grab_ns=job.grab_ns,
                faces=FACES,
                queue_ns=way_in_ns,
                inference_ns=now_ns - job.grab_ns,
                models=_MODELS,
                hints=Hints(regions=_REGIONS, until=job.seq + 1) if self._live else None,
            )
        )
        self._free_since = now_ns
        if self._held:
            self._begin(now_ns)


class SimulatedFusion:
    """Sends an event for each result at once, and counts everything."""

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
        """True once every job of every stream is settled."""
        return len(self._counts) == self._load.streams and not any(self._open.values())

    def handle(self, body: Body) -> None:
        """Handle a delivery; acknowledged as in workers/actor.py."""
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
                sent_ns = message.grab_ns + message.inference_ns
                self._answers.append((now_ns, now_ns - sent_ns, message.queue_ns))
                self.line.send(_event(message))
                self._settle(message.stream, message.seq)
            case Dropped():
                self._dropped += 1
                self._settle(message.stream, message.seq)
            case JobFailed():
                self._failed += 1
                self._settle(message.stream, message.seq)
            case StreamOpened():
                # Announced again: fusion was too far behind, and the broker dropped everything before.
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
        """Summarise what was counted."""
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


# Many simulated processes in one, each with its own line to the broker, in one loop with one clock.

LONGEST_WAIT_S = 0.05
HELLO_BEATS = round(HELLO_QUIET_S / HELLO_EVERY_S)
MOST_SOCKETS = 16_384


class Line:
    """A simulated process's connection to the broker, in place of broker.mailbox.Mailbox.

    Attributes:
        name: of the process.
        epoch: of the broker; 0 before the first Welcome.
        hello: the Hello it sends, or None.
    """

    def __init__(self, name: str, socket: zmq.Socket[bytes], hello: Hello | None = None) -> None:
        self.name = name
        self.epoch = 0
        self.hello = hello
        self.socket = socket
        self.touched: Callable[[Line], None] = lambda _line: None

    def send(self, body: Body) -> None:
        """Send a message."""
        self.socket.send(seal(body, epoch=self.epoch, sender=self.name, incarnation=1))
        # Sending may also consume the notification of an arrival; the descriptor is then no longer readable.
        self.touched(self)

    def waiting(self) -> bool:
        """True if a message can be received."""
        return bool(self._option(zmq.EVENTS) & zmq.POLLIN)

    @property
    def descriptor(self) -> int:
        """A descriptor that becomes readable when something happens on the line."""
        return self._option(zmq.FD)

    def _option(self, option: int) -> int:
        value = self.socket.getsockopt(option)
        assert isinstance(value, int)
        return value

    def receive(self) -> Body | None:
        """Receive a message that is ready; None for a Welcome of the known broker."""
        envelope = decode(self.socket.recv())
        if isinstance(envelope.body, Welcome):
            if envelope.epoch == self.epoch:
                return None
            self.epoch = envelope.epoch
        return envelope.body


class _BusLine(Line):
    """A subscription to the event bus whose messages are discarded."""

    def receive(self) -> Body | None:
        """Receive a message and discard it."""
        self.socket.recv_multipart()
        return None


class Simulated(Protocol):
    """One simulated process."""

    line: Line

    def handle(self, body: Body) -> None:
        """Handle one message of the broker; the first is the Welcome."""


class Crowd:
    """The event loop of many simulated processes: lines, timers, and each one's Hello and heartbeat twice a second.

    Attributes:
        context: of all sockets.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # A process of its own has a socket or two; here are thousands, with two descriptors each.
        raise_descriptor_limit()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, MOST_SOCKETS)
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._touched: dict[Line, None] = {}
        self._actors: dict[Line, Simulated] = {}
        self._supervisor = self.line(SUPERVISOR, "supervisor")

    def line(self, name: str, role: Role) -> Line:
        """Make a line for a process of that name."""
        hello = Hello(role=role, modality="face" if role == "worker" else None)
        return Line(name, connect(self.context, zmq.DEALER, mailbox_endpoint(self._directory)), hello)

    def join(self, actor: Simulated) -> None:
        """Add a process to the loop; if it has a Hello, it sends it now and periodically."""
        line = actor.line
        self._actors[line] = actor
        line.touched = lambda touched: self._touched.setdefault(touched)
        self._selector.register(line.descriptor, selectors.EVENT_READ, line)
        if line.hello is not None:
            self._keep(line, line.hello)

    def leave(self, actor: Simulated) -> None:
        """Remove a process without a Hello from the loop."""
        line = actor.line
        self._selector.unregister(line.descriptor)
        del self._actors[line]
        self._touched.pop(line, None)
        line.socket.close(linger=0)

    def join_supervisor(self) -> None:
        """Add the supervisor, which also sends the heartbeats of the processes. Only one crowd may have it."""
        self.join(_Idle(self._supervisor))

    def join_listener(self) -> None:
        """Add a subscriber of the whole event bus, like a live page."""
        line = _BusLine("listener", connect(self.context, zmq.SUB, events_endpoint(self._directory)))
        line.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.join(_Idle(line))

    def _keep(self, line: Line, hello: Hello, beats: int = 0) -> None:
        """Send Hello (seldom, once it was answered) and heartbeat of a process, and schedule the next ones."""
        if not line.epoch or beats % HELLO_BEATS == 0:
            line.send(hello)
        if self._supervisor.epoch:
            beat = Heartbeat(name=line.name, incarnation=1, state="ready", pid=1, figures={"cpu_percent": 50.0})
            self._supervisor.send(beat)
        self.at(time.monotonic_ns() + round(HELLO_EVERY_S * 1e9), lambda: self._keep(line, hello, beats + 1))

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Schedule an action at a time of the monotonic clock."""
        heapq.heappush(self._timers, (due_ns, next(self._order), action))

    @property
    def connected(self) -> bool:
        """True once the broker has welcomed all processes."""
        return all(line.epoch for line in self._actors if line.hello is not None)

    def serve(self, until: Callable[[], bool]) -> None:
        """Run the loop until `until` returns True."""
        while not until():
            self._ring()
            while self._touched:
                line, _ = self._touched.popitem()
                self._read(line)
            for line in self._wait():
                self._read(line)

    def _ring(self) -> None:
        """Run the timers that are due now: those that they set, on a busy machine due already, come after the mail."""
        now_ns = time.monotonic_ns()
        while self._timers and self._timers[0][0] <= now_ns:
            heapq.heappop(self._timers)[2]()

    def _wait(self) -> list[Line]:
        """Wait for activity, at most until the next timer; the lines with activity."""
        if self._touched:
            return []
        due_ns = self._timers[0][0] if self._timers else 0
        left_s = min(LONGEST_WAIT_S, max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
        # The selector's own timeout is in whole milliseconds.
        select.select([self._selector], [], [], left_s)
        return [key.data for key, _ in self._selector.select(0)]

    def _read(self, line: Line) -> None:
        actor = self._actors[line]
        while line.waiting():
            body = line.receive()
            if body is not None:
                actor.handle(body)

    def close(self) -> None:
        """Close all lines."""
        for line in {*self._actors, self._supervisor}:
            line.socket.close(linger=0)
        self.context.term()


class _Idle:
    """A process that handles no messages."""

    def __init__(self, line: Line) -> None:
        self.line = line

    def handle(self, body: Body) -> None:
        """Ignore the message."""


# The reference of a simulation: jobs and answers directly over ZeroMQ, without the broker.

PACE_NS = 1_000_000


def straight_ms(crowd: Crowd, directory: Path, count: int) -> tuple[float, ...]:
    """Send `count` jobs from one socket to another, each answered at once. Returns the round-trip times in ms.

    Sockets, loop and messages are those of the simulation.
    """
    endpoint = f"ipc://{directory / 'straight.ipc'}"
    worker = _Worker(Line("worker", bind(crowd.context, zmq.DEALER, endpoint)))
    capture = _Capture(Line("capture", connect(crowd.context, zmq.DEALER, endpoint)), crowd, count)
    for actor in (worker, capture):
        crowd.join(actor)
    crowd.at(time.monotonic_ns(), capture.offer)
    crowd.serve(lambda: len(capture.ways_ms) >= count)
    for actor in (worker, capture):
        crowd.leave(actor)
    return tuple(capture.ways_ms)


class _Worker:
    def __init__(self, line: Line) -> None:
        self.line = line

    def handle(self, body: Body) -> None:
        if not isinstance(body, Job):
            return
        now_ns = time.monotonic_ns()
        self.line.send(
            FaceResult(
                number=1,
                stream=body.stream,
                run=1,
                seq=body.seq,
                pts_ns=body.pts_ns,
                grab_ns=now_ns,
                faces=FACES,
                queue_ns=now_ns - body.grab_ns,
                inference_ns=0,
            )
        )


class _Capture:
    def __init__(self, line: Line, crowd: Crowd, count: int) -> None:
        self.line = line
        self.ways_ms: list[float] = []
        self._crowd = crowd
        self._left = count

    def offer(self) -> None:
        self._left -= 1
        now_ns = time.monotonic_ns()
        self.line.send(
            Job(
                stream="straight",
                run=1,
                modality="face",
                seq=self._left,
                pts_ns=now_ns,
                grab_ns=now_ns,
                ring="simulated",
                slot=0,
                generation=0,
                shape=SHAPE,
            )
        )
        if self._left:
            self._crowd.at(now_ns + PACE_NS, self.offer)

    def handle(self, body: Body) -> None:
        if isinstance(body, FaceResult):
            self.ways_ms.append((body.queue_ns + time.monotonic_ns() - body.grab_ns) / 1e6)


# Loads and results, as passed between the bench and its simulators.


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A simulated load, whose workers wait instead of computing.

    Attributes:
        workers, streams: their numbers.
        policy: `latest`: `rate` jobs a second of all streams together; `every`: as fast as jobs are done, with
            `credit` jobs of each stream in flight.
        jobs: per stream.
        rate: jobs a second; policy `latest` only.
        inference_s: time that a worker waits per job.
        credit: slots of a stream; policy `every` only.
        straight: number of jobs first sent from one socket to another, without the broker.
    """

    workers: int
    streams: int
    policy: Policy
    jobs: int
    rate: float = 0.0
    inference_s: float = 0.0
    credit: int = 8
    straight: int = 0


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a load that one simulator plays: numbers of workers and streams; the first also plays the rest."""

    load: Load
    directory: str
    workers: tuple[int, ...]
    streams: tuple[int, ...]
    first: bool


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The counts of simulated fusion.

    Attributes:
        jobs: number offered, as reported by captures at their end.
        answered, dropped, failed: number settled in each way.
        missing, twice: number settled never, or more than once: both must be 0.
        seconds: from the first to the last answer.
        way_in_ms: of each job for which a worker was free: from sending by capture to arrival at the worker.
        way_back_ms: of every answer: from sending to arrival at fusion.
        both_ms: the sum, of each job that has both.
    """

    jobs: int
    answered: int
    dropped: int
    failed: int
    missing: int
    twice: int
    seconds: float
    way_in_ms: tuple[float, ...]
    way_back_ms: tuple[float, ...]
    both_ms: tuple[float, ...]


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """The result of playing one load.

    Attributes:
        load: the load.
        seen: the counts of fusion.
        broker_s, simulators_s: CPU seconds (user and system) of the broker and of all simulators meanwhile.
        seconds: duration.
        straight_ms: round-trip time of each job sent without the broker.
    """

    load: Load
    seen: Seen
    broker_s: float
    simulators_s: float
    seconds: float
    straight_ms: tuple[float, ...]

    @property
    def jobs_per_s(self) -> float:
        """Answered jobs a second, from the first answer to the last."""
        return (self.seen.answered - 1) / self.seen.seconds if self.seen.seconds > 0 else 0.0

    @property
    def broker_share(self) -> float:
        """Share of one core used by the broker."""
        return self.broker_s / self.seconds

    @property
    def broker_ms_per_job(self) -> float:
        """CPU milliseconds of the broker per job."""
        return 1e3 * self.broker_s / max(1, self.seen.jobs)
