"""What is simulated, and what came of it: plain values that travel between the bench and its simulators."""

from __future__ import annotations

import msgspec

from bimodal.broker.messages import Policy


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A system whose workers wait instead of computing.

    Attributes:
        workers, streams: how many.
        policy: `latest`: `rate` jobs a second of all streams together; `every`: as fast as jobs are done, with
            `credit` of each stream under way.
        jobs: of each stream.
        rate: jobs a second; policy `latest` only.
        inference_s: how long a worker waits over a job.
        credit: slots of a stream; policy `every` only.
        straight: so many jobs go from one socket to another first, with no broker in between.
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
    """What one simulator plays of a load: workers and streams by number; the first plays everything else, too."""

    load: Load
    directory: str
    workers: tuple[int, ...]
    streams: tuple[int, ...]
    first: bool


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What simulated fusion has seen.

    Attributes:
        jobs: offered, as captures say at their end.
        answered, dropped, failed: how they were settled.
        missing, twice: jobs that were settled never or more than once: both must be 0.
        seconds: from the first to the last answer.
        way_in_ms: of each job that a worker was free for: from its sending by capture to its arrival at the worker.
        way_back_ms: of every answer: from its sending to its arrival at fusion.
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
    """One load, played.

    Attributes:
        load: what was played.
        seen: what came of it.
        broker_s, simulators_s: CPU seconds (user and system) of the broker and of all simulators while it was played.
        seconds: that it took.
        straight_ms: of each job that went without the broker: there and back.
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
        """Of one core, that the broker took."""
        return self.broker_s / self.seconds

    @property
    def broker_ms_per_job(self) -> float:
        """CPU milliseconds of the broker a job."""
        return 1e3 * self.broker_s / max(1, self.seen.jobs)
