"""Routing of messages: a pure state machine around dispatch and lanes.

A message comes in with its sender's name; messages to single actors (`Send`) and to the event bus (`Publish`) come
out. Sockets, epochs and clocks stay in broker/process.py.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import msgspec

from bimodal.broker.answers import Agreement, fault, label_of
from bimodal.broker.dispatch import Dispatch
from bimodal.broker.events import Emotion, Hop, Stretch
from bimodal.broker.lanes import BUNDLE, Lane, Lanes
from bimodal.broker.messages import (
    ELSEWHERE,
    SETTINGS,
    Ack,
    Assignment,
    Body,
    Dismissed,
    Dropped,
    ExpectedWorker,
    FaceResult,
    Gone,
    Heartbeat,
    Hello,
    Instruct,
    Job,
    JobFailed,
    Modality,
    ModelFile,
    OffDuty,
    Ready,
    Reconfigure,
    Reconfigured,
    Refusal,
    Release,
    Role,
    Shadow,
    Shadowed,
    SpeechResult,
    StartAgain,
    Status,
    StreamClosed,
    StreamEnded,
    StreamOpened,
    StreamWithdrawn,
    failed,
)
from bimodal.broker.queues import Action, Assign, Drop
from bimodal.broker.streams import MODALITIES, OpenStream

log = logging.getLogger(__name__)

# The supervisor's name in its Hello.
SUPERVISOR = "supervisor"


@dataclass(frozen=True)
class Send:
    """Send `body` to the actor named `to`."""

    to: str
    body: Body


@dataclass(frozen=True)
class Publish:
    """Put `body` on the event bus; `name` is its stream or process."""

    name: str
    body: Emotion | Hop | Stretch | Job | StreamOpened | StreamClosed | Heartbeat | Status


Out: TypeAlias = Send | Publish


@dataclass
class _Peer:
    incarnation: int
    role: Role
    modality: Modality | None
    product: str = ""
    models: dict[str, str] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    files: tuple[ModelFile, ...] = ()
    takes: bool = False
    dismissed: bool = False
    refused: str | None = None


class Router:
    """Peers, streams and lanes; `handle` applies a message to them and returns the messages that follow."""

    def __init__(self, dispatch: Dispatch | None = None) -> None:
        self.dispatch = dispatch or Dispatch()
        self._peers: dict[str, _Peer] = {}
        self._expected: dict[Modality, _Peer] = {}
        self._streams: dict[str, OpenStream] = {}
        self._lanes = Lanes(self.dispatch, self._streams)
        self._agreement = Agreement()

    # -------------------------------------------------------------------------------- peers

    def knows(self, name: str, incarnation: int) -> bool:
        """True if this incarnation of this actor has said Hello."""
        peer = self._peers.get(name)
        return peer is not None and peer.incarnation == incarnation

    def is_live(self, stream: str) -> bool:
        """True for an open stream of policy `latest`."""
        state = self._streams.get(stream)
        return state is not None and not state.every

    def refuses(self, sender: str, body: Body) -> bool:
        """True if this known actor may not send `body`: observers may send heartbeats only."""
        peer = self._peers.get(sender)
        return peer is not None and peer.role == "observer" and not isinstance(body, Heartbeat)

    def hello(self, name: str, incarnation: int, hello: Hello, now_ns: int) -> tuple[bool, list[Out]]:
        """Register an actor; return whether its incarnation is new, and what follows. Older ones are ignored."""
        peer = self._peers.get(name)
        if peer is not None and peer.incarnation >= incarnation:
            return False, []
        out = self._forget(name, now_ns)
        self._peers[name] = _Peer(
            incarnation,
            hello.role,
            hello.modality,
            hello.product,
            hello.models,
            hello.settings,
            hello.files,
            hello.takes,
        )
        if hello.role == "worker":
            out += self._compare(now_ns)
        if hello.role in ("fusion", "recorder"):
            lane = self._lanes.open(name, hello.role)
            for stream in self._streams.values():
                out += self._resume_or_restart(stream, name, lane)
        return True, out + self._due_deliveries()

    def _resume_or_restart(self, stream: OpenStream, newcomer: str, lane: Lane) -> list[Out]:
        """A stateful actor has joined: a live stream goes on from its present position, a file starts again."""
        if not stream.every:
            if stream.closed is None:
                self._lanes.resume(stream, lane)
            return []
        if stream.restarting:
            return []
        stream.restarting = True
        opened = stream.opened
        return [Send(stream.capture, StartAgain(stream=opened.stream, run=opened.run, because=f"{newcomer} is new"))]

    def expect(self, expected: Sequence[ExpectedWorker], now_ns: int) -> list[Out]:
        """Compare the workers of other machines with these from now on, where none of their kind is here."""
        self._expected = {
            one.modality: _Peer(0, "worker", one.modality, one.product, one.models, one.settings, one.files)
            for one in expected
        }
        return self._compare(now_ns)

    def _compare(self, now_ns: int) -> list[Out]:
        """Compare the workers of other machines with those here: with other models or another version, one stream's
        results would come from two models. Returns what each side is told where that has changed."""
        out: list[Out] = []
        for name, peer in self._peers.items():
            if peer.role != "worker" or ELSEWHERE not in name:
                continue
            here = self._workers_here(peer.modality)
            reason = _misfit(peer, here) if here else None
            if reason != peer.refused:
                peer.refused = reason
                out += self._carry_out(self.dispatch.refuse(name, reason, now_ns))
                log.warning("%s %s", name, f"gets no jobs: {reason}" if reason else "gets jobs")
                out.append(Send(name, Refusal(because=reason)))
                out.append(Send(SUPERVISOR, Dismissed(name=name, incarnation=peer.incarnation, because=reason)))
        return out

    def _workers_here(self, modality: Modality | None) -> list[_Peer]:
        """The workers of this machine that are on duty, and have said with which models they work; without any, what
        is expected of workers elsewhere."""
        found = [
            other
            for known, other in self._peers.items()
            if other.role == "worker"
            and other.modality == modality
            and ELSEWHERE not in known
            and self.dispatch.on_duty(known)
            and other.models
        ]
        return found or [one for kind, one in self._expected.items() if kind == modality]

    def instructions(self) -> list[Send]:
        """What the workers of other machines that get no jobs are to work with; of those that take it over."""
        out = []
        for name, peer in self._peers.items():
            if peer.refused is not None and peer.takes:
                home = next((one for one in self._workers_here(peer.modality) if one.files), None)
                if home is not None and home.product == peer.product:
                    out.append(Send(name, Instruct(settings=home.settings, files=home.files)))
        return out

    def model_file(self, sender: str, sha256: str) -> ModelFile | None:
        """A file that a worker of another machine may have: one that a worker on duty here has loaded, or that is
        expected of it."""
        peer = self._peers.get(sender)
        if peer is None or not peer.takes:
            return None
        files = (file for one in self._workers_here(peer.modality) for file in one.files)
        return next((file for file in files if file.sha256 == sha256), None)

    def _forget(self, name: str, now_ns: int) -> list[Out]:
        peer = self._peers.pop(name, None)
        if peer is None:
            return []
        self._lanes.close(name)
        out: list[Out] = []
        if peer.refused is not None:  # what was told of it is over; one that comes again is compared anew
            out.append(Send(SUPERVISOR, Dismissed(name=name, incarnation=peer.incarnation, because=None)))
        return out + self._carry_out(self.dispatch.gone(name, now_ns)) + self._close_without(name)

    def _close_without(self, recorder: str) -> list[Out]:
        """A recorder is gone: finish the live streams that only waited for it (files start again)."""
        out: list[Out] = []
        for stream in list(self._streams.values()):
            if not stream.every and stream.closed is not None and recorder in stream.unsaved_by:
                stream.unsaved_by.remove(recorder)
                out += [] if stream.unsaved_by else self._finish(stream, stream.closed)
        return out

    # -------------------------------------------------------------------------------- messages

    def handle(self, sender: str, body: Body, now_ns: int) -> list[Out]:
        """Apply a message of a known actor and return what follows. Unexpected messages change nothing."""
        if self.refuses(sender, body):
            return []
        out: list[Out] = []
        match body:
            case Job():
                out = self._on_job(body, now_ns)
            case FaceResult() | SpeechResult() | JobFailed():
                out = self._on_answer(sender, body, now_ns)
            case Ready():
                out = self._on_ready(sender, body, now_ns)
            case Ack():
                out = self._on_ack(sender, body)
            case Emotion():
                out = self._on_emotion(body)
            case Hop():
                out = self._on_hop(body)
            case Stretch():
                out = [Publish(body.stream, body)] if self._current(body.stream, body.run) is not None else []
            case StreamOpened():
                out = self._on_stream_opened(sender, body)
            case StreamEnded():
                self._on_stream_ended(self._current(body.stream, body.run), body)
            case StreamClosed():
                out = self._on_stream_closed(sender, body)
            case Gone():
                if self.knows(body.name, body.incarnation):
                    out = self._forget(body.name, now_ns)
            case Heartbeat():
                reason = self.dispatch.dismissed(sender) or self._peers[sender].refused
                out = [Publish(body.name, body if reason is None else msgspec.structs.replace(body, because=reason))]
            case OffDuty() | Shadow() | Reconfigure() | StreamWithdrawn():
                out = self._on_order(sender, body, now_ns)
            case Reconfigured():
                out = [Send(SUPERVISOR, body)]
            case _:
                pass
        return out + self._due_deliveries()

    def _on_order(self, sender: str, order: OffDuty | Shadow | Reconfigure | StreamWithdrawn, now_ns: int) -> list[Out]:
        """Apply a message that only the supervisor may send."""
        if self._peers[sender].role != "supervisor":
            return []
        match order:
            case OffDuty():
                return self._carry_out(self.dispatch.off_duty(order.workers, now_ns)) + self._compare(now_ns)
            case Shadow():
                self.dispatch.shadow(order.workers)
                if not order.workers:
                    self._agreement = Agreement()
                return []
            case Reconfigure():
                return [Send(order.to, order)] if order.to in self._peers else []
            case StreamWithdrawn():
                self._withdraw(order.stream)
                return []

    def tick(self, now_ns: int) -> list[Out]:
        """Enforce deadlines and send what was held for later. To be called several times a second while `busy`."""
        out = self._carry_out(self.dispatch.expire(now_ns)) + self._dismissals()
        for stream in self._streams.values():
            out += self._release_settled(stream)
        return out + self._due_deliveries(everything=True)

    @property
    def busy(self) -> bool:
        """True while something may become due without a message: a deadline of a job, or what was held for later."""
        return self.dispatch.busy or self._lanes.hold or any(stream.settled for stream in self._streams.values())

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

    def _on_stream_opened(self, sender: str, opened: StreamOpened) -> list[Out]:
        known = self._streams.get(opened.stream)
        if known is not None and known.opened.run > opened.run:
            return []
        if known is None or known.opened.run != opened.run:
            self._streams[opened.stream] = OpenStream(opened, sender)
        next_seqs: dict[Modality, int] = {"face": opened.next_face_seq, "speech": opened.next_speech_seq}
        self.dispatch.open_stream(opened.stream, opened.run, opened.policy, next_seqs, ordered=opened.quick)
        self._lanes.send("fusion", opened)
        self._lanes.send("recorder", opened)
        return [Publish(opened.stream, opened)]

    def _on_stream_closed(self, sender: str, closed: StreamClosed) -> list[Out]:
        stream = self._current(closed.stream, closed.run)
        if stream is None:
            return []
        if self._peers[sender].role == "fusion":
            recorders = set(self._lanes.of("recorder"))
            stream.closed, stream.unsaved_by = closed, recorders
            self._lanes.send("recorder", closed)
            return [Publish(closed.stream, closed)] + ([] if recorders else self._finish(stream, closed))
        stream.unsaved_by.discard(sender)
        return self._finish(stream, closed) if not stream.unsaved_by or closed.because else []

    def _finish(self, stream: OpenStream, closed: StreamClosed) -> list[Out]:
        self.dispatch.close_stream(closed.stream)
        del self._streams[closed.stream]
        return [Send(stream.capture, closed)]

    def _withdraw(self, name: str) -> None:
        """End a stream whose source was removed: no more jobs come, and it closes once its jobs are settled."""
        stream = self._streams.get(name)
        if stream is None:
            return
        for modality in MODALITIES:
            count = self.dispatch.counts(name, modality).next_seq
            self._on_stream_ended(
                stream, StreamEnded(stream=name, run=stream.opened.run, modality=modality, count=count)
            )

    def _on_stream_ended(self, stream: OpenStream | None, end: StreamEnded) -> None:
        """Pass on the end of a modality. Only the first counts: capture repeats it to each new broker."""
        if stream is not None and end.modality not in stream.ended:
            stream.ended[end.modality] = end
            self._lanes.send("fusion", end)

    # -------------------------------------------------------------------------------- jobs

    def _on_job(self, job: Job, now_ns: int) -> list[Out]:
        stream = self._current(job.stream, job.run)
        if stream is None:
            return []
        if stream.every:
            stream.leases.add((job.modality, job.seq))
        else:
            self._lanes.send_missing(job)
        out: list[Out] = [Publish(job.stream, job)]
        return out + self._carry_out(self.dispatch.offer(job, now_ns))

    def _on_ready(self, sender: str, ready: Ready, now_ns: int) -> list[Out]:
        modality = self._peers[sender].modality
        if modality is None:
            return []
        return self._carry_out(
            self.dispatch.ready(sender, modality, ready.last, now_ns, ready.capacity, ready.in_advance)
        )

    def _on_answer(self, sender: str, answer: FaceResult | SpeechResult | JobFailed, now_ns: int) -> list[Out]:
        copy = self.dispatch.shadow_job(sender, answer.number)
        if copy is not None:
            return self._on_shadow_answer(sender, answer, copy, now_ns)
        asked = self.dispatch.held(sender, answer.number)
        wrong = fault(answer, asked) if asked is not None else None
        if wrong is not None:
            log.warning("%s answered something else than it was asked: %s", sender, wrong)
            return self._carry_out(self.dispatch.reject(sender, answer.number, wrong, now_ns)) + self._dismissals()
        bad = isinstance(answer, JobFailed)
        job, actions = self.dispatch.answered(sender, answer.number, now_ns, failed=bad)
        if job is not None:
            if isinstance(answer, JobFailed) and answer.stale:
                if self._streams[job.stream].every:
                    # A leased slot should never be overwritten; if it is gone nevertheless, the frame counts as failed.
                    answer = failed(job, answer.because)
                else:
                    self.dispatch.count_stale(job, "removed" if answer.gone else "overwritten")
            if self.dispatch.shadows and not isinstance(answer, JobFailed):
                self._agreement.add(None, job, label_of(answer))
            if isinstance(answer, FaceResult):
                self._streams[job.stream].last_seen.remember(answer, self._models_of(sender))
                answer = msgspec.structs.replace(answer, hints=None)  # they are for workers only
            self._lanes.send("fusion", answer, later=self._has_backlog(self._streams[job.stream]))
        return self._carry_out(actions)

    def _on_shadow_answer(
        self, sender: str, answer: FaceResult | SpeechResult | JobFailed, copy: Job, now_ns: int
    ) -> list[Out]:
        """Count the answer of a worker that is tried; nobody else gets it."""
        reason = fault(answer, copy)
        stale = isinstance(answer, JobFailed) and answer.stale
        if isinstance(answer, JobFailed):
            reason = reason or answer.because
        elif reason is None:
            self._agreement.add(sender, copy, label_of(answer))
        self.dispatch.shadow_answered(sender, answer.number, reason, stale=stale, now_ns=now_ns)
        return []

    def shadowed(self) -> list[Shadowed]:
        """Report on the workers that are tried."""
        found = []
        for name, counts in self.dispatch.shadows.items():
            peer = self._peers.get(name)
            if peer is not None:
                compared, agreed = self._agreement.of(name)
                found.append(
                    Shadowed(
                        name=name,
                        incarnation=peer.incarnation,
                        asked=counts.asked,
                        done=counts.done,
                        failed=counts.failed,
                        compared=compared,
                        agreed=agreed,
                        mean_ms=round(counts.spent_ns / counts.done / 1e6, 2) if counts.done else 0.0,
                        duty_ms=round(self.dispatch.service_ms(name), 2),
                        because=counts.reason,
                    )
                )
        return found

    def _dismissals(self) -> list[Out]:
        """Tell the supervisor about workers that were let go since the last call."""
        out: list[Out] = []
        for name, peer in self._peers.items():
            reason = self.dispatch.dismissed(name) if peer.role == "worker" and not peer.dismissed else None
            if reason is not None:
                peer.dismissed = True
                log.warning("%s gets no more jobs: %s", name, reason)
                out.append(Send(SUPERVISOR, Dismissed(name=name, incarnation=peer.incarnation, because=reason)))
        return out

    def _models_of(self, worker: str) -> dict[str, str]:
        """The models of a worker, as it said in its Hello."""
        peer = self._peers.get(worker)
        return peer.models if peer is not None else {}

    def _carry_out(self, actions: list[Action]) -> list[Out]:
        out: list[Out] = []
        for action in actions:
            job = action.job
            if isinstance(action, Assign):
                stream = self._streams.get(job.stream)
                # Frames of files are processed in any order: without hints, so that results do not depend on it.
                ordered = stream is not None and stream.ordered and job.modality == "face"
                # A worker that is tried looks at each frame itself: that is what it is tried for.
                hinted = ordered and action.worker not in self.dispatch.shadows
                hints = stream.last_seen.for_job(job) if stream is not None and hinted else None
                models = self._models_of(action.worker)
                given = Assignment(
                    number=action.number,
                    job=job,
                    waited_ns=action.waited_ns,
                    ordered=ordered,
                    hints=hints,
                    seen=stream.last_seen.read_by(models) if stream is not None and hints is not None else (),
                )
                out.append(Send(action.worker, given))
            elif isinstance(action, Drop):
                self._lanes.send("fusion", _dropped(job, action.reason))
            else:
                self._lanes.send("fusion", failed(job, action.reason))
        return out

    def _on_emotion(self, emotion: Emotion) -> list[Out]:
        stream = self._current(emotion.stream, emotion.run)
        if stream is None:
            return []
        backlog = self._has_backlog(stream)
        self._lanes.send("recorder", emotion, later=backlog)
        out: list[Out] = [Publish(emotion.stream, emotion)]
        if ("face", emotion.seq) in stream.leases:
            stream.leases.remove(("face", emotion.seq))
            stream.settled.append(emotion.seq)
        return out + (self._release_settled(stream) if not backlog or len(stream.settled) >= BUNDLE else [])

    def _on_hop(self, hop: Hop) -> list[Out]:
        stream = self._current(hop.stream, hop.run)
        if stream is None:
            return []
        self._lanes.send("recorder", hop, later=self._has_backlog(stream))
        return [Publish(hop.stream, hop)]

    def _has_backlog(self, stream: OpenStream) -> bool:
        """True if so many frames of a file wait for workers that earlier results may be delivered later, in bundles."""
        return stream.every and self.dispatch.waiting_of(stream.opened.stream, "face") >= BUNDLE

    def _release_settled(self, stream: OpenStream) -> list[Out]:
        """Release the credits of frames whose events were sent."""
        settled, stream.settled = stream.settled, []
        return [_release(stream, "face", settled)] if settled else []

    # -------------------------------------------------------------------------------- lanes

    def _on_ack(self, sender: str, ack: Ack) -> list[Out]:
        out: list[Out] = []
        for message in self._lanes.acknowledge(sender, ack.number):
            # A frame's credit is released with its event; a speech window has no event of its own.
            if isinstance(message, SpeechResult) or (isinstance(message, JobFailed) and message.modality == "speech"):
                stream = self._current(message.stream, message.run)
                if stream is not None and ("speech", message.seq) in stream.leases:
                    stream.leases.remove(("speech", message.seq))
                    out.append(_release(stream, "speech", [message.seq]))
        return out

    def _due_deliveries(self, *, everything: bool = False) -> list[Out]:
        return [Send(name, delivery) for name, delivery in self._lanes.take(everything=everything)]


def _misfit(peer: _Peer, here: list[_Peer]) -> str | None:
    """Why a worker of another machine does not fit those here, in one sentence; None where it fits."""
    if SETTINGS not in peer.models:  # it works with its own thresholds, as it was asked to
        here = [replace(other, models={**other.models}) for other in here]
        for other in here:
            other.models.pop(SETTINGS, None)
    if any((other.product, other.models) == (peer.product, peer.models) for other in here):
        return None
    home = here[0]
    if peer.product != home.product:
        return f"it runs bimodal {peer.product or 'of an unknown version'}, and this machine {home.product}"
    kinds = sorted({*home.models, *peer.models})
    differing = [kind for kind in kinds if home.models.get(kind) != peer.models.get(kind)]
    what = "its settings" if differing == [SETTINGS] else "its models"
    how = (
        "it is given those of this machine"
        if peer.takes
        else "give both machines the same files and the same runtime.precision"
    )
    return f"{what} differ from those here ({', '.join(differing)}): {how}"


def _release(stream: OpenStream, modality: Modality, seqs: list[int]) -> Send:
    opened = stream.opened
    return Send(stream.capture, Release(stream=opened.stream, run=opened.run, modality=modality, seqs=tuple(seqs)))


def _dropped(job: Job, reason: str) -> Dropped:
    return Dropped(stream=job.stream, run=job.run, modality=job.modality, seq=job.seq, because=reason)
