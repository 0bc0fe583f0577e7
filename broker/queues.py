"""State of the dispatcher (queues, workers, turns), and the matching of waiting jobs with workers. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from bimodal.broker.messages import ELSEWHERE, Job, Modality, Policy

StreamKey: TypeAlias = "tuple[str, Modality]"


@dataclass(frozen=True)
class Assign:
    """Give `job` to `worker` as its assignment `number`; it waited `waited_ns` for a worker."""

    worker: str
    number: int
    job: Job
    waited_ns: int = 0


@dataclass(frozen=True)
class Drop:
    """Drop `job` (policy `latest`); `reason` is a sentence."""

    job: Job
    reason: str


@dataclass(frozen=True)
class Fail:
    """Fail `job` (policy `every`); `reason` is a sentence."""

    job: Job
    reason: str


Action: TypeAlias = Assign | Drop | Fail


@dataclass
class JobCounts:
    """Job counters of one stream and modality since it was opened. `next_seq` is the highest offered seq plus one.

    `reasons` splits `dropped`: replaced, late, lost (its worker ended), overwritten, or removed (its shared memory).
    """

    offered: int = 0
    done: int = 0
    dropped: int = 0
    failed: int = 0
    next_seq: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass
class WaitingJob:
    """A job in a queue: when it arrived, how often it was assigned, whether it is suspected of killing workers, and the
    workers that were lost with it or answered it wrongly: others come first."""

    job: Job
    since_ns: int
    attempts: int = 0
    suspect: bool = False
    tried: set[str] = field(default_factory=set)


@dataclass
class HeldJob:
    """A job assigned to a worker at `since_ns`; once `given_up`, its answer is ignored. `shadow`: a copy of a job,
    for a worker that is tried."""

    waiting: WaitingJob
    policy: Policy
    since_ns: int
    given_up: bool = False
    shadow: bool = False


@dataclass
class ShadowCounts:
    """Figures of a worker on copies of live jobs."""

    asked: int = 0
    done: int = 0
    failed: int = 0
    spent_ns: int = 0
    reason: str | None = None


@dataclass
class Queue:
    """Waiting jobs of one stream and modality.

    `start` and `finish` are in virtual time, jobs per stream that all streams have had: the tag of the waiting job, and
    that of the stream's next one. `ordered`: each job needs the answer to the one before, so one is assigned at a time.
    """

    run: int
    policy: Policy
    waiting: deque[WaitingJob] = field(default_factory=deque)
    counts: JobCounts = field(default_factory=JobCounts)
    start: float = 0.0
    finish: float = 0.0
    ordered: bool = False


@dataclass
class Worker:
    """A worker and the assignments it holds, by number.

    Attributes:
        assigned: number of the last assignment.
        answered_ns: when it answered last.
        service_ns: mean time of its jobs, from assignment or the answer before to the answer; 0 before the first.
        strikes: jobs in a row that it answered wrongly or not at all.
        dismissed: why it gets no more jobs, None while it does.
    """

    modality: Modality
    held: OrderedDict[int, HeldJob] = field(default_factory=OrderedDict)
    assigned: int = 0
    capacity: int = 1
    in_advance: int = 1
    answered_ns: int = 0
    service_ns: float = 0.0
    strikes: int = 0
    dismissed: str | None = None

    def possibly_started(self) -> list[int]:
        """The numbers of the assignments that it may have started.

        A worker that does its jobs one by one holds answers back, but never beyond the last job but one
        (workers/inference.py).
        """
        most = self.capacity if self.capacity > 1 else max(1, len(self.held) - 1)
        return list(self.held)[:most]


@dataclass
class DispatchState:
    """Everything the dispatcher keeps.

    Attributes:
        turns: streams with waiting jobs, in round-robin order.
        idle: workers on duty that hold no job, longest idle first.
        off_duty: names of workers that get no jobs, known yet or not.
        refused: names of workers that get no jobs because they do not fit, known yet or not, with the reason.
        several: true once any worker takes several jobs at a time.
        live: true while any open stream is live (policy `latest`).
        ordered: true while any open stream is `ordered`.
        service_ns: mean time of a job, by modality; 0 before the first.
        virtual: virtual time of each modality: the greatest start of an assigned live job.
    """

    queues: dict[StreamKey, Queue] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    turns: dict[Modality, OrderedDict[StreamKey, None]] = field(
        default_factory=lambda: {"face": OrderedDict(), "speech": OrderedDict()}
    )
    idle: dict[Modality, OrderedDict[str, None]] = field(
        default_factory=lambda: {"face": OrderedDict(), "speech": OrderedDict()}
    )
    off_duty: frozenset[str] = frozenset()
    refused: dict[str, str] = field(default_factory=dict)
    several: bool = False
    live: bool = False
    ordered: bool = False
    service_ns: dict[Modality, float] = field(default_factory=lambda: {"face": 0.0, "speech": 0.0})
    virtual: dict[Modality, float] = field(default_factory=lambda: {"face": 0.0, "speech": 0.0})

    def on_duty(self) -> dict[str, int]:
        """The number of workers on duty, by modality."""
        counts = {"face": 0, "speech": 0}
        for name, worker in self.workers.items():
            counts[worker.modality] += self.works(name)
        return counts

    def free(self, modality: Modality) -> Collection[StreamKey]:
        """The streams of which a waiting job may be assigned now, in the order of their turns."""
        turns = self.turns[modality]
        if not self.ordered:
            return turns
        held = {
            held.waiting.job.stream
            for worker in self.workers.values()
            if worker.modality == modality
            for held in worker.held.values()
            if not held.given_up and not held.shadow
        }
        return [key for key in turns if not (self.queues[key].ordered and key[0] in held)]

    def others_first(self, worker: str, key: StreamKey) -> bool:
        """True where this worker has tried the next job of a stream in vain, and another has not tried it yet."""
        tried = self.queues[key].waiting[0].tried
        return worker in tried and any(
            one.modality == key[1] and name not in tried and self.works(name) for name, one in self.workers.items()
        )

    def works(self, name: str) -> bool:
        """True for a worker that gets jobs."""
        return name not in self.off_duty and name not in self.refused and self.workers[name].dismissed is None


# Matching of waiting jobs with workers

IN_ADVANCE = 2
# Max-min fairness by start-time fair queueing: the live stream that is furthest below its share goes first. Of streams
# that are within TOLERANCE jobs of it, the one with the newest job: an older one is soon replaced, so results are
# fresher under overload. A stream that asked for less than its share may be up to MOST_BEHIND jobs behind, and so goes
# first.
TOLERANCE, MOST_BEHIND = 1.0, 3.0
# The way to a worker on another machine and back, before it is measured.
UNKNOWN_WAY_NS = 20_000_000
# A worker that takes so many times its mean time is not waited for.
LATE_TIMES = 3


def match(state: DispatchState, modality: Modality, now_ns: int) -> list[Action]:
    """Assign waiting jobs to workers until either runs out.

    A busy worker gets one job of a file (policy `every`) in advance; one that asks for more gets several, as long as
    enough jobs wait for every worker to have as many and no live stream (`latest`) is open. A worker with a capacity
    of several jobs gets up to that many at a time (one per live stream, those of files in order), and as many again
    in advance.
    """
    assigned: list[Action] = []
    turns, idle = state.turns[modality], state.idle[modality]
    while turns and idle:
        free = state.free(modality)
        worker = _soonest(state, modality, now_ns) if free else None
        if worker is None:
            break
        key = _next_stream(state, free)
        if state.others_first(worker, key):
            found = _pair_untried(state, worker, key, free)
            if found is None:
                break
            worker, key = found
        del idle[worker]
        assigned.append(_assign(state, worker, key, now_ns))
    if turns:
        ahead = _match_in_advance(state, modality, now_ns)
        assigned += ahead
        if ahead and idle and turns:  # a busy worker has taken the job that an idle one had tried
            assigned += match(state, modality, now_ns)
    return assigned


def _pair_untried(
    state: DispatchState, worker: str, key: StreamKey, free: Collection[StreamKey]
) -> tuple[str, StreamKey] | None:
    """Another idle worker for the next job of a stream that `worker` has tried in vain, else another stream for it.

    None where the job waits for a busy worker.
    """
    fresh = next((name for name in state.idle[key[1]] if not state.others_first(name, key)), None)
    if fresh is not None:
        return fresh, key
    rest = [other for other in free if not state.others_first(worker, other)]
    return (worker, _next_stream(state, rest)) if rest else None


def _soonest(state: DispatchState, modality: Modality, now_ns: int) -> str | None:
    """The idle worker that is expected to finish a job first, by its measured times with the way there and back.

    None where a worker that is busy here is expected to finish it before any idle one elsewhere: the job waits for it.
    """
    idle = state.idle[modality]
    if all(ELSEWHERE not in name for name in idle):
        return next(iter(idle))
    expected = {name: _expected_ns(state, name) for name in idle}
    best = min(idle, key=expected.__getitem__)
    if ELSEWHERE not in best:
        return best
    waiting = sum(len(state.queues[key].waiting) for key in state.turns[modality])
    here = [
        worker
        for name, worker in state.workers.items()
        if worker.modality == modality
        and ELSEWHERE not in name
        and worker.held
        and name not in state.off_duty
        and worker.service_ns
        and not any(held.given_up for held in worker.held.values())
    ]
    for worker in here:
        began_ns = max(next(iter(worker.held.values())).since_ns, worker.answered_ns)
        if now_ns - began_ns > LATE_TIMES * worker.service_ns:
            continue  # it may hang
        left_ns = max(0.0, began_ns + worker.service_ns - now_ns)
        if left_ns + worker.service_ns * (1 + (waiting - 1) // len(here)) < expected[best]:
            return None
    return best


def _expected_ns(state: DispatchState, name: str) -> float:
    """Time in which a worker is expected to do a job; of one that has done none yet, the mean, and more elsewhere."""
    worker = state.workers[name]
    known = worker.service_ns or state.service_ns[worker.modality]
    return known + (UNKNOWN_WAY_NS if not worker.service_ns and ELSEWHERE in name else 0)


def enqueued(state: DispatchState, queue: Queue, modality: Modality) -> None:
    """Give the first waiting job of a live stream its place in virtual time."""
    queue.start = max(queue.finish, state.virtual[modality] - MOST_BEHIND)


def _next_stream(state: DispatchState, turns: Collection[StreamKey]) -> StreamKey:
    """Choose the stream whose job is assigned next: of files in turn, of live streams the one furthest below its
    share."""
    first = next(iter(turns))
    return first if state.queues[first].policy != "latest" else next(_by_share(state, turns))


def _by_share(state: DispatchState, turns: Collection[StreamKey]) -> Iterator[StreamKey]:
    """The waiting streams in the order in which they may go, live ones by their share; files keep their turns."""
    live = [(key, state.queues[key]) for key in turns if state.queues[key].policy == "latest"]
    least = min((queue.start for _, queue in live), default=0.0)
    # A stream that is behind by more goes before all that are not, whatever the age of their jobs.
    live.sort(key=lambda item: (max(0.0, item[1].start - least - TOLERANCE), -item[1].waiting[0].since_ns))
    yield from (key for key, _ in live)
    yield from (key for key in turns if state.queues[key].policy != "latest")


def _match_in_advance(state: DispatchState, modality: Modality, now_ns: int) -> list[Action]:
    """Assign further jobs to busy workers, so that none is idle until its next message: `every` jobs in advance, and
    as many as a worker with a capacity of several still takes. The worker that holds fewest comes first."""
    assigned: list[Action] = []
    turns = state.free(modality)
    more = True
    while turns and more:
        more = False
        workers = state.workers.items()
        for name, worker in sorted(workers, key=_load) if state.several else workers:
            if (
                worker.modality == modality
                and worker.held
                and name not in state.off_duty
                and worker.dismissed is None
                and name not in state.refused
            ):
                key = _next_stream_for_busy(state, worker, turns)
                if key is not None and not state.others_first(name, key):
                    assigned.append(_assign(state, name, key, now_ns))
                    turns = state.free(modality)
                    more = more or worker.capacity > 1 or worker.in_advance > 1
    return assigned


def _load(worker: tuple[str, Worker]) -> int:
    return len(worker[1].held)


def _next_stream_for_busy(state: DispatchState, worker: Worker, turns: Collection[StreamKey]) -> StreamKey | None:
    """The stream whose job a busy worker may take in addition, or None."""
    count = len(worker.held)
    in_advance = count >= worker.capacity
    if not turns or (count >= IN_ADVANCE * worker.capacity and not _may_prefetch(state, worker, turns)):
        return None
    if in_advance and any(held.policy != "every" for held in worker.held.values()):
        return None
    if worker.capacity > 1 and _isolated(state, worker, next(iter(turns))):
        return None
    keys = turns if worker.capacity == 1 else _by_share(state, turns)
    return next((key for key in keys if _may_join(state, key, worker, in_advance=in_advance)), None)


def _may_prefetch(state: DispatchState, worker: Worker, turns: Collection[StreamKey]) -> bool:
    """True if a worker that has one job in advance may have another, which no other worker could start sooner.

    Never with suspect jobs: while a worker holds two jobs at most, it is known which one it was lost with.
    """
    held = len(worker.held)
    if state.live or worker.capacity > 1 or held > worker.in_advance:
        return False
    enough = held * state.on_duty()[worker.modality]
    waiting = sum(len(state.queues[key].waiting) for key in turns)
    return waiting >= enough and not _isolated(state, worker, next(iter(turns)))


def _isolated(state: DispatchState, worker: Worker, first: StreamKey) -> bool:
    """True if this worker holds a suspect job or is hung, or the next waiting job is a suspect."""
    held = worker.held.values()
    return state.queues[first].waiting[0].suspect or any(one.waiting.suspect or one.given_up for one in held)


def _may_join(state: DispatchState, key: StreamKey, worker: Worker, *, in_advance: bool) -> bool:
    queue = state.queues[key]
    if queue.policy == "every":
        return worker.capacity == 1 or not queue.waiting[0].suspect
    return not in_advance and all(held.waiting.job.stream != key[0] for held in worker.held.values())


def _assign(state: DispatchState, name: str, key: StreamKey, now_ns: int) -> Assign:
    queue, worker, turns = state.queues[key], state.workers[name], state.turns[key[1]]
    waiting = queue.waiting.popleft()
    state.virtual[key[1]] = max(state.virtual[key[1]], queue.start)
    queue.finish = queue.start + 1
    waiting.attempts += 1
    turns.pop(key)
    if queue.waiting:
        turns[key] = None
    worker.assigned += 1
    worker.held[worker.assigned] = HeldJob(waiting, queue.policy, now_ns)
    return Assign(name, worker.assigned, waiting.job, now_ns - waiting.since_ns)
