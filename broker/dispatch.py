"""What becomes of each job: a pure state machine, no sockets, no clock of its own.

Every call returns the actions it leads to; the broker process turns them into messages. Who gets what is in
broker/queues.py. Two policies:

`latest`: at most one job of a stream and modality waits; a newer one replaces it, and the replacement is an
action of its own. A job that its worker does not answer before the deadline is given up.
`every`: jobs wait in order and are never given up; a job whose worker is lost is given out again, three times
in all, and then fails with the reason. Answers of a worker that has jobs in advance come together, so where it is lost
with three jobs or more, nobody knows in which it was.

Where nobody knows with which job a worker was lost, each that it may have been is a suspect, and is given out so that
the next time it is known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bimodal.broker.messages import Job, Modality, Policy
from bimodal.broker.queues import Action, Books, Drop, Fail, Held, Queue, StreamKey, Tally, Waiting, Worker, match

MOST_ATTEMPTS = 3
LATEST_DEADLINE_NS = 2_000_000_000


class Dispatch:
    """The state of all queues and workers."""

    def __init__(self, deadline_ns: int = LATEST_DEADLINE_NS) -> None:
        self._deadline_ns = deadline_ns
        self._books = books = Books()
        self._queues, self._workers, self._turns, self._idle = books.queues, books.workers, books.turns, books.idle

    # -------------------------------------------------------------------------------- streams

    def open_stream(self, stream: str, run: int, policy: Policy, next_seqs: Mapping[Modality, int]) -> None:
        """A stream begins, with jobs from `next_seqs` on. A new run forgets everything of older ones; the same run
        again changes nothing."""
        for modality, next_seq in next_seqs.items():
            queue = self._queues.get((stream, modality))
            if queue is None or queue.run != run:
                self._forget((stream, modality))
                self._queues[stream, modality] = Queue(run, policy, tally=Tally(next_seq=next_seq))
        self._look_for_live()

    def close_stream(self, stream: str) -> None:
        """A stream is over; answers that still come are ignored."""
        for modality in ("face", "speech"):
            self._forget((stream, modality))
            self._queues.pop((stream, modality), None)
        self._look_for_live()

    def _look_for_live(self) -> None:
        self._books.live = any(queue.policy == "latest" for queue in self._queues.values())

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
        queue.waiting.append(Waiting(job, now_ns))
        self._turns[job.modality].setdefault(key)
        return actions + match(self._books, job.modality, now_ns)

    # -------------------------------------------------------------------------------- workers

    def ready(
        self, worker: str, modality: Modality, last: int, now_ns: int, capacity: int = 1, in_advance: int = 1
    ) -> list[Action]:
        """A worker that does `capacity` jobs at a time says it has answered assignment `last`, and how many jobs of
        files it takes `in_advance`.

        Messages of one worker arrive in order, so an assignment up to `last` that is still held was lost.
        """
        state = self._workers.setdefault(worker, Worker(modality, assigned=last))
        state.capacity, state.in_advance = capacity, in_advance
        self._books.several = self._books.several or capacity > 1
        actions: list[Action] = []
        for number in [number for number in state.held if number <= last]:
            actions += self._lose(state.held.pop(number), "its answer was lost")
        self._rest(worker, state)
        return actions + match(self._books, modality, now_ns)

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
        return (job if counts else None), match(self._books, state.modality, now_ns)

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
        return actions + match(self._books, state.modality, now_ns)

    def off_duty(self, workers: Collection[str], now_ns: int) -> list[Action]:
        """Exactly these workers get no job from now on, whether they are here yet or not; the others do."""
        self._books.off_duty = frozenset(workers)
        for name, state in self._workers.items():
            self._idle[state.modality].pop(name, None)
            self._rest(name, state)
        return match(self._books, "face", now_ns) + match(self._books, "speech", now_ns)

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
        return self._books.on_duty()

    # -------------------------------------------------------------------------------- inside

    def _rest(self, worker: str, state: Worker) -> None:
        """It may have a job, if it holds none and is on duty."""
        if not state.held and worker not in self._books.off_duty:
            self._idle[state.modality].setdefault(worker)

    def _queue_of(self, job: Job) -> Queue | None:
        queue = self._queues.get((job.stream, job.modality))
        return queue if queue is not None and queue.run == job.run else None

    def _held_of(self, key: StreamKey) -> Iterator[Held]:
        for state in self._workers.values():
            for held in state.held.values():
                if (held.waiting.job.stream, held.waiting.job.modality) == key:
                    yield held

    def _forget(self, key: StreamKey) -> None:
        self._turns[key[1]].pop(key, None)
        for held in self._held_of(key):
            held.given_up = True

    def _drop(self, queue: Queue, job: Job, reason: str, because: str) -> Drop:
        queue.tally.dropped += 1
        queue.tally.reasons[reason] += 1
        return Drop(job, because)

    def _lose(self, held: Held, because: str) -> list[Action]:
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
