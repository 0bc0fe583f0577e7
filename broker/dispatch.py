"""Dispatch of jobs to workers: a pure state machine without sockets or a clock of its own.

Every call returns the actions that follow; the broker process turns them into messages. The matching of jobs with
workers is in broker/queues.py. Two policies:

`latest`: at most one job of a stream and modality waits; a newer one replaces it, and the replacement is an
action of its own. A job that its worker does not answer before the deadline is given up.
`every`: jobs wait in order and are never given up; a job whose worker is lost is assigned again, three times
in all, and then fails with the reason; so is one that is answered wrongly, up to six times where only one worker has
tried it. Workers that have not tried it come first. Answers of a worker that has jobs in advance come together, so if
it is lost with three jobs or more, it is unknown which of them it was working on.

Each job that a lost worker may have been working on is then a suspect, and is assigned so that it will be known the
next time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from bimodal.broker.messages import ELSEWHERE, Job, Modality, Policy
from bimodal.broker.queues import (
    Action,
    Assign,
    DispatchState,
    Drop,
    Fail,
    HeldJob,
    JobCounts,
    Queue,
    ShadowCounts,
    StreamKey,
    WaitingJob,
    Worker,
    enqueued,
    match,
)

MOST_ATTEMPTS = 3
MOST_STRIKES = 3
# A live job on another machine is given to another worker after so many times that machine's mean, and no sooner than:
ELSEWHERE_TIMES, ELSEWHERE_DEADLINE_NS = 4, 150_000_000
LATEST_DEADLINE_NS = 2_000_000_000
# A job of a file is assigned again after so many times the mean time of a job, and no sooner than after
# EVERY_DEADLINE_NS; the first job of all may take longer (a GPU compiles its kernels).
EVERY_TIMES, EVERY_DEADLINE_NS, FIRST_DEADLINE_NS = 30, 20_000_000_000, 120_000_000_000


class Dispatch:
    """The state of all queues and workers.

    Attributes:
        shadows: the workers that are tried on copies of live jobs, and how they do.
    """

    def __init__(self, deadline_ns: int = LATEST_DEADLINE_NS) -> None:
        self._deadline_ns = deadline_ns
        self._state = state = DispatchState()
        self.shadows: dict[str, ShadowCounts] = {}
        self._queues, self._workers, self._turns, self._idle = state.queues, state.workers, state.turns, state.idle

    # -------------------------------------------------------------------------------- streams

    def open_stream(
        self, stream: str, run: int, policy: Policy, next_seqs: Mapping[Modality, int], *, ordered: bool = False
    ) -> None:
        """Open a stream whose jobs start at `next_seqs`. A new run discards the state of older ones; opening the same
        run again changes nothing. `ordered`: one of its frames is assigned at a time."""
        for modality, next_seq in next_seqs.items():
            queue = self._queues.get((stream, modality))
            if queue is None or queue.run != run:
                self._forget((stream, modality))
                one_by_one = ordered and modality == "face"
                self._queues[stream, modality] = Queue(
                    run, policy, counts=JobCounts(next_seq=next_seq), ordered=one_by_one
                )
        self._update_live()

    def close_stream(self, stream: str) -> None:
        """Close a stream; answers that still come are ignored."""
        for modality in ("face", "speech"):
            self._forget((stream, modality))
            self._queues.pop((stream, modality), None)
        self._update_live()

    def _update_live(self) -> None:
        self._state.live = any(queue.policy == "latest" for queue in self._queues.values())
        self._state.ordered = any(queue.ordered for queue in self._queues.values())

    def offer(self, job: Job, now_ns: int) -> list[Action]:
        """Queue a job. Ignored if its stream is not open in that run, or its seq was offered before."""
        key: StreamKey = (job.stream, job.modality)
        queue = self._queues.get(key)
        if queue is None or queue.run != job.run or job.seq < queue.counts.next_seq:
            return []
        actions: list[Action] = []
        if queue.policy == "latest" and queue.waiting:
            actions.append(self._drop(queue, queue.waiting.popleft().job, "replaced", "replaced by a newer one"))
        elif queue.policy == "latest":
            enqueued(self._state, queue, job.modality)
        queue.counts.offered += 1
        queue.counts.next_seq = job.seq + 1
        queue.waiting.append(WaitingJob(job, now_ns))
        self._turns[job.modality].setdefault(key)
        actions += match(self._state, job.modality, now_ns)
        return actions + (self._shadow(job, now_ns) if queue.policy == "latest" else [])

    # -------------------------------------------------------------------------------- shadows

    def shadow(self, workers: Collection[str]) -> None:
        """Give copies of live jobs to exactly these workers, while they are off duty."""
        self.shadows = {name: self.shadows.get(name, ShadowCounts()) for name in workers}

    def _shadow(self, job: Job, now_ns: int) -> list[Action]:
        actions: list[Action] = []
        for name, counts in self.shadows.items():
            entry = self._workers.get(name)
            off_duty = name in self._state.off_duty
            if entry is not None and entry.modality == job.modality and off_duty and not entry.held:
                entry.assigned += 1
                entry.held[entry.assigned] = HeldJob(WaitingJob(job, now_ns), "latest", now_ns, True, True)
                counts.asked += 1
                actions.append(Assign(name, entry.assigned, job))
        return actions

    def shadow_job(self, worker: str, number: int) -> Job | None:
        """The job of which this assignment is a copy, else None."""
        entry = self._workers.get(worker)
        held = entry.held.get(number) if entry is not None else None
        return held.waiting.job if held is not None and held.shadow else None

    def shadow_answered(self, worker: str, number: int, reason: str | None, *, stale: bool, now_ns: int) -> None:
        """Count the answer to a copy; `reason`: why it failed, None where it is good; `stale`: its slot had gone."""
        entry, counts = self._workers[worker], self.shadows.get(worker, ShadowCounts())
        held = entry.held.pop(number)
        if stale:
            counts.asked -= 1
        elif reason is not None:
            counts.failed, counts.reason = counts.failed + 1, reason
        else:
            counts.done += 1
            counts.spent_ns += now_ns - held.since_ns
        self._mark_idle(worker, entry)

    def service_ms(self, worker: str) -> float:
        """Mean time of a job of this worker's kind, in milliseconds."""
        entry = self._workers.get(worker)
        return self._state.service_ns[entry.modality] / 1e6 if entry is not None else 0.0

    # -------------------------------------------------------------------------------- workers

    def ready(
        self, worker: str, modality: Modality, last: int, now_ns: int, capacity: int = 1, in_advance: int = 1
    ) -> list[Action]:
        """Mark a worker as ready: it has answered everything up to assignment `last`, does `capacity` jobs at a time,
        and takes `in_advance` further jobs of files.

        Messages of one worker arrive in order, so an assignment up to `last` that is still held was lost.
        """
        entry = self._workers.setdefault(worker, Worker(modality, assigned=last))
        if entry.dismissed is not None:
            return []
        entry.capacity, entry.in_advance = capacity, in_advance
        self._state.several = self._state.several or capacity > 1
        actions: list[Action] = []
        for number in [number for number, held in entry.held.items() if held.given_up and number > last]:
            # Who is ready holds nothing: an assignment that was given up was lost on its way, with its connection.
            del entry.held[number]
        for number in [number for number in entry.held if number <= last]:
            actions += self._lose(entry.held.pop(number), "its answer was lost", worker)
            actions += self._strike(worker, entry, "it did not answer a job")
        self._mark_idle(worker, entry)
        return actions + match(self._state, modality, now_ns)

    def answered(
        self, worker: str, number: int, now_ns: int, *, failed: bool = False
    ) -> tuple[Job | None, list[Action]]:
        """Settle an assignment with its worker's answer; return its job and the actions that follow.

        The job is None if the answer no longer counts: given up, of an older run, or never assigned.
        """
        entry = self._workers.get(worker)
        if entry is None or number not in entry.held:
            return None, []
        held = entry.held.pop(number)
        self._measure(entry, held, now_ns)
        job = held.waiting.job
        queue = self._queue_of(job)
        valid = queue is not None and not held.given_up
        if queue is not None and valid:
            if failed:
                queue.counts.failed += 1
            else:
                queue.counts.done += 1
        self._mark_idle(worker, entry)
        return (job if valid else None), match(self._state, entry.modality, now_ns)

    def on_duty(self, worker: str) -> bool:
        """True for a worker that the supervisor has not taken off duty."""
        return worker not in self._state.off_duty

    def held(self, worker: str, number: int) -> Job | None:
        """The job of an assignment whose answer counts; None where there is none."""
        entry = self._workers.get(worker)
        held = entry.held.get(number) if entry is not None else None
        return held.waiting.job if held is not None and not held.given_up else None

    def reject(self, worker: str, number: int, reason: str, now_ns: int) -> list[Action]:
        """Take an answer that is wrong as no answer: the job is assigned again, or dropped."""
        entry = self._workers[worker]
        held = entry.held.pop(number)
        actions = self._lose(held, f"{worker} answered something else: {reason}", worker, wrong=True)
        actions += self._strike(worker, entry, reason)
        self._mark_idle(worker, entry)
        return actions + match(self._state, entry.modality, now_ns)

    def dismissed(self, worker: str) -> str | None:
        """Why a worker gets no more jobs; None where it does, or is not known."""
        entry = self._workers.get(worker)
        return entry.dismissed if entry is not None else None

    def _measure(self, entry: Worker, held: HeldJob, now_ns: int) -> None:
        """Learn how long jobs take; a good answer clears the strikes."""
        entry.strikes = 0
        spent = max(0, now_ns - max(held.since_ns, entry.answered_ns))
        entry.answered_ns = now_ns
        entry.service_ns = spent if not entry.service_ns else 0.9 * entry.service_ns + 0.1 * spent
        known = self._state.service_ns[entry.modality]
        self._state.service_ns[entry.modality] = spent if not known else 0.98 * known + 0.02 * spent

    def _strike(self, worker: str, entry: Worker, reason: str) -> list[Action]:
        """Count a wrong or missing answer; the third in a row dismisses the worker, and others get what it holds."""
        entry.strikes += 1
        if entry.strikes < MOST_STRIKES or entry.dismissed is not None:
            return []
        entry.dismissed = f"{MOST_STRIKES} jobs in a row were answered wrongly or not at all: {reason}"
        self._idle[entry.modality].pop(worker, None)
        actions: list[Action] = []
        for held in reversed(entry.held.values()):
            held.waiting.attempts -= 1
            actions += self._lose(held, f"{worker} was let go")
        entry.held.clear()
        return actions

    def count_stale(self, job: Job, cause: str = "overwritten") -> None:
        """Count a job as dropped instead of failed, because its slot was overwritten or removed."""
        queue = self._queue_of(job)
        if queue is not None:
            queue.counts.failed -= 1
            queue.counts.dropped += 1
            queue.counts.reasons[cause] += 1

    def gone(self, worker: str, now_ns: int) -> list[Action]:
        """Remove a worker that is lost, with all its assignments."""
        self._state.refused.pop(worker, None)
        entry = self._workers.pop(worker, None)
        if entry is None:
            return []
        self._idle[entry.modality].pop(worker, None)
        actions: list[Action] = []
        possibly_started = entry.possibly_started()
        # Newest first: each is put back at the front, so the oldest ends up there.
        for number in reversed(entry.held):
            begun = number in possibly_started
            if not begun:
                # Never begun, so this is no attempt: else it would fail together with a job that kills workers.
                entry.held[number].waiting.attempts -= 1
            elif len(possibly_started) > 1:
                entry.held[number].waiting.suspect = True
            actions += self._lose(entry.held[number], f"{worker} was lost with it", worker if begun else None)
        return actions + match(self._state, entry.modality, now_ns)

    def off_duty(self, workers: Collection[str], now_ns: int) -> list[Action]:
        """Give no more jobs to exactly these workers, known yet or not; all others get jobs."""
        self._state.off_duty = frozenset(workers)
        for name, entry in self._workers.items():
            self._idle[entry.modality].pop(name, None)
            self._mark_idle(name, entry)
        return match(self._state, "face", now_ns) + match(self._state, "speech", now_ns)

    def expire(self, now_ns: int) -> list[Action]:
        """Give up jobs of policy `latest` that a worker has held longer than the deadline; assign jobs of files again
        that take far longer than others did."""
        actions: list[Action] = []
        for worker, entry in self._workers.items():
            if self._is_overdue(entry, now_ns):
                actions += self._take_back(worker, entry)
                continue
            for held in entry.held.values():
                late = now_ns - held.since_ns > self._deadline_of(worker, entry)
                if held.policy == "latest" and late and not held.given_up:
                    held.given_up = True
                    queue = self._queue_of(held.waiting.job)
                    if queue is not None and self._give_again(worker, held, queue):
                        continue
                    if queue is not None:
                        actions.append(self._drop(queue, held.waiting.job, "late", "no worker answered in time"))
        waiting = [modality for modality, turns in self._turns.items() if turns]
        return actions + [action for modality in waiting for action in match(self._state, modality, now_ns)]

    def _deadline_of(self, worker: str, entry: Worker) -> float:
        """Time after which a live job is given up. A line to another machine may die: much sooner there."""
        if ELSEWHERE not in worker:
            return self._deadline_ns
        return min(self._deadline_ns, max(ELSEWHERE_DEADLINE_NS, ELSEWHERE_TIMES * entry.service_ns))

    def _give_again(self, worker: str, held: HeldJob, queue: Queue) -> bool:
        """Queue a live job again that is overdue on another machine, unless a newer one waits already."""
        if ELSEWHERE not in worker or queue.waiting or held.waiting.attempts > 1 or held.shadow:
            return False
        job = held.waiting.job
        queue.waiting.append(WaitingJob(job, held.waiting.since_ns, held.waiting.attempts))
        enqueued(self._state, queue, job.modality)
        self._turns[job.modality].setdefault((job.stream, job.modality))
        return True

    def refuse(self, worker: str, reason: str | None, now_ns: int) -> list[Action]:
        """Give no jobs to a worker, known yet or not, or give it jobs again (None)."""
        if reason is None:
            self._state.refused.pop(worker, None)
        else:
            self._state.refused[worker] = reason
        entry = self._workers.get(worker)
        if entry is None:
            return []
        self._idle[entry.modality].pop(worker, None)
        self._mark_idle(worker, entry)
        return match(self._state, entry.modality, now_ns)

    def _is_overdue(self, entry: Worker, now_ns: int) -> bool:
        """True where the job of a file that a worker is at takes far longer than jobs did so far."""
        oldest = next(iter(entry.held.values()), None)
        if oldest is None or oldest.policy != "every":
            return False
        mean_ns = self._state.service_ns[entry.modality]
        # The least is not multiplied: a worker says its capacity itself.
        deadline_ns = max(EVERY_DEADLINE_NS, EVERY_TIMES * mean_ns * entry.capacity) if mean_ns else FIRST_DEADLINE_NS
        return now_ns - max(oldest.since_ns, entry.answered_ns) > deadline_ns

    def _take_back(self, worker: str, entry: Worker) -> list[Action]:
        """Take all jobs from a worker that does not answer; it gets others when it says that it is ready."""
        actions: list[Action] = []
        started = entry.possibly_started()
        for number in reversed(entry.held):
            begun = number in started
            if not begun:
                entry.held[number].waiting.attempts -= 1
            actions += self._lose(entry.held[number], f"{worker} did not answer in time", worker if begun else None)
        entry.held.clear()
        return actions + self._strike(worker, entry, "it did not answer in time")

    # -------------------------------------------------------------------------------- queries

    def counts(self, stream: str, modality: Modality) -> JobCounts:
        """The counters of one stream and modality; zeros if it is not open."""
        queue = self._queues.get((stream, modality))
        return queue.counts if queue is not None else JobCounts()

    def oldest_open(self, stream: str, modality: Modality) -> int:
        """The lowest unsettled seq: all before it are done, dropped or failed."""
        return min(self._open(stream, modality), default=self.counts(stream, modality).next_seq)

    def settled_early(self, stream: str, modality: Modality) -> list[int]:
        """The settled seqs after the oldest open one."""
        still_open = self._open(stream, modality)
        beyond = range(self.oldest_open(stream, modality), self.counts(stream, modality).next_seq)
        return [seq for seq in beyond if seq not in still_open]

    def _open(self, stream: str, modality: Modality) -> set[int]:
        key: StreamKey = (stream, modality)
        queue = self._queues.get(key)
        if queue is None:
            return set()
        held = {held.waiting.job.seq for held in self._held_of(key) if not held.given_up}
        return held | {waiting.job.seq for waiting in queue.waiting}

    @property
    def busy(self) -> bool:
        """True while a job waits or a worker holds one, so that a deadline may pass."""
        # This is asked in each turn of the broker: a plain loop over what mostly says yes.
        for entry in self._workers.values():
            if entry.held:
                return True
        return any(queue.waiting for queue in self._queues.values())

    def waiting(self) -> int:
        """The number of jobs that wait for a worker."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    def waiting_of(self, stream: str, modality: Modality) -> int:
        """The number of jobs of one stream and modality that wait for a worker."""
        queue = self._queues.get((stream, modality))
        return len(queue.waiting) if queue is not None else 0

    def workers(self) -> dict[str, int]:
        """The number of workers on duty, by modality."""
        return self._state.on_duty()

    # -------------------------------------------------------------------------------- inside

    def _mark_idle(self, worker: str, entry: Worker) -> None:
        """Make a worker available if it holds no job and is on duty."""
        if not entry.held and self._state.works(worker):
            self._idle[entry.modality].setdefault(worker)

    def _queue_of(self, job: Job) -> Queue | None:
        queue = self._queues.get((job.stream, job.modality))
        return queue if queue is not None and queue.run == job.run else None

    def _held_of(self, key: StreamKey) -> Iterator[HeldJob]:
        for entry in self._workers.values():
            for held in entry.held.values():
                if (held.waiting.job.stream, held.waiting.job.modality) == key:
                    yield held

    def _forget(self, key: StreamKey) -> None:
        self._turns[key[1]].pop(key, None)
        for held in self._held_of(key):
            held.given_up = True

    def _drop(self, queue: Queue, job: Job, cause: str, reason: str) -> Drop:
        queue.counts.dropped += 1
        queue.counts.reasons[cause] += 1
        return Drop(job, reason)

    def _lose(self, held: HeldJob, reason: str, worker: str | None = None, *, wrong: bool = False) -> list[Action]:
        """Queue a job again whose worker or answer is lost, or settle it.

        Args:
            worker: who has tried it in vain.
            wrong: it was answered wrongly, so that the worker and not the job may be at fault.
        """
        job = held.waiting.job
        queue = self._queue_of(job)
        if queue is None or held.given_up:
            return []
        if held.policy == "latest":
            return [self._drop(queue, job, "lost", reason)]
        if worker is not None:
            held.waiting.tried.add(worker)
        # Where only one has tried it, and may be the one that is wrong, others may still be loading.
        alone = len(held.waiting.tried) == 1 and wrong
        if held.waiting.attempts >= (MOST_ATTEMPTS + MOST_STRIKES if alone else MOST_ATTEMPTS):
            queue.counts.failed += 1
            return [Fail(job, f"{held.waiting.attempts} workers in a row were lost with it or gave no valid answer")]
        queue.waiting.appendleft(held.waiting)
        turns = self._turns[job.modality]
        turns.setdefault((job.stream, job.modality))
        turns.move_to_end((job.stream, job.modality), last=False)
        return []
