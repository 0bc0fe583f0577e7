"""Change of the rows while the system runs: load alongside, reconfigure, take over all at once, or give up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Literal

import msgspec

from bimodal.broker.messages import Reconfigure, Reconfigured, Shadowed
from bimodal.broker.supervisor_channel import Order
from bimodal.supervisor.child import START_LIMIT_S, Child, Life
from bimodal.supervisor.processes import TABLE, ProcessSpec, Role

log = logging.getLogger(__name__)

# A job sent just before a worker went off duty may still be under way to it.
GRACE_S = 0.3
ALONGSIDE: tuple[Role, ...] = tuple(role for role, kind in TABLE.items() if kind.change == "start_alongside")


class Reconciler:
    """Adds, removes and changes the rows of the supervisor's children.

    Attributes:
        given_up: why the newest change was given up; None where it was carried out or is in progress.
        tried: how the new workers of the newest change did on real frames; None if they were not tried.
    """

    def __init__(self, children: dict[str, Child], send: Callable[[Order], None]) -> None:
        self.given_up: str | None = None
        self.tried: str | None = None
        self._children = children
        self._send = send
        self._change: Change | None = None
        self._revision = 0
        self._incarnations: dict[str, int] = {}

    @property
    def changing(self) -> bool:
        """True while a change is in progress."""
        return self._change is not None

    # -------------------------------------------------------------------------------- rows

    def add(self, spec: ProcessSpec, *, loading: bool = False) -> None:
        """Add a row. A name that was used before goes on counting its incarnations."""
        self._children[spec.name] = Child(
            spec, "loading" if loading else "active", self._incarnations.get(spec.name, 0)
        )

    def remove(self, name: str) -> None:
        """Remove a row whose process has ended."""
        child = self._children.pop(name)
        child.discard()
        self._incarnations[name] = child.life.incarnation

    def rows(self) -> list[ProcessSpec]:
        """The rows that are wanted now, in the order of the table."""
        found = (child.successor or child.spec for child in self._children.values() if self._stays(child))
        return list(found)

    def _stays(self, child: Child) -> bool:
        return child.phase == "active" or child.successor is not None or child.restarting

    # -------------------------------------------------------------------------------- a change

    def change(self, wanted: Sequence[ProcessSpec], now: float) -> None:
        """Begin to bring the processes in line with `wanted`, without stopping any that can stay; replaces a change in
        progress. It takes time: see `changing`, then `given_up`. `now`: monotonic clock, seconds."""
        self.given_up = None
        self._revert()
        for child in self._children.values():
            child.life.retry(now)
        rows, loading = self.rows(), self._loading()
        failing = {row.name for row in rows if self._children[row.name].life.failing}
        steps = plan(rows, wanted, taken=self._children, failing=failing)
        steps = _reusing(steps, (child.spec for child in loading))
        self._drain_all((child for child in loading if child.spec not in steps.start_alongside), now)
        if steps.empty:
            return
        for spec in steps.start_alongside:
            if spec.name not in self._children:
                self.add(spec, loading=True)
        self._revision += 1
        self._change = Change(steps, self._revision, self._untried(steps))
        log.info("changing: %s", describe(steps))

    def _untried(self, steps: Plan) -> tuple[str, ...]:
        """The new workers that differ from all that work now: with other models or settings."""
        working = [child.spec for child in self._children.values() if child.phase == "active" and child.was_ready]
        return tuple(
            row.name for row in steps.start_alongside if not any(interchangeable(row, known) for known in working)
        )

    def shadows(self) -> tuple[str, ...]:
        """Names of the workers that are tried on real frames now."""
        return self._change.trying if self._change is not None else ()

    def on_shadowed(self, found: Shadowed) -> None:
        """Take the broker's report on a worker that is tried."""
        child = self._children.get(found.name)
        if self._change is not None and child is not None and child.life.incarnation == found.incarnation:
            self._change.on_shadowed(found)

    def on_reconfigured(self, answer: Reconfigured) -> None:
        """Take the answer of a process to its new settings."""
        child = self._children.get(answer.name)
        if self._change is not None and child is not None:
            self._change.on_answer(answer.name, answer.revision, answer.because, child.life.incarnation)

    def step(self, now: float) -> None:
        """Go on with the change in progress as far as possible now."""
        change = self._change
        if change is None:
            return
        lives = {name: child.life for name, child in self._children.items()}
        match change.due(lives, now):
            case "send":
                for row in change.pending(lives):
                    self._send_settings(row, change.revision)
            case "carry out":
                self._change = None
                self.tried = change.tried()
                self._carry_out(change.plan, now)
                log.info("changed: %s%s", describe(change.plan), f" ({self.tried})" if self.tried else "")
            case "give up":
                log.warning("the change was given up, all goes on as it was: %s", change.reason)
                self._revert()
                self._drain_all(self._loading(), now)
                self.given_up = change.reason
            case "wait":
                pass

    def _carry_out(self, steps: Plan, now: float) -> None:
        for spec in steps.start_alongside:
            self._children[spec.name].phase = "active"
        for name in (*steps.retire, *steps.stop):
            self.drain(self._children[name], now)
        for spec in steps.reconfigure:
            self._children[spec.name].spec = spec
        for spec in steps.restart:
            self.drain(self._children[spec.name], now, successor=spec)
        for spec in steps.start:
            old = self._children.get(spec.name)
            if old is None:
                self.add(spec)
            else:
                old.successor = spec

    def _revert(self) -> None:
        """Drop the change in progress, and send the processes that got new settings their old ones."""
        change, self._change = self._change, None
        if change is not None and change.plan.reconfigure:
            self._revision += 1
            for row in change.plan.reconfigure:
                self._send_settings(self._children[row.name].spec, self._revision)

    def _send_settings(self, row: ProcessSpec, revision: int) -> None:
        settings = msgspec.to_builtins(row.settings)
        self._send(Reconfigure(to=row.name, revision=revision, settings=settings))

    # -------------------------------------------------------------------------------- draining

    def drain(self, child: Child, now: float, successor: ProcessSpec | None = None) -> None:
        """Drain and stop a process; `successor` is then started under its name."""
        child.phase, child.successor, child.restarting = "draining", successor, False
        if child.running:
            child.life.drain(now, self._grace_s(child))

    def restart(self, child: Child, reason: str, now: float) -> None:
        """Drain and stop a process, then start it again."""
        child.phase, child.restarting = "draining", True
        child.life.drain(now, self._grace_s(child), reason)

    def _grace_s(self, child: Child) -> float:
        return GRACE_S if child.spec.role in ALONGSIDE else 0.0

    def _drain_all(self, children: Iterable[Child], now: float) -> None:
        for child in children:
            self.drain(child, now)

    def _loading(self) -> list[Child]:
        return [child for child in self._children.values() if child.phase == "loading"]

    def off_duty(self) -> tuple[str, ...]:
        """Names of the workers that get no jobs."""
        return tuple(
            name for name, child in self._children.items() if child.phase != "active" and child.spec.role in ALONGSIDE
        )


def _reusing(steps: Plan, loading: Iterable[ProcessSpec]) -> Plan:
    """The plan with workers that are loading already in place of interchangeable new ones."""
    left = list(loading)
    added = []
    for row in steps.start_alongside:
        found = next((known for known in left if interchangeable(known, row)), row)
        if found in left:
            left.remove(found)
        added.append(found)
    return replace(steps, start_alongside=tuple(added))


def describe(steps: Plan) -> str:
    """Describe a plan in one line, for the log."""
    parts = {
        "start alongside": [row.name for row in steps.start_alongside],
        "retire": steps.retire,
        "reconfigure": [row.name for row in steps.reconfigure],
        "restart": [row.name for row in steps.restart],
        "start": [row.name for row in steps.start],
        "stop": steps.stop,
    }
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names) or "nothing"


# The plan from the present rows to the wanted ones: a pure function.


@dataclass(frozen=True)
class Plan:
    """The steps from the old rows to the new.

    Attributes:
        start_alongside: new workers that load while the old ones work, under free names.
        retire: names of workers that are drained when those have taken over.
        reconfigure: rows whose processes take their new settings while they run.
        restart: rows whose processes stop and are started with new settings.
        start, stop: new rows, and names of those that are no longer wanted.
    """

    start_alongside: tuple[ProcessSpec, ...] = ()
    retire: tuple[str, ...] = ()
    reconfigure: tuple[ProcessSpec, ...] = ()
    restart: tuple[ProcessSpec, ...] = ()
    start: tuple[ProcessSpec, ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """True where nothing differs."""
        return not any(getattr(self, field.name) for field in fields(self))


def plan(
    rows: Sequence[ProcessSpec],
    wanted: Sequence[ProcessSpec],
    *,
    taken: Collection[str] = (),
    failing: Collection[str] = (),
) -> Plan:
    """Plan the steps that turn `rows` into `wanted`.

    Args:
        taken: further names in use, by processes that are draining.
        failing: names of rows whose processes do not run and so can't be reconfigured.

    Workers of one kind are interchangeable: only their number counts. Every other row is known by its name.
    """
    used = set(taken) | {row.name for row in rows}
    added: list[ProcessSpec] = []
    retired: list[str] = []
    for role in ALONGSIDE:
        more, fewer = _workers(_of(rows, role), _of(wanted, role), role, used, failing)
        added += more
        retired += fewer
    before = {row.name: row for row in rows if row.role not in ALONGSIDE}
    after = {row.name: row for row in wanted if row.role not in ALONGSIDE}
    changed = [row for name, row in after.items() if name in before and before[name] != row]
    reconfigured = [row for row in changed if row.kind.change == "reconfigure" and row.name not in failing]
    return Plan(
        start_alongside=tuple(added),
        retire=tuple(retired),
        reconfigure=tuple(reconfigured),
        restart=tuple(row for row in changed if row not in reconfigured),
        start=tuple(row for name, row in after.items() if name not in before),
        stop=tuple(name for name in before if name not in after),
    )


def interchangeable(one: ProcessSpec, other: ProcessSpec) -> bool:
    """True where two rows differ at most in their names."""
    return msgspec.structs.replace(one, name=other.name) == other


def _of(rows: Iterable[ProcessSpec], role: Role) -> list[ProcessSpec]:
    return [row for row in rows if row.role == role]


def _workers(
    rows: list[ProcessSpec], wanted: list[ProcessSpec], role: Role, used: set[str], failing: Collection[str]
) -> tuple[list[ProcessSpec], list[str]]:
    """The workers to start and the names of those to retire, failing ones first."""
    left = sorted(rows, key=lambda row: row.name in failing)
    more: list[ProcessSpec] = []
    names = _free_names(role, used)
    for row in wanted:
        kept = next((known for known in left if interchangeable(known, row)), None)
        if kept is not None:
            left.remove(kept)
        else:
            more.append(msgspec.structs.replace(row, name=next(names)))
    return more, [row.name for row in left]


def _free_names(role: Role, used: Collection[str]) -> Iterator[str]:
    return (name for name in (f"{role} {number}" for number in count(1)) if name not in used)


# One change in progress, as a pure state machine: load alongside, reconfigure, then take over all at once. No running
# process is touched before everything new is ready, so that a change that fails has changed nothing.

# New workers answer so many real frames beside the old ones before they take over. Where none comes within NO_FRAMES_S,
# there is nothing to try them on.
ENOUGH_FRAMES, MOST_FAILED = 8, 4
NO_FRAMES_S, TRIED_WITHIN_S = 5.0, 20.0


class Trial:
    """New workers on copies of real frames, whose answers nobody else gets.

    Attributes:
        found: the broker's newest report on each.
    """

    def __init__(self, workers: Sequence[str], now: float) -> None:
        self.found: dict[str, Shadowed] = {}
        self._workers = tuple(workers)
        self._began = now

    def verdict(self, now: float) -> str:
        """ "go on", "passed", or why the workers can't take over, in one sentence."""
        verdicts = [self._of(name, now - self._began) for name in self._workers]
        wrong = next((one for one in verdicts if one not in ("go on", "passed")), None)
        return wrong or ("go on" if "go on" in verdicts else "passed")

    def _of(self, name: str, passed_s: float) -> str:
        found = self.found.get(name)
        if found is None or not found.asked:
            return "passed" if passed_s > NO_FRAMES_S else "go on"
        if found.failed >= MOST_FAILED and found.failed >= found.done:
            return (
                f"{name} failed on {found.failed} of {found.failed + found.done} real frames that it was tried on: "
                f"{found.because}"
            )
        if found.done >= ENOUGH_FRAMES:
            return "passed"
        if passed_s <= TRIED_WITHIN_S:
            return "go on"
        if found.done > found.failed:
            return "passed"
        return f"{name} answered {found.done} of the real frames that it was tried on within {TRIED_WITHIN_S:g} s"

    def told(self) -> str:
        """Describe in one sentence how they did."""
        reports = [found for found in self.found.values() if found.asked]
        if not reports:
            return "no frame came on which the new workers could be tried"
        done, compared, agreed = (sum(getattr(one, what) for one in reports) for what in ("done", "compared", "agreed"))
        mean_ms = sum(one.mean_ms * one.done for one in reports) / max(1, done)
        return (
            f"the new workers were tried on {done} real frames: {agreed} of {compared} labels are those of the old "
            f"ones, {mean_ms:.0f} ms a frame, the old ones {reports[0].duty_ms:.0f} ms"
        )


RESEND_EVERY_S = 1.0
ANSWER_WITHIN_S = 60.0

Verdict = Literal["wait", "send", "carry out", "give up"]


class Change:
    """A change in progress.

    Attributes:
        revision: number of the settings that are sent with it.
        reason: why it is given up, one sentence; else None.
        trying: names of the new workers that are tried on real frames now.
    """

    def __init__(self, plan: Plan, revision: int, untried: Sequence[str] = ()) -> None:
        self.plan = plan
        self.revision = revision
        self.reason: str | None = None
        self.trying: tuple[str, ...] = ()
        self._untried = tuple(untried)
        self._trial: Trial | None = None
        self._accepted: dict[str, int] = {}
        self._sending_since: float | None = None
        self._sent_at = 0.0

    def pending(self, lives: Mapping[str, Life]) -> list[ProcessSpec]:
        """The rows to reconfigure that have not taken their new settings yet, or restarted with the old ones since."""
        return [row for row in self.plan.reconfigure if self._accepted.get(row.name) != lives[row.name].incarnation]

    def on_answer(self, name: str, revision: int, reason: str | None, incarnation: int) -> None:
        """Take the answer of a process: it has its new settings, or `reason` says why not. Ignores older revisions."""
        if revision != self.revision:
            return
        if reason is None:
            self._accepted[name] = incarnation
        else:
            self.reason = reason

    def due(self, lives: Mapping[str, Life], now: float) -> Verdict:
        """The step that is due now; `lives` are those of all processes, by name."""
        added = [lives[row.name] for row in self.plan.start_alongside]
        failed = next((life for life in added if life.failing), None)
        overdue = next((row.name for row in self.plan.start_alongside if lives[row.name].overdue), None)
        if failed is not None:
            self.reason = failed.reason
        elif overdue is not None:
            self.reason = f"{overdue} was not ready within {START_LIMIT_S:g} s"
        if self.reason is not None:
            return "give up"
        if any(life.state != "ready" for life in added):
            return "wait"
        if not self._is_tried(now):
            return "give up" if self.reason is not None else "wait"
        pending = self.pending(lives)
        return self._due_sending(pending, now) if pending else "carry out"

    def _is_tried(self, now: float) -> bool:
        """True once the new workers have answered real frames, or none came; sets `reason` where they can't."""
        if not self._untried:
            return True
        if self._trial is None:
            self._trial, self.trying = Trial(self._untried, now), self._untried
        verdict = self._trial.verdict(now)
        if verdict == "go on":
            return False
        self.trying = ()
        if verdict == "passed":
            return True
        self.reason = verdict
        return False

    def on_shadowed(self, found: Shadowed) -> None:
        """Take a report on a worker that is tried."""
        if self._trial is not None:
            self._trial.found[found.name] = found

    def tried(self) -> str | None:
        """Describe in one sentence how the new workers did; None where they were not tried."""
        return self._trial.told() if self._trial is not None else None

    def _due_sending(self, pending: list[ProcessSpec], now: float) -> Verdict:
        if self._sending_since is None:
            self._sending_since = now
        elif now - self._sending_since > ANSWER_WITHIN_S:
            self.reason = f"{pending[0].name} did not take its new settings within {ANSWER_WITHIN_S:g} s"
            return "give up"
        elif now - self._sent_at < RESEND_EVERY_S:
            return "wait"
        self._sent_at = now
        return "send"
