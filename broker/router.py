"""What the broker does with each message: routing as a pure state machine around dispatch and lanes.

A message comes in with its sender's name; posts (to one actor) and publications (to the event bus) come out.
Sockets, epochs and clocks stay in broker/process.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from bimodal.broker.dispatch import Dispatch
from bimodal.broker.events import Emotion
from bimodal.broker.lanes import BUNDLE, MOST_BACKLOG, Lane, Lanes
from bimodal.broker.messages import (
    MOST_FOLLOWED,
    Ack,
    Assignment,
    Body,
    Dropped,
    FaceResult,
    Gone,
    Heartbeat,
    Hello,
    Hints,
    Job,
    JobFailed,
    LaneMessage,
    Modality,
    OffDuty,
    Ready,
    Reconfigure,
    Reconfigured,
    Release,
    Role,
    SpeechResult,
    StartAgain,
    Status,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamStatus,
    StreamWithdrawn,
    failed,
)
from bimodal.broker.queues import Action, Assign, Drop

# The name that the supervisor says Hello with.
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Post:
    """Send `body` to the actor named `to`."""

    to: str
    body: Body


@dataclass(frozen=True)
class Publish:
    """Put `body` on the event bus; `name` is its stream or process."""

    name: str
    body: Emotion | Job | StreamOpened | StreamClosed | Heartbeat | Status


Out: TypeAlias = Post | Publish


@dataclass
class _Peer:
    incarnation: int
    role: Role
    modality: Modality | None


class PostOffice:
    """Peers, streams and lanes, and what each message does to them."""

    def __init__(self, dispatch: Dispatch | None = None) -> None:
        self.dispatch = dispatch or Dispatch()
        self._peers: dict[str, _Peer] = {}
        self._streams: dict[str, OpenStream] = {}
        self._receivers = Receivers(self.dispatch, self._streams)

    # -------------------------------------------------------------------------------- who is there

    def knows(self, name: str, incarnation: int) -> bool:
        """Whether this life of this actor has said Hello."""
        peer = self._peers.get(name)
        return peer is not None and peer.incarnation == incarnation

    def refuses(self, sender: str, body: Body) -> bool:
        """Whether this known actor may not say this: who only listens to the bus has no jobs, streams or answers."""
        peer = self._peers.get(sender)
        return peer is not None and peer.role == "observer" and not isinstance(body, Heartbeat)

    def hello(self, name: str, incarnation: int, hello: Hello, now_ns: int) -> tuple[bool, list[Out]]:
        """An actor says it is here: whether that is news, and what follows. Older lives are ignored."""
        peer = self._peers.get(name)
        if peer is not None and peer.incarnation >= incarnation:
            return False, []
        out = self._forget(name, now_ns)
        self._peers[name] = _Peer(incarnation, hello.role, hello.modality)
        if hello.role in ("fusion", "recorder"):
            lane = self._receivers.lanes.open(name, hello.role)
            for stream in self._streams.values():
                out += self._begin_again(stream, name, lane)
        return True, out + self._pump()

    def _begin_again(self, stream: OpenStream, newcomer: str, lane: Lane) -> list[Out]:
        """A stateful actor is new: a live stream goes on from here, a file starts again."""
        if not stream.every:
            if stream.closed is None:
                self._receivers.resume(stream, lane)
            return []
        if stream.restarting:
            return []
        stream.restarting = True
        opened = stream.opened
        return [Post(stream.capture, StartAgain(stream=opened.stream, run=opened.run, because=f"{newcomer} is new"))]

    def _forget(self, name: str, now_ns: int) -> list[Out]:
        if self._peers.pop(name, None) is None:
            return []
        self._receivers.lanes.close(name)
        return self._carry_out(self.dispatch.gone(name, now_ns)) + self._unkept(name)

    def _unkept(self, recorder: str) -> list[Out]:
        """A recorder is gone: live streams that only waited for it are over (a file begins again for its next life)."""
        out: list[Out] = []
        for stream in list(self._streams.values()):
            if not stream.every and stream.closed is not None and recorder in stream.unkept_by:
                stream.unkept_by.remove(recorder)
                out += [] if stream.unkept_by else self._finish(stream, stream.closed)
        return out

    # -------------------------------------------------------------------------------- messages

    def handle(self, sender: str, body: Body, now_ns: int) -> list[Out]:
        """One message of a known actor: what follows. Messages that have no business here change nothing."""
        if self.refuses(sender, body):
            return []
        out: list[Out] = []
        match body:
            case Job():
                out = self._offered(body, now_ns)
            case FaceResult() | SpeechResult() | JobFailed():
                out = self._answered(sender, body, now_ns)
            case Ready():
                out = self._ready(sender, body, now_ns)
            case Ack():
                out = self._acknowledged(sender, body)
            case Emotion():
                out = self._felt(body)
            case StreamOpened():
                out = self._opened(sender, body)
            case StreamEnded():
                self._ended(self._current(body.stream, body.run), body)
            case StreamClosed():
                out = self._closed(sender, body)
            case Gone():
                if self.knows(body.name, body.incarnation):
                    out = self._forget(body.name, now_ns)
            case Heartbeat():
                out = [Publish(body.name, body)]
            case OffDuty() | Reconfigure() | StreamWithdrawn():
                out = self._ordered(sender, body, now_ns)
            case Reconfigured():
                out = [Post(SUPERVISOR, body)]
            case _:
                pass
        return out + self._pump()

    def _ordered(self, sender: str, order: OffDuty | Reconfigure | StreamWithdrawn, now_ns: int) -> list[Out]:
        """What only the supervisor may say."""
        if self._peers[sender].role != "supervisor":
            return []
        match order:
            case OffDuty():
                return self._carry_out(self.dispatch.off_duty(order.workers, now_ns))
            case Reconfigure():
                return [Post(order.to, order)] if order.to in self._peers else []
            case StreamWithdrawn():
                self._withdraw(order.stream)
                return []

    def tick(self, now_ns: int) -> list[Out]:
        """Deadlines, and what was kept for later; to be called several times a second."""
        out = self._carry_out(self.dispatch.expire(now_ns))
        for stream in self._streams.values():
            out += self._give_back(stream)
        return out + self._pump(everything=True)

    def status(self) -> Status:
        """The counters of streams, jobs and workers, for the bus."""
        return Status(
            streams=tuple(stream.status(self.dispatch) for stream in self._streams.values()),
            waiting=self.dispatch.waiting(),
            workers=self.dispatch.workers(),
            undecodable=0,
        )

    # -------------------------------------------------------------------------------- streams

    def _current(self, stream: str, run: int) -> OpenStream | None:
        state = self._streams.get(stream)
        return state if state is not None and state.opened.run == run and not state.restarting else None

    def _opened(self, sender: str, opened: StreamOpened) -> list[Out]:
        known = self._streams.get(opened.stream)
        if known is not None and known.opened.run > opened.run:
            return []
        if known is None or known.opened.run != opened.run:
            self._streams[opened.stream] = OpenStream(opened, sender)
        next_seqs: dict[Modality, int] = {"face": opened.next_face_seq, "speech": opened.next_speech_seq}
        self.dispatch.open_stream(opened.stream, opened.run, opened.policy, next_seqs)
        self._receivers.tell("fusion", opened)
        self._receivers.tell("recorder", opened)
        return [Publish(opened.stream, opened)]

    def _closed(self, sender: str, closed: StreamClosed) -> list[Out]:
        stream = self._current(closed.stream, closed.run)
        if stream is None:
            return []
        if self._peers[sender].role == "fusion":
            recorders = set(self._receivers.lanes.of("recorder"))
            stream.closed, stream.unkept_by = closed, recorders
            self._receivers.tell("recorder", closed)
            return [Publish(closed.stream, closed)] + ([] if recorders else self._finish(stream, closed))
        stream.unkept_by.discard(sender)
        return self._finish(stream, closed) if not stream.unkept_by or closed.because else []

    def _finish(self, stream: OpenStream, closed: StreamClosed) -> list[Out]:
        self.dispatch.close_stream(closed.stream)
        del self._streams[closed.stream]
        return [Post(stream.capture, closed)]

    def _withdraw(self, name: str) -> None:
        """Nothing more comes of this stream: it ends as one that is over, and closes when its jobs are settled."""
        stream = self._streams.get(name)
        if stream is None:
            return
        for modality in MODALITIES:
            count = self.dispatch.tally(name, modality).next_seq
            self._ended(stream, StreamEnded(stream=name, run=stream.opened.run, modality=modality, count=count))

    def _ended(self, stream: OpenStream | None, end: StreamEnded) -> None:
        """The first word on the end of a modality counts; capture says it again to each new broker."""
        if stream is not None and end.modality not in stream.ended:
            stream.ended[end.modality] = end
            self._receivers.tell("fusion", end)

    # -------------------------------------------------------------------------------- jobs

    def _offered(self, job: Job, now_ns: int) -> list[Out]:
        stream = self._current(job.stream, job.run)
        if stream is None:
            return []
        if stream.every:
            stream.leases.add((job.modality, job.seq))
        else:
            self._receivers.tell_missing(job)
        out: list[Out] = [Publish(job.stream, job)]
        return out + self._carry_out(self.dispatch.offer(job, now_ns))

    def _ready(self, sender: str, ready: Ready, now_ns: int) -> list[Out]:
        modality = self._peers[sender].modality
        if modality is None:
            return []
        return self._carry_out(
            self.dispatch.ready(sender, modality, ready.last, now_ns, ready.capacity, ready.in_advance)
        )

    def _answered(self, sender: str, answer: FaceResult | SpeechResult | JobFailed, now_ns: int) -> list[Out]:
        bad = isinstance(answer, JobFailed)
        job, actions = self.dispatch.answered(sender, answer.number, now_ns, failed=bad)
        if job is not None and (job.stream, job.seq) == (answer.stream, answer.seq):
            if isinstance(answer, JobFailed) and answer.stale:
                if self._streams[job.stream].every:
                    # A leased slot is never overwritten; should it be gone all the same, the frame keeps its place.
                    answer = failed(job, answer.because)
                else:
                    self.dispatch.count_stale(job)
            if isinstance(answer, FaceResult):
                self._streams[job.stream].seen.remember(answer)
            self._receivers.tell("fusion", answer, later=self._ahead(self._streams[job.stream]))
        return self._carry_out(actions)

    def _carry_out(self, actions: list[Action]) -> list[Out]:
        out: list[Out] = []
        for action in actions:
            job = action.job
            if isinstance(action, Assign):
                stream = self._streams.get(job.stream)
                # Frames of files are looked at in any order and at once: each by itself, so that the answer is one.
                hints = stream.seen.for_job(job) if stream is not None and not stream.every else None
                given = Assignment(number=action.number, job=job, waited_ns=action.waited_ns, hints=hints)
                out.append(Post(action.worker, given))
            elif isinstance(action, Drop):
                self._receivers.tell("fusion", _dropped(job, action.because))
            else:
                self._receivers.tell("fusion", failed(job, action.because))
        return out

    def _felt(self, emotion: Emotion) -> list[Out]:
        stream = self._current(emotion.stream, emotion.run)
        if stream is None:
            return []
        ahead = self._ahead(stream)
        self._receivers.tell("recorder", emotion, later=ahead)
        out: list[Out] = [Publish(emotion.stream, emotion)]
        if ("face", emotion.seq) in stream.leases:
            stream.leases.remove(("face", emotion.seq))
            stream.settled.append(emotion.seq)
        return out + (self._give_back(stream) if not ahead or len(stream.settled) >= BUNDLE else [])

    def _ahead(self, stream: OpenStream) -> bool:
        """Whether so many frames of a file wait for workers that nobody waits for what comes of the ones before."""
        return stream.every and self.dispatch.waiting_of(stream.opened.stream, "face") >= BUNDLE

    def _give_back(self, stream: OpenStream) -> list[Out]:
        """The credits of frames whose events are out."""
        settled, stream.settled = stream.settled, []
        return [_release(stream, "face", settled)] if settled else []

    # -------------------------------------------------------------------------------- lanes

    def _acknowledged(self, sender: str, ack: Ack) -> list[Out]:
        out: list[Out] = []
        for message in self._receivers.lanes.acknowledge(sender, ack.number):
            # A frame's credit is back when its event is out; a speech window has no event of its own.
            if isinstance(message, SpeechResult) or (isinstance(message, JobFailed) and message.modality == "speech"):
                stream = self._current(message.stream, message.run)
                if stream is not None and ("speech", message.seq) in stream.leases:
                    stream.leases.remove(("speech", message.seq))
                    out.append(_release(stream, "speech", [message.seq]))
        return out

    def _pump(self, *, everything: bool = False) -> list[Out]:
        return [Post(name, delivery) for name, delivery in self._receivers.lanes.take(everything=everything)]


def _release(stream: OpenStream, modality: Modality, seqs: list[int]) -> Post:
    opened = stream.opened
    return Post(stream.capture, Release(stream=opened.stream, run=opened.run, modality=modality, seqs=tuple(seqs)))


def _dropped(job: Job, because: str) -> Dropped:
    return Dropped(stream=job.stream, run=job.run, modality=job.modality, seq=job.seq, because=because)


# What fusion and the recorders are told, and what one is told again that is new or was too far behind.


class Receivers:
    """The lanes, and the streams that go over them.

    Attributes:
        lanes: one for each receiver that is here.
    """

    def __init__(self, dispatch: Dispatch, streams: Mapping[str, OpenStream]) -> None:
        self.lanes = Lanes()
        self._dispatch = dispatch
        self._streams = streams

    def tell(self, role: Role, message: LaneMessage, *, later: bool = False) -> None:
        """Tell all receivers of a role."""
        for lane in self.lanes.tell(role, message, later=later):
            self._shed(lane)

    def tell_missing(self, job: Job) -> None:
        """Jobs before this one that were offered while no broker was there: fusion must not wait for them."""
        due = self._dispatch.tally(job.stream, job.modality).next_seq
        for seq in range(max(due, job.seq - MOST_BACKLOG), job.seq):
            missing = Dropped(
                stream=job.stream, run=job.run, modality=job.modality, seq=seq, because="no broker was there"
            )
            self.tell("fusion", missing)

    def resume(self, stream: OpenStream, lane: Lane) -> None:
        """Announce a live stream from its oldest open job on; fusion must not wait for later ones that are settled."""
        name, run = stream.opened.stream, stream.opened.run
        oldest = {modality: self._dispatch.oldest_open(name, modality) for modality in MODALITIES}
        lane.push(
            msgspec.structs.replace(stream.opened, next_face_seq=oldest["face"], next_speech_seq=oldest["speech"])
        )
        if lane not in self.lanes.of("fusion").values():
            return
        for modality in MODALITIES:
            for seq in self._dispatch.settled_early(name, modality):
                because = "it was settled before fusion was there"
                lane.push(Dropped(stream=name, run=run, modality=modality, seq=seq, because=because))
        for end in stream.ended.values():
            lane.push(end)

    def _shed(self, lane: Lane) -> None:
        """The receiver is far behind: drop what waits of live streams, and announce them again from here."""
        live = {name: stream for name, stream in self._streams.items() if not stream.every}
        dropped = lane.discard(lambda message: message.stream in live)
        if not dropped:
            return
        for stream in live.values():
            self.resume(stream, lane)
        # Nobody says twice that a stream is closed.
        for message in dropped:
            if isinstance(message, StreamClosed):
                lane.push(message)


# Where faces of a live stream were last seen, kept for the next frame's worker. Pure; one of these a stream and run.
#
# Workers stay without state: what one of them found travels back with its answer, and on with the next assignment.


@dataclass
class LastSeen:
    """What the answer to the newest frame said."""

    seq: int = -1
    hints: Hints | None = None

    def remember(self, answer: FaceResult) -> None:
        """An answer came; those to older frames, which another worker took longer for, change nothing."""
        if answer.seq > self.seq:
            self.seq, self.hints = answer.seq, answer.hints

    def for_job(self, job: Job) -> Hints | None:
        """What goes along with this frame; None where its worker has to look for faces itself."""
        if job.modality != "face" or self.hints is None:
            return None
        until = min(self.hints.until, self.seq + MOST_FOLLOWED)
        return self.hints if self.seq < job.seq < until else None


# A stream that is open: what the broker keeps of it beside its jobs.


MODALITIES: tuple[Modality, ...] = ("face", "speech")


@dataclass
class OpenStream:
    """One run of a stream.

    Attributes:
        capture: the name of its capture.
        leases: of a file, the jobs whose credits are out.
        settled: seqs of frames whose credits are to go back.
        ended: what capture has said of the ends of its jobs: fusion that is new must hear it too.
        closed: what fusion has said when all was dealt with.
        unkept_by: of one that is closed, the recorders that have not yet kept all of it.
        restarting: whether capture was asked to begin anew: nothing of this run counts any more.
        seen: where faces were, for the next frames of a live stream.
    """

    opened: StreamOpened
    capture: str
    leases: set[tuple[Modality, int]] = field(default_factory=set)
    settled: list[int] = field(default_factory=list)
    ended: dict[Modality, StreamEnded] = field(default_factory=dict)
    closed: StreamClosed | None = None
    unkept_by: set[str] = field(default_factory=set)
    restarting: bool = False
    seen: LastSeen = field(default_factory=LastSeen)

    @property
    def every(self) -> bool:
        """Whether it is a file, of which every frame is looked at."""
        return self.opened.policy == "every"

    def status(self, dispatch: Dispatch) -> StreamStatus:
        """Its counters, for the bus."""
        opened = self.opened
        tallies = {modality: dispatch.tally(opened.stream, modality) for modality in MODALITIES}
        return StreamStatus(
            stream=opened.stream,
            policy=opened.policy,
            source=opened.source,
            offered={modality: tally.offered for modality, tally in tallies.items()},
            done={modality: tally.done for modality, tally in tallies.items()},
            dropped={modality: tally.dropped for modality, tally in tallies.items()},
            failed={modality: tally.failed for modality, tally in tallies.items()},
            reasons={modality: dict(tally.reasons) for modality, tally in tallies.items()},
        )
