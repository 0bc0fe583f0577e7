"""Who gets which job: a pure state machine, no sockets, no clock of its own.

Every call returns the actions it leads to; the broker process turns them into messages. Two policies:

`latest`: at most one job of a stream and modality waits; a newer one replaces it, and the replacement is an
action of its own. A job that its worker does not answer before the deadline is given up.
`every`: jobs wait in order and are never given up; a job whose worker is lost is given out again, three times
in all, and then fails with the reason. A busy worker gets one such job in advance; one that says so gets several, while
so many wait that every worker could have as many, and no `latest` stream is open. The answers of such a worker come
together, so where it is lost with three jobs or more, nobody knows in which it was.

A worker that does several jobs at a time (its capacity) gets up to that many: of a `latest` stream one, of `every` in
order, and as many again in advance. Where nobody knows with which job a worker was lost, each that it may have been
is a suspect, and is given out so that the next time it is known.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from broker.messages import Job, Modality, Policy

MOST_ATTEMPTS = 3
LATEST_DEADLINE_NS = 2_000_000_000
IN_ADVANCE = 2
# Of so many streams that wait, the one with the newest live job goes first; who was passed over so often goes next.
FEW, MOST_PASSED_OVER = 4, 12

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
    """This job will not be done (policy `latest`)."""

    job: Job
    because: str


@dataclass(frozen=True)
class Fail:
    """This job can't be done (policy `every`)."""

    job: Job
    because: str


Action: TypeAlias = Assign | Drop | Fail


@dataclass
class Tally:
    """Counts of one stream and modality since it was opened. `next_seq` is one after the highest seq offered.

    `reasons` splits `dropped`: replaced, late, lost (its worker ended) or overwritten.
    """

    offered: int = 0
    done: int = 0
    dropped: int = 0
    failed: int = 0
    next_seq: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass
class _Waiting:
    job: Job
    since_ns: int
    attempts: int = 0
    suspect: bool = False


@dataclass
class _Held:
    waiting: _Waiting
    policy: Policy
    since_ns: int
    given_up: bool = False


@dataclass
class _Queue:
    run: int
    policy: Policy
    waiting: deque[_Waiting] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)
    passed_over: int = 0


@dataclass
class _Worker:
    modality: Modality
    held: OrderedDict[int, _Held] = field(default_factory=OrderedDict)
    assigned: int = 0
    capacity: int = 1
    in_advance: int = 1

    def begun(self) -> list[int]:
        """The assignments that it may be at. One that does its jobs one by one holds back the answers of those before,
        but none of the last job but one (workers/job_worker.py)."""
        most = self.capacity if self.capacity > 1 else max(1, len(self.held) - 1)
        return list(self.held)[:most]


class Dispatch:
    """The state of all queues and workers."""

    def __init__(self, deadline_ns: int = LATEST_DEADLINE_NS) -> None:
        self._deadline_ns = deadline_ns
        self._queues: dict[StreamKey, _Queue] = {}
        self._workers: dict[str, _Worker] = {}
        self._turns: dict[Modality, OrderedDict[StreamKey, None]] = {"face": OrderedDict(), "speech": OrderedDict()}
        self._idle: dict[Modality, OrderedDict[str, None]] = {"face": OrderedDict(), "speech": OrderedDict()}
        self._off_duty: frozenset[str] = frozenset()
        self._several = False
        self._live = False

    # -------------------------------------------------------------------------------- streams

    def open_stream(self, stream: str, run: int, policy: Policy, next_seqs: Mapping[Modality, int]) -> None:
        """A stream begins, with jobs from `next_seqs` on. A new run forgets everything of older ones; the same run
        again changes nothing."""
        for modality, next_seq in next_seqs.items():
            queue = self._queues.get((stream, modality))
            if queue is None or queue.run != run:
                self._forget((stream, modality))
                self._queues[stream, modality] = _Queue(run, policy, tally=Tally(next_seq=next_seq))
        self._look_for_live()

    def close_stream(self, stream: str) -> None:
        """A stream is over; answers that still come are ignored."""
        for modality in ("face", "speech"):
            self._forget((stream, modality))
            self._queues.pop((stream, modality), None)
        self._look_for_live()

    def _look_for_live(self) -> None:
        self._live = any(queue.policy == "latest" for queue in self._queues.values())

    def offer(self, job: Job, now_ns: int) -> list[Action]:
        """A new job. Ignored where its stream is not open in that run, or its seq was offered before."""
        key: StreamKey = (job.stream, job.modality)
        queue = self._queues.get(key)
        if queue is None or queue.run != job.run or job.seq < queue.tally.next_seq:
            return []
        actions: list[Action] = []
        if queue.policy == "latest" and queue.waiting:
            actions.append(self._drop(queue, queue.waiting.popleft().job, "replaced", "replaced by a newer one"))
        queue.tally.offered += 1
        queue.tally.next_seq = job.seq + 1
        queue.waiting.append(_Waiting(job, now_ns))
        self._turns[job.modality].setdefault(key)
        return actions + self._match(job.modality, now_ns)

    # -------------------------------------------------------------------------------- workers

    def ready(
        self, worker: str, modality: Modality, last: int, now_ns: int, capacity: int = 1, in_advance: int = 1
    ) -> list[Action]:
        """A worker that does `capacity` jobs at a time says it has answered assignment `last`, and how many jobs of
        files it takes `in_advance`.

        Messages of one worker arrive in order, so an assignment up to `last` that is still held was lost.
        """
        state = self._workers.setdefault(worker, _Worker(modality, assigned=last))
        state.capacity, state.in_advance = capacity, in_advance
        self._several = self._several or capacity > 1
        actions: list[Action] = []
        for number in [number for number in state.held if number <= last]:
            actions += self._lose(state.held.pop(number), "its answer was lost")
        self._rest(worker, state)
        return actions + self._match(modality, now_ns)

    def answered(
        self, worker: str, number: int, now_ns: int, *, failed: bool = False
    ) -> tuple[Job | None, list[Action]]:
        """A worker answers an assignment: the job it was, and what follows.

        The job is None where the answer no longer counts: given up, of an older run, or never asked.
        """
        state = self._workers.get(worker)
        if state is None or number not in state.held:
            return None, []
        held = state.held.pop(number)
        job = held.waiting.job
        queue = self._queue_of(job)
        counts = queue is not None and not held.given_up
        if queue is not None and counts:
            if failed:
                queue.tally.failed += 1
            else:
                queue.tally.done += 1
        self._rest(worker, state)
        return (job if counts else None), self._match(state.modality, now_ns)

    def count_stale(self, job: Job) -> None:
        """A job answered as failed was only overwritten: it counts as dropped."""
        queue = self._queue_of(job)
        if queue is not None:
            queue.tally.failed -= 1
            queue.tally.dropped += 1
            queue.tally.reasons["overwritten"] += 1

    def gone(self, worker: str, now_ns: int) -> list[Action]:
        """A worker is lost with all it held."""
        state = self._workers.pop(worker, None)
        if state is None:
            return []
        self._idle[state.modality].pop(worker, None)
        actions: list[Action] = []
        begun = state.begun()
        # Newest first: each is put back at the front, so the oldest ends up there.
        for number in reversed(state.held):
            if number not in begun:
                # Given in advance and never begun: no attempt, or a job that kills workers would take it along.
                state.held[number].waiting.attempts -= 1
            elif len(begun) > 1:
                state.held[number].waiting.suspect = True
            actions += self._lose(state.held[number], f"{worker} was lost with it")
        return actions + self._match(state.modality, now_ns)

    def off_duty(self, workers: Collection[str], now_ns: int) -> list[Action]:
        """Exactly these workers get no job from now on, whether they are here yet or not; the others do."""
        self._off_duty = frozenset(workers)
        for name, state in self._workers.items():
            self._idle[state.modality].pop(name, None)
            self._rest(name, state)
        return self._match("face", now_ns) + self._match("speech", now_ns)

    def expire(self, now_ns: int) -> list[Action]:
        """Give up jobs of policy `latest` that a worker has held longer than the deadline."""
        actions: list[Action] = []
        for state in self._workers.values():
            for held in state.held.values():
                late = now_ns - held.since_ns > self._deadline_ns
                if held.policy == "latest" and late and not held.given_up:
                    held.given_up = True
                    queue = self._queue_of(held.waiting.job)
                    if queue is not None:
                        actions.append(self._drop(queue, held.waiting.job, "late", "no worker answered in time"))
        return actions

    # -------------------------------------------------------------------------------- what is known

    def tally(self, stream: str, modality: Modality) -> Tally:
        """The counts of one stream and modality; zeros where it is not open."""
        queue = self._queues.get((stream, modality))
        return queue.tally if queue is not None else Tally()

    def oldest_open(self, stream: str, modality: Modality) -> int:
        """The lowest seq that is not yet settled: all before it are done, dropped or failed."""
        return min(self._open(stream, modality), default=self.tally(stream, modality).next_seq)

    def settled_early(self, stream: str, modality: Modality) -> list[int]:
        """The seqs after the oldest open one that are settled all the same."""
        still_open = self._open(stream, modality)
        beyond = range(self.oldest_open(stream, modality), self.tally(stream, modality).next_seq)
        return [seq for seq in beyond if seq not in still_open]

    def _open(self, stream: str, modality: Modality) -> set[int]:
        key: StreamKey = (stream, modality)
        queue = self._queues.get(key)
        if queue is None:
            return set()
        held = {held.waiting.job.seq for held in self._held_of(key) if not held.given_up}
        return held | {waiting.job.seq for waiting in queue.waiting}

    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def waiting_of(self, stream: str, modality: Modality) -> int:
        """How many jobs of one stream and modality wait for a worker."""
        queue = self._queues.get((stream, modality))
        return len(queue.waiting) if queue is not None else 0

    def workers(self) -> dict[str, int]:
        """How many workers there are for jobs, by modality."""
        counts = {"face": 0, "speech": 0}
        for name, state in self._workers.items():
            counts[state.modality] += name not in self._off_duty
        return counts

    # -------------------------------------------------------------------------------- inside

    def _rest(self, worker: str, state: _Worker) -> None:
        """It may have a job, if it holds none and is on duty."""
        if not state.held and worker not in self._off_duty:
            self._idle[state.modality].setdefault(worker)

    def _queue_of(self, job: Job) -> _Queue | None:
        queue = self._queues.get((job.stream, job.modality))
        return queue if queue is not None and queue.run == job.run else None

    def _held_of(self, key: StreamKey) -> Iterator[_Held]:
        for state in self._workers.values():
            for held in state.held.values():
                if (held.waiting.job.stream, held.waiting.job.modality) == key:
                    yield held

    def _forget(self, key: StreamKey) -> None:
        self._turns[key[1]].pop(key, None)
        for held in self._held_of(key):
            held.given_up = True

    def _drop(self, queue: _Queue, job: Job, reason: str, because: str) -> Drop:
        queue.tally.dropped += 1
        queue.tally.reasons[reason] += 1
        return Drop(job, because)

    def _lose(self, held: _Held, because: str) -> list[Action]:
        """The worker of a held job is lost: give it out again, or settle it."""
        job = held.waiting.job
        queue = self._queue_of(job)
        if queue is None or held.given_up:
            return []
        if held.policy == "latest":
            return [self._drop(queue, job, "lost", because)]
        if held.waiting.attempts >= MOST_ATTEMPTS:
            queue.tally.failed += 1
            return [Fail(job, f"{MOST_ATTEMPTS} workers in a row were lost with it")]
        queue.waiting.appendleft(held.waiting)
        turns = self._turns[job.modality]
        turns.setdefault((job.stream, job.modality))
        turns.move_to_end((job.stream, job.modality), last=False)
        return []

    def _match(self, modality: Modality, now_ns: int) -> list[Action]:
        """Pair waiting streams with workers until one side runs out."""
        actions: list[Action] = []
        turns, idle = self._turns[modality], self._idle[modality]
        while turns and idle:
            worker, _ = idle.popitem(last=False)
            actions.append(self._assign(worker, self._whose_turn(turns), now_ns))
        if turns:
            actions += self._match_in_advance(modality, now_ns)
        return actions

    def _whose_turn(self, turns: Collection[StreamKey]) -> StreamKey:
        """Of the first few streams that wait, the one whose live job is the newest: a job that waits on is replaced by
        a newer one soon, so that under overload what is looked at is fresher. None is passed over for long."""
        few = list(islice(turns, FEW))
        queues = [self._queues[key] for key in few]
        if queues[0].policy != "latest" or queues[0].passed_over >= MOST_PASSED_OVER:
            return few[0]
        ages = [queue.waiting[0].since_ns if queue.policy == "latest" else -1 for queue in queues]
        newest = ages.index(max(ages))
        for queue in queues[:newest]:
            queue.passed_over += 1
        return few[newest]

    def _match_in_advance(self, modality: Modality, now_ns: int) -> list[Action]:
        """More jobs for workers that are busy, so that none waits for the post: `every` jobs in advance, and whatever
        such as do several at a time can still take. Who holds the least comes first."""
        actions: list[Action] = []
        turns = self._turns[modality]
        more = True
        while turns and more:
            more = False
            workers = self._workers.items()
            for name, state in sorted(workers, key=_how_many) if self._several else workers:
                if state.modality == modality and state.held and name not in self._off_duty:
                    key = self._next_for(state, turns)
                    if key is not None:
                        actions.append(self._assign(name, key, now_ns))
                        more = more or state.capacity > 1 or state.in_advance > 1
        return actions

    def _next_for(self, state: _Worker, turns: Collection[StreamKey]) -> StreamKey | None:
        """Whose job a busy worker may have beside those it holds, None where there is none."""
        count = len(state.held)
        in_advance = count >= state.capacity
        if not turns or (count >= IN_ADVANCE * state.capacity and not self._has_plenty(state, turns)):
            return None
        if in_advance and any(held.policy != "every" for held in state.held.values()):
            return None
        if state.capacity > 1 and self._stays_alone(state, next(iter(turns))):
            return None
        return next((key for key in turns if self._may_join(key, state, in_advance=in_advance)), None)

    def _has_plenty(self, state: _Worker, turns: Collection[StreamKey]) -> bool:
        """Whether a worker that has its job in advance may have one more: none that others could do sooner.

        Suspects have no part in it: with two jobs at most it is known which one a worker was lost with.
        """
        in_advance = len(state.held)
        if self._live or state.capacity > 1 or in_advance > state.in_advance:
            return False
        enough = in_advance * self.workers()[state.modality]
        waiting = sum(len(self._queues[key].waiting) for key in turns)
        return waiting >= enough and not self._stays_alone(state, next(iter(turns)))

    def _stays_alone(self, state: _Worker, first: StreamKey) -> bool:
        """Whether a suspect job is with this worker or waits for the next one to be free, or the worker is hung."""
        held = state.held.values()
        return self._queues[first].waiting[0].suspect or any(one.waiting.suspect or one.given_up for one in held)

    def _may_join(self, key: StreamKey, state: _Worker, *, in_advance: bool) -> bool:
        queue = self._queues[key]
        if queue.policy == "every":
            return state.capacity == 1 or not queue.waiting[0].suspect
        return not in_advance and all(held.waiting.job.stream != key[0] for held in state.held.values())

    def _assign(self, worker: str, key: StreamKey, now_ns: int) -> Assign:
        queue, state, turns = self._queues[key], self._workers[worker], self._turns[key[1]]
        waiting = queue.waiting.popleft()
        queue.passed_over = 0
        waiting.attempts += 1
        turns.pop(key)
        if queue.waiting:
            turns[key] = None
        state.assigned += 1
        state.held[state.assigned] = _Held(waiting, queue.policy, now_ns)
        return Assign(worker, state.assigned, waiting.job, now_ns - waiting.since_ns)


def _how_many(worker: tuple[str, _Worker]) -> int:
    return len(worker[1].held)
