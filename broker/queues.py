"""What dispatch keeps and matching reads: queues, workers and whose turn it is; and the actions that come of it."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

from bimodal.broker.messages import Job, Modality, Policy

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
class Waiting:
    """A job, since when it waits, how often it was given out, and whether it may have cost workers."""

    job: Job
    since_ns: int
    attempts: int = 0
    suspect: bool = False


@dataclass
class Held:
    """A job that a worker has, since when; `given_up` where its answer no longer counts."""

    waiting: Waiting
    policy: Policy
    since_ns: int
    given_up: bool = False


@dataclass
class Queue:
    """The jobs of one stream and modality that wait, and how often the stream was passed over since its last turn."""

    run: int
    policy: Policy
    waiting: deque[Waiting] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)
    passed_over: int = 0


@dataclass
class Worker:
    """A worker, and the assignments it holds by number. `assigned` is the number of the last."""

    modality: Modality
    held: OrderedDict[int, Held] = field(default_factory=OrderedDict)
    assigned: int = 0
    capacity: int = 1
    in_advance: int = 1

    def begun(self) -> list[int]:
        """The assignments that it may be at. One that does its jobs one by one holds back the answers of those before,
        but none of the last job but one (workers/inference.py)."""
        most = self.capacity if self.capacity > 1 else max(1, len(self.held) - 1)
        return list(self.held)[:most]


@dataclass
class Books:
    """All that dispatch knows.

    Attributes:
        turns: streams with jobs that wait, in the order of their turns.
        idle: workers that hold nothing and are on duty, the one that is so longest first.
        off_duty: workers that get no job, whether they are here or not.
        several: whether any worker does several jobs at a time.
        live: whether any open stream is a live one (policy `latest`).
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
    several: bool = False
    live: bool = False

    def on_duty(self) -> dict[str, int]:
        """How many workers there are for jobs, by modality."""
        counts = {"face": 0, "speech": 0}
        for name, worker in self.workers.items():
            counts[worker.modality] += name not in self.off_duty
        return counts


# Who gets which job: pairs what waits with the workers that may have it. Pure; broker/dispatch.py keeps the books.
#
# A busy worker gets one job of a file (policy `every`) in advance; one that says so gets several, while so many wait
# that every worker could have as many, and no live stream (`latest`) is open. A worker that does several jobs at a
# time (its capacity) gets up to that many: of a live stream one, of files in order, and as many again in advance.


IN_ADVANCE = 2
# Of so many streams that wait, the one with the newest live job goes first; who was passed over so often goes next.
FEW, MOST_PASSED_OVER = 4, 12


def match(books: Books, modality: Modality, now_ns: int) -> list[Action]:
    """Pair streams that wait with workers until one side runs out."""
    assigned: list[Action] = []
    turns, idle = books.turns[modality], books.idle[modality]
    while turns and idle:
        worker, _ = idle.popitem(last=False)
        assigned.append(_assign(books, worker, _whose_turn(books, turns), now_ns))
    if turns:
        assigned += _match_in_advance(books, modality, now_ns)
    return assigned


def _whose_turn(books: Books, turns: Collection[StreamKey]) -> StreamKey:
    """Of the first few streams that wait, the one whose live job is the newest: a job that waits on is replaced by
    a newer one soon, so that under overload what is looked at is fresher. None is passed over for long."""
    few = list(islice(turns, FEW))
    queues = [books.queues[key] for key in few]
    if queues[0].policy != "latest" or queues[0].passed_over >= MOST_PASSED_OVER:
        return few[0]
    ages = [queue.waiting[0].since_ns if queue.policy == "latest" else -1 for queue in queues]
    newest = ages.index(max(ages))
    for queue in queues[:newest]:
        queue.passed_over += 1
    return few[newest]


def _match_in_advance(books: Books, modality: Modality, now_ns: int) -> list[Action]:
    """More jobs for workers that are busy, so that none waits for the post: `every` jobs in advance, and whatever
    such as do several at a time can still take. Who holds the least comes first."""
    assigned: list[Action] = []
    turns = books.turns[modality]
    more = True
    while turns and more:
        more = False
        workers = books.workers.items()
        for name, worker in sorted(workers, key=_how_many) if books.several else workers:
            if worker.modality == modality and worker.held and name not in books.off_duty:
                key = _next_for(books, worker, turns)
                if key is not None:
                    assigned.append(_assign(books, name, key, now_ns))
                    more = more or worker.capacity > 1 or worker.in_advance > 1
    return assigned


def _how_many(worker: tuple[str, Worker]) -> int:
    return len(worker[1].held)


def _next_for(books: Books, worker: Worker, turns: Collection[StreamKey]) -> StreamKey | None:
    """Whose job a busy worker may have beside those it holds, None where there is none."""
    count = len(worker.held)
    in_advance = count >= worker.capacity
    if not turns or (count >= IN_ADVANCE * worker.capacity and not _has_plenty(books, worker, turns)):
        return None
    if in_advance and any(held.policy != "every" for held in worker.held.values()):
        return None
    if worker.capacity > 1 and _stays_alone(books, worker, next(iter(turns))):
        return None
    return next((key for key in turns if _may_join(books, key, worker, in_advance=in_advance)), None)


def _has_plenty(books: Books, worker: Worker, turns: Collection[StreamKey]) -> bool:
    """Whether a worker that has its job in advance may have one more: none that others could do sooner.

    Suspects have no part in it: with two jobs at most it is known which one a worker was lost with.
    """
    held = len(worker.held)
    if books.live or worker.capacity > 1 or held > worker.in_advance:
        return False
    enough = held * books.on_duty()[worker.modality]
    waiting = sum(len(books.queues[key].waiting) for key in turns)
    return waiting >= enough and not _stays_alone(books, worker, next(iter(turns)))


def _stays_alone(books: Books, worker: Worker, first: StreamKey) -> bool:
    """Whether a suspect job is with this worker or waits for the next one to be free, or the worker is hung."""
    held = worker.held.values()
    return books.queues[first].waiting[0].suspect or any(one.waiting.suspect or one.given_up for one in held)


def _may_join(books: Books, key: StreamKey, worker: Worker, *, in_advance: bool) -> bool:
    queue = books.queues[key]
    if queue.policy == "every":
        return worker.capacity == 1 or not queue.waiting[0].suspect
    return not in_advance and all(held.waiting.job.stream != key[0] for held in worker.held.values())


def _assign(books: Books, name: str, key: StreamKey, now_ns: int) -> Assign:
    queue, worker, turns = books.queues[key], books.workers[name], books.turns[key[1]]
    waiting = queue.waiting.popleft()
    queue.passed_over = 0
    waiting.attempts += 1
    turns.pop(key)
    if queue.waiting:
        turns[key] = None
    worker.assigned += 1
    worker.held[worker.assigned] = Held(waiting, queue.policy, now_ns)
    return Assign(name, worker.assigned, waiting.job, now_ns - waiting.since_ns)
