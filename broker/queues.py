"""What dispatch keeps and matching reads: queues, workers and whose turn it is; and the actions that come of it."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
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
