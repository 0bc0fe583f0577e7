"""Dispatch under random offers, readies, answers and losses."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from bimodal.broker.dispatch import LATEST_DEADLINE_NS, MOST_ATTEMPTS, Dispatch
from bimodal.broker.messages import Job, Policy
from bimodal.broker.queues import MOST_BEHIND, Action, Assign, Drop, Fail
from tests.broker.making import job

STREAMS: dict[str, Policy] = {"live 1": "latest", "live 2": "latest", "file 1": "every", "file 2": "every"}
QUICK = "file, quick"
"""A file whose frames are given one after another."""
STREAMS[QUICK] = "every"
SECOND = 1_000_000_000


class DispatchMachine(RuleBasedStateMachine):
    """Plays capture and the workers against a Dispatch, and keeps its own books."""

    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch(deadline_ns=2 * SECOND)
        self.live = True
        self.now = 0
        self.next_seq: dict[str, int] = defaultdict(int)
        self.settled: Counter[tuple[str, int]] = Counter()
        self.reasons: dict[tuple[str, int], str] = {}
        self.held: dict[str, dict[int, Job]] = {}
        self.capacity: dict[str, int] = {}
        self.in_advance: dict[str, int] = {}
        self.suspects: set[tuple[str, int]] = set()
        self.attempts: Counter[tuple[str, int]] = Counter()
        self.last_assigned: dict[str, int] = {}
        self.named = 0
        self.off_duty: frozenset[str] = frozenset()

    @initialize(live=st.booleans())
    def open_streams(self, live: bool) -> None:
        self.live = live
        for stream, policy in STREAMS.items():
            if live or policy == "every":
                self.dispatch.open_stream(stream, 1, policy, {"face": 0, "speech": 0}, ordered=stream == QUICK)

    def held_of(self, stream: str) -> list[int]:
        return [job.seq for held in self.held.values() for job in held.values() if job.stream == stream]

    def carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            key = (action.job.stream, action.job.seq)
            if isinstance(action, Assign):
                assert action.worker in self.held, "given to a worker that is not there"
                assert action.worker not in self.off_duty, "given to a worker that is off duty"
                newest = self.next_seq[action.job.stream] - 1
                if STREAMS[action.job.stream] == "latest":
                    assert action.job.seq == newest, "`latest` must hand out the newest"
                    held = self.held[action.worker].values()
                    assert len(held) < self.capacity[action.worker], "a live job must not wait behind others"
                    assert action.job.stream not in {other.stream for other in held}, "one live job of a stream"
                self.check_company(action)
                if action.job.stream == QUICK:
                    assert not self.held_of(QUICK), "one frame of a quick file at a time"
                    assert all(self.settled[QUICK, seq] for seq in range(action.job.seq)), "in order"
                assert self.settled[key] == 0, "given out after it was settled"
                self.held[action.worker][action.number] = action.job
                self.last_assigned[action.worker] = action.number
            else:
                wanted = Drop if STREAMS[action.job.stream] == "latest" else Fail
                assert isinstance(action, wanted)
                self.settled[key] += 1
                self.reasons[key] = action.reason

    def check_company(self, action: Assign) -> None:
        """No worker gets more than it takes, and a job that may have killed one stays alone."""
        held, capacity = self.held[action.worker], self.capacity[action.worker]
        several_in_advance = capacity == 1 and not self.live
        assert len(held) < (1 + self.in_advance[action.worker] if several_in_advance else 2 * capacity)
        if (capacity > 1 and held) or len(held) > 1:
            together = {(other.stream, other.seq) for other in (action.job, *held.values())}
            assert not together & self.suspects

    @rule(target=workers, kind=st.sampled_from(((1, 1), (1, 4), (3, 1))))
    def hire(self, kind: tuple[int, int]) -> str:
        capacity, in_advance = kind
        self.named += 1
        name = f"face {self.named}"
        self.held[name] = {}
        self.capacity[name], self.in_advance[name] = capacity, in_advance
        self.last_assigned[name] = 0
        self.carry_out(self.dispatch.ready(name, "face", 0, self.now, capacity, in_advance))
        return name

    @rule(stream=st.sampled_from(sorted(STREAMS)), count=st.sampled_from((1, 1, 8)))
    def offer(self, stream: str, count: int) -> None:
        if not self.live and STREAMS[stream] == "latest":
            return
        for _ in range(count):
            seq = self.next_seq[stream]
            self.next_seq[stream] += 1
            self.carry_out(self.dispatch.offer(job(stream, seq), self.now))

    @rule(worker=workers, failed=st.booleans())
    def answer_oldest(self, worker: str, failed: bool) -> None:
        if not self.held.get(worker):
            return
        number = min(self.held[worker])
        held = self.held[worker].pop(number)
        answered, actions = self.dispatch.answered(worker, number, self.now, failed=failed)
        if answered is not None:
            assert answered == held
            self.settled[held.stream, held.seq] += 1
        else:
            assert STREAMS[held.stream] == "latest", "an answer to an `every` job always counts"
            assert self.settled[held.stream, held.seq] == 1
        self.carry_out(actions)

    @rule(worker=workers)
    def say_ready_again(self, worker: str) -> None:
        if worker in self.held:
            answered = min(self.held[worker], default=self.last_assigned[worker] + 1) - 1
            capacity, in_advance = self.capacity[worker], self.in_advance[worker]
            self.carry_out(self.dispatch.ready(worker, "face", answered, self.now, capacity, in_advance))

    @rule(worker=consumes(workers))
    def lose(self, worker: str) -> None:
        capacity, held = self.capacity[worker], self.held[worker]
        most = capacity if capacity > 1 else max(1, len(held) - 1)
        begun = [held[number] for number in sorted(held)[:most]]
        for lost in begun:
            self.attempts[lost.stream, lost.seq] += 1
            if len(begun) > 1:
                self.suspects.add((lost.stream, lost.seq))
        del self.held[worker]
        self.carry_out(self.dispatch.gone(worker, self.now))

    @rule(data=st.data())
    def change_who_is_on_duty(self, data: st.DataObject) -> None:
        self.off_duty = data.draw(st.frozensets(st.sampled_from(sorted(self.held)))) if self.held else frozenset()
        self.carry_out(self.dispatch.off_duty(self.off_duty, self.now))

    @rule(seconds=st.integers(0, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds * SECOND
        self.carry_out(self.dispatch.expire(self.now))

    @invariant()
    def settles_each_job_at_most_once(self) -> None:
        assert all(count == 1 for count in self.settled.values())

    @invariant()
    def keeps_one_live_job_waiting_at_most(self) -> None:
        for stream, policy in STREAMS.items():
            if policy == "latest":
                assert self.dispatch.waiting_of(stream, "face") <= 1

    @invariant()
    def fails_only_what_killed_three_workers(self) -> None:
        for (stream, seq), reason in self.reasons.items():
            if STREAMS[stream] == "every" and "in a row" in reason:
                assert self.attempts[stream, seq] == MOST_ATTEMPTS

    @invariant()
    def leaves_no_worker_idle_while_jobs_wait(self) -> None:
        if any(not held for worker, held in self.held.items() if worker not in self.off_duty):
            blocked = self.dispatch.waiting_of(QUICK, "face") if self.held_of(QUICK) else 0
            assert self.dispatch.waiting() == blocked

    @precondition(lambda self: self.held)
    @rule()
    def finish_everything(self) -> None:
        """With one worker that answers, every job comes to its end, and the tallies add up."""
        self.off_duty = frozenset()
        self.carry_out(self.dispatch.off_duty((), self.now))
        while any(self.held.values()) or self.dispatch.waiting():
            for worker in list(self.held):
                self.answer_oldest(worker, failed=False)
        for stream, policy in STREAMS.items():
            for seq in range(self.next_seq[stream]):
                assert self.settled[stream, seq] == 1
            counts = self.dispatch.counts(stream, "face")
            assert counts.offered == counts.done + counts.dropped + counts.failed == self.next_seq[stream]
            assert counts.dropped == 0 or policy == "latest"
            assert self.dispatch.oldest_open(stream, "face") == self.next_seq[stream]


DispatchMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestDispatch = DispatchMachine.TestCase


def assigned(actions: list[Action]) -> list[tuple[str, int]]:
    return [(action.job.stream, action.job.seq) for action in actions if isinstance(action, Assign)]


def test_streams_take_turns() -> None:
    dispatch = Dispatch()
    for stream in ("a", "b", "c"):
        dispatch.open_stream(stream, 1, "every", {"face": 0, "speech": 0})
        for seq in range(3):
            dispatch.offer(job(stream, seq), 0)
    given = assigned(dispatch.ready("face 1", "face", 0, 0))
    while len(given) < 9:
        number = len(given) - 1 if len(given) > 1 else 1
        _, actions = dispatch.answered("face 1", number, 0)
        given += assigned(actions)
    assert [stream for stream, _ in given] == ["a", "b", "c"] * 3
    for stream in ("a", "b", "c"):
        assert [seq for name, seq in given if name == stream] == [0, 1, 2]


def test_a_busy_stream_does_not_starve_a_quiet_one() -> None:
    dispatch = Dispatch()
    for stream in ("busy", "quiet"):
        dispatch.open_stream(stream, 1, "latest", {"face": 0, "speech": 0})
    dispatch.ready("face 1", "face", 0, 0)
    dispatch.offer(job("busy", 0), 0)
    dispatch.offer(job("quiet", 0), 0)
    for seq in range(1, 100):
        dispatch.offer(job("busy", seq), 0)
    _, actions = dispatch.answered("face 1", 1, 0)
    assert assigned(actions) == [("quiet", 0)]


def test_one_word_moves_the_work_from_the_old_workers_to_the_new() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    dispatch.off_duty(["face 2"], 0)
    for seq in range(4):
        dispatch.offer(job("a", seq), 0)
    assert dispatch.ready("face 2", "face", 0, 0) == []
    assert assigned(dispatch.ready("face 1", "face", 0, 0)) == [("a", 0), ("a", 1)]
    assert dispatch.workers() == {"face": 1, "speech": 0}
    taken_over = dispatch.off_duty(["face 1"], 0)
    assert {action.worker for action in taken_over if isinstance(action, Assign)} == {"face 2"}
    assert assigned(taken_over) == [("a", 2), ("a", 3)]
    finished, more = dispatch.answered("face 1", 1, 0)
    assert finished is not None, "what the old one holds still counts"
    assert assigned(more) == []


def test_modalities_do_not_mix() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    dispatch.ready("audio 1", "speech", 0, 0)
    assert dispatch.offer(job("a", 0, "face"), 0) == []
    assert assigned(dispatch.offer(job("a", 0, "speech"), 0)) == [("a", 0)]


def test_a_job_given_in_advance_is_not_blamed_for_the_one_before_it() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    for seq in range(2):
        dispatch.offer(job("a", seq), 0)
    outcomes: list[Action] = []
    for life in range(MOST_ATTEMPTS):
        given = dispatch.ready(f"face {life}", "face", 0, 0)
        assert assigned(given) == [("a", 0), ("a", 1)]
        outcomes = dispatch.gone(f"face {life}", 0)
    assert [(action.job.seq, type(action)) for action in outcomes] == [(0, Fail)]
    assert assigned(dispatch.ready("face 9", "face", 0, 0)) == [("a", 1)]


def test_a_worker_of_many_gets_one_live_job_of_each_stream_and_files_in_order() -> None:
    dispatch = Dispatch()
    for stream, policy in STREAMS.items():
        dispatch.open_stream(stream, 1, policy, {"face": 0, "speech": 0})
    for seq in range(3):
        for stream in STREAMS:
            dispatch.offer(job(stream, seq), 0)
    given = assigned(dispatch.ready("face 1", "face", 0, 0, 4))
    assert sorted(given) == [("file 1", 0), ("file 2", 0), ("live 1", 2), ("live 2", 2)]
    assert dispatch.offer(job("live 1", 3), 0) == [], "its other job is not answered"
    _, more = dispatch.answered("face 1", 1, 0)
    assert len(more) == 1


def test_jobs_are_shared_out_before_a_worker_gets_a_second() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    for worker in ("face 1", "face 2"):
        dispatch.ready(worker, "face", 0, 0, 4)
    given = [action for seq in range(4) for action in dispatch.offer(job("a", seq), 0)]
    assert [action.worker for action in given if isinstance(action, Assign)] == ["face 1", "face 2"] * 2


def test_a_job_that_kills_its_worker_is_found_among_those_of_its_batch() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    for seq in range(4):
        dispatch.offer(job("a", seq), 0)
    deadly, done, lives, failed = 2, set[int](), 0, list[Fail]()
    while len(done) < 3 or not failed:
        name, lives = f"face {lives}", lives + 1
        held = [action for action in dispatch.ready(name, "face", 0, 0, 4) if isinstance(action, Assign)]
        while held and deadly not in [action.job.seq for action in held[:4]]:
            answered = held.pop(0)
            done.add(answered.job.seq)
            _, actions = dispatch.answered(name, answered.number, 0)
            held += [action for action in actions if isinstance(action, Assign)]
        failed += [action for action in dispatch.gone(name, 0) if isinstance(action, Fail)]
    assert [fail.job.seq for fail in failed] == [deadly]
    assert lives == MOST_ATTEMPTS + 1, "one more for those that were innocent"
    assert done == {0, 1, 3}


def plenty(count: int, *workers: str) -> tuple[Dispatch, dict[str, list[int]]]:
    """A file of so many frames, and what of it quick workers got: seqs by worker."""
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    given: dict[str, list[int]] = {worker: [] for worker in workers}
    actions = [action for worker in workers for action in dispatch.ready(worker, "face", 0, 0, 1, 4)]
    for seq in range(count):
        actions += dispatch.offer(job("a", seq), 0)
    for action in actions:
        if isinstance(action, Assign):
            given[action.worker].append(action.job.seq)
    return dispatch, given


def test_where_many_frames_of_a_file_wait_a_quick_worker_gets_several_in_advance() -> None:
    _, given = plenty(100, "face 1", "face 2")
    assert [len(seqs) for seqs in given.values()] == [5, 5]


def test_what_is_left_of_a_file_is_shared_out() -> None:
    for count in range(1, 40):
        dispatch, given = plenty(count, "face 1", "face 2", "face 3")
        done = []
        while any(given.values()):
            # The first is the fastest and always has its next job before the others have answered.
            worker = max(given, key=lambda name: (len(given[name]), name))
            for others in given.values():
                assert others or len(given[worker]) <= 2, "one has nothing to do while another has plenty"
            seq = given[worker].pop(0)
            done.append(seq)
            held = dispatch._workers[worker].held
            _, actions = dispatch.answered(worker, next(iter(held)), 0)
            for action in actions:
                if isinstance(action, Assign):
                    given[action.worker].append(action.job.seq)
        assert sorted(done) == list(range(count))


def test_beside_a_live_stream_nobody_gets_more_than_one_in_advance() -> None:
    dispatch, _ = plenty(0, "face 1")
    dispatch.open_stream("desk", 1, "latest", {"face": 0, "speech": 0})
    assert len([action for seq in range(50) for action in dispatch.offer(job("a", seq), 0)]) == 2
    dispatch.close_stream("desk")
    _, more = dispatch.answered("face 1", 1, 0)
    assert assigned(more) == [("a", seq) for seq in (2, 3, 4, 5)]


def test_a_job_that_kills_a_quick_worker_is_found_among_those_before_it() -> None:
    """The answers of jobs before it are held back, so the broker can't know at first which one it was."""
    deadly = 2
    dispatch, given = plenty(20, "face 0")
    assert given["face 0"] == [0, 1, 2, 3, 4]
    failed = [action for action in dispatch.gone("face 0", 0) if isinstance(action, Fail)]
    done, lives, most = list[int](), 1, 0
    while len(done) < 19 or not failed:
        name, lives = f"face {lives}", lives + 1
        held = [one for one in dispatch.ready(name, "face", 0, 0, 1, 4) if isinstance(one, Assign)]
        while held:
            if held[0].job.seq == deadly and not failed:
                failed += [one for one in dispatch.gone(name, 0) if isinstance(one, Fail)]
                break
            most = max(most, len(held))
            answered = held.pop(0)
            done.append(answered.job.seq)
            _, actions = dispatch.answered(name, answered.number, 0)
            held += [action for action in actions if isinstance(action, Assign)]
    assert [fail.job.seq for fail in failed] == [deadly]
    assert lives <= MOST_ATTEMPTS + 2
    assert most > 2, "once it is found they are quick again"
    assert sorted(done) == [seq for seq in range(20) if seq != deadly]


def test_a_new_run_forgets_the_old_one() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "every", {"face": 0, "speech": 0})
    dispatch.ready("face 1", "face", 0, 0)
    for seq in range(3):
        dispatch.offer(job("a", seq), 0)
    dispatch.open_stream("a", 2, "every", {"face": 0, "speech": 0})
    assert dispatch.offer(job("a", 0, run=1), 0) == []
    assert dispatch.waiting() == 0
    old, _ = dispatch.answered("face 1", 1, 0)
    assert old is None
    assert dispatch.gone("face 1", 0) == []
    dispatch.ready("face 2", "face", 0, 0)
    assert assigned(dispatch.offer(job("a", 0, run=2), 0)) == [("a", 0)]


def test_a_live_job_that_nobody_answers_is_given_up_and_its_late_answer_ignored() -> None:
    dispatch = Dispatch(deadline_ns=SECOND)
    dispatch.open_stream("a", 1, "latest", {"face": 0, "speech": 0})
    dispatch.ready("face 1", "face", 0, 0)
    dispatch.offer(job("a", 0), 0)
    assert dispatch.expire(SECOND) == []
    assert [(type(action), action.job.seq) for action in dispatch.expire(SECOND + 1)] == [(Drop, 0)]
    assert dispatch.expire(SECOND + 2) == []
    late, _ = dispatch.answered("face 1", 1, SECOND + 3)
    assert late is None
    assert dispatch.counts("a", "face").dropped == 1


def test_an_assignment_says_how_long_its_job_waited() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "latest", {"face": 0, "speech": 0})
    dispatch.offer(job("a", 0), 5)
    dispatch.offer(job("a", 1), 20)
    first = dispatch.ready("face 1", "face", 0, 50)
    assert [action.waited_ns for action in first if isinstance(action, Assign)] == [30]
    _, after = dispatch.answered("face 1", 1, 60)
    assert after == []
    at_once = dispatch.offer(job("a", 2), 70)
    assert [action.waited_ns for action in at_once if isinstance(action, Assign)] == [0]


def test_of_the_streams_that_wait_the_one_with_the_newest_job_goes_first_and_none_waits_for_ever() -> None:
    dispatch = Dispatch()
    for stream in ("slow", "fast", "faster"):
        dispatch.open_stream(stream, 1, "latest", {"face": 0, "speech": 0})
    dispatch.offer(job("slow", 0), 0)
    dispatch.ready("face 1", "face", 0, 0)
    dispatch.offer(job("slow", 1), 1)
    done: list[str] = []
    for seq in range(24):
        now = 10 * seq + 10
        dispatch.offer(job("fast", seq), now)
        dispatch.offer(job("faster", seq), now + 1)
        _, actions = dispatch.answered("face 1", seq + 1, now + 2)
        done += [stream for stream, _ in assigned(actions)]
    assert done[0] == "faster", "its job is the newest, and none is far behind"
    assert done.index("slow") <= 2 * MOST_BEHIND + 2
    assert done.count("slow") == 1
    assert abs(done.count("fast") - done.count("faster")) <= 1


def test_an_assignment_that_never_came_to_its_worker_holds_it_up_no_longer_than_its_deadline() -> None:
    dispatch = Dispatch()
    dispatch.open_stream("a", 1, "latest", {"face": 0, "speech": 0})
    dispatch.ready("face 1", "face", 0, 0)
    assert assigned(dispatch.offer(job("a", 0), 0)) == [("a", 0)]
    dispatch.expire(LATEST_DEADLINE_NS + 1)
    dispatch.offer(job("a", 1), LATEST_DEADLINE_NS + 2)
    assert dispatch.waiting() == 1
    # Its connection was lost with the assignment: it has answered none, and is idle.
    assert assigned(dispatch.ready("face 1", "face", 0, LATEST_DEADLINE_NS + 3)) == [("a", 1)]
