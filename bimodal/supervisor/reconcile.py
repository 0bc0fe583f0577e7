"""Carries a change of rows through: starts what loads beside, tells, takes over all at once, or gives up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count
from typing import Literal

import msgspec

from bimodal.broker.control import Order
from bimodal.broker.messages import Reconfigure, Reconfigured
from bimodal.supervisor.child import Child, Life
from bimodal.supervisor.processes import TABLE, ProcessSpec, Role

log = logging.getLogger(__name__)

# What a worker was given just before it went off duty is under way to it for a moment.
GRACE_S = 0.3
BESIDE: tuple[Role, ...] = tuple(role for role, kind in TABLE.items() if kind.change == "beside")


class Reconciler:
    """Works on the supervisor's table of children.

    Attributes:
        refused: why the newest change was given up, None where it was carried out or is on its way.
    """

    def __init__(self, children: dict[str, Child], send: Callable[[Order], None]) -> None:
        self.refused: str | None = None
        self._children = children
        self._send = send
        self._change: Change | None = None
        self._revision = 0
        self._lives: dict[str, int] = {}

    @property
    def changing(self) -> bool:
        """Whether a change is on its way."""
        return self._change is not None

    # -------------------------------------------------------------------------------- rows

    def add(self, spec: ProcessSpec, *, beside: bool = False) -> None:
        """One more row. A name that was used before goes on counting its incarnations."""
        self._children[spec.name] = Child(spec, "beside" if beside else "on", self._lives.get(spec.name, 0))

    def forget(self, name: str) -> None:
        """A row less; its process has ended."""
        self._lives[name] = self._children.pop(name).life.incarnation

    def rows(self) -> list[ProcessSpec]:
        """The rows that are wanted as things stand, in the order of the table."""
        found = (child.successor or child.spec for child in self._children.values() if self._stays(child))
        return list(found)

    def _stays(self, child: Child) -> bool:
        return child.post == "on" or child.successor is not None or child.renewed

    # -------------------------------------------------------------------------------- a change

    def begin(self, wanted: Sequence[ProcessSpec], now: float) -> None:
        """Bring what runs in line with `wanted`. A change that is still on its way is given up for it."""
        self.refused = None
        self._take_back()
        for child in self._children.values():
            child.life.try_again(now)
        rows, loading = self.rows(), self._beside()
        failing = {row.name for row in rows if self._children[row.name].life.failing}
        wish = plan(rows, wanted, taken=self._children, failing=failing)
        wish = _reusing(wish, (child.spec for child in loading))
        self._dismiss((child for child in loading if child.spec not in wish.beside), now)
        if wish.empty:
            return
        for spec in wish.beside:
            if spec.name not in self._children:
                self.add(spec, beside=True)
        self._revision += 1
        self._change = Change(wish, self._revision)
        log.info("changing: %s", describe(wish))

    def answered(self, answer: Reconfigured) -> None:
        """A process answers what it was told."""
        child = self._children.get(answer.name)
        if self._change is not None and child is not None:
            self._change.answered(answer.name, answer.revision, answer.because, child.life.incarnation)

    def step(self, now: float) -> None:
        """Go on with the change that is on its way, as far as it can go now."""
        change = self._change
        if change is None:
            return
        lives = {name: child.life for name, child in self._children.items()}
        match change.due(lives, now):
            case "tell":
                for row in change.untold(lives):
                    self._tell(row, change.revision)
            case "carry out":
                self._change = None
                self._carry_out(change.plan, now)
                log.info("changed: %s", describe(change.plan))
            case "give up":
                log.warning("the change was given up, all goes on as it was: %s", change.because)
                self._take_back()
                self._dismiss(self._beside(), now)
                self.refused = change.because
            case "wait":
                pass

    def _carry_out(self, wish: Plan, now: float) -> None:
        for spec in wish.beside:
            self._children[spec.name].post = "on"
        for name in (*wish.relieved, *wish.stopped):
            self.leave(self._children[name], now)
        for spec in wish.told:
            self._children[spec.name].spec = spec
        for spec in wish.again:
            self.leave(self._children[spec.name], now, successor=spec)
        for spec in wish.started:
            old = self._children.get(spec.name)
            if old is None:
                self.add(spec)
            else:
                old.successor = spec

    def _take_back(self) -> None:
        """Forget the change on its way, and tell those that were told how they are to go on."""
        change, self._change = self._change, None
        if change is not None and change.plan.told:
            self._revision += 1
            for row in change.plan.told:
                self._tell(self._children[row.name].spec, self._revision)

    def _tell(self, row: ProcessSpec, revision: int) -> None:
        settings = msgspec.to_builtins(row.settings)
        self._send(Reconfigure(to=row.name, revision=revision, settings=settings))

    # -------------------------------------------------------------------------------- leaving

    def leave(self, child: Child, now: float, successor: ProcessSpec | None = None) -> None:
        """Let a process finish what it holds and go; `successor` is the row that has its name then."""
        child.post, child.successor, child.renewed = "leaving", successor, False
        if child.running:
            child.life.leave(now, self._grace_s(child))

    def renew(self, child: Child, because: str, now: float) -> None:
        """Let a process go in the same way, and be started again."""
        child.post, child.renewed = "leaving", True
        child.life.leave(now, self._grace_s(child), because)

    def _grace_s(self, child: Child) -> float:
        return GRACE_S if child.spec.role in BESIDE else 0.0

    def _dismiss(self, children: Iterable[Child], now: float) -> None:
        for child in children:
            self.leave(child, now)

    def _beside(self) -> list[Child]:
        return [child for child in self._children.values() if child.post == "beside"]

    def off_duty(self) -> tuple[str, ...]:
        """The workers that get no jobs."""
        return tuple(name for name, child in self._children.items() if child.post != "on" and child.spec.role in BESIDE)


def _reusing(wish: Plan, loading: Iterable[ProcessSpec]) -> Plan:
    """The plan with workers that load already in the place of new ones that would be just like them."""
    left = list(loading)
    beside = []
    for row in wish.beside:
        found = next((known for known in left if alike(known, row)), row)
        if found in left:
            left.remove(found)
        beside.append(found)
    return replace(wish, beside=tuple(beside))


def describe(wish: Plan) -> str:
    """A plan in one line, for the log."""
    parts = {
        "beside": [row.name for row in wish.beside],
        "relieved": wish.relieved,
        "told": [row.name for row in wish.told],
        "again": [row.name for row in wish.again],
        "started": [row.name for row in wish.started],
        "stopped": wish.stopped,
    }
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts.items() if names) or "nothing"


# From the processes that are to the processes that are wanted: what must happen, as a pure function.


@dataclass(frozen=True)
class Plan:
    """What leads from the old rows to the new.

    Attributes:
        beside: workers that load beside those that work, under names that are free.
        relieved: names of workers that leave when these have taken over.
        told: rows whose processes take their new settings while they run.
        again: rows whose processes stop and are started with new settings.
        started, stopped: rows that are new, names of those that are wanted no more.
    """

    beside: tuple[ProcessSpec, ...] = ()
    relieved: tuple[str, ...] = ()
    told: tuple[ProcessSpec, ...] = ()
    again: tuple[ProcessSpec, ...] = ()
    started: tuple[ProcessSpec, ...] = ()
    stopped: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether all is as it is wanted."""
        return not any(getattr(self, field.name) for field in fields(self))


def plan(
    rows: Sequence[ProcessSpec],
    wanted: Sequence[ProcessSpec],
    *,
    taken: Collection[str] = (),
    failing: Collection[str] = (),
) -> Plan:
    """What must happen for `rows` to become `wanted`.

    Args:
        taken: further names that are in use, by processes that are about to leave.
        failing: rows whose processes do not run, so that nothing can be told to them.

    Workers of one kind are all alike: they are counted, and their names do not matter. Every other row is known by
    its name.
    """
    used = set(taken) | {row.name for row in rows}
    beside: list[ProcessSpec] = []
    relieved: list[str] = []
    for role in BESIDE:
        more, fewer = _workers(_of(rows, role), _of(wanted, role), role, used, failing)
        beside += more
        relieved += fewer
    before = {row.name: row for row in rows if row.role not in BESIDE}
    after = {row.name: row for row in wanted if row.role not in BESIDE}
    changed = [row for name, row in after.items() if name in before and before[name] != row]
    told = [row for row in changed if row.kind.change == "told" and row.name not in failing]
    return Plan(
        beside=tuple(beside),
        relieved=tuple(relieved),
        told=tuple(told),
        again=tuple(row for row in changed if row not in told),
        started=tuple(row for name, row in after.items() if name not in before),
        stopped=tuple(name for name in before if name not in after),
    )


def alike(one: ProcessSpec, other: ProcessSpec) -> bool:
    """Whether two rows differ in nothing but their names."""
    return msgspec.structs.replace(one, name=other.name) == other


def _of(rows: Iterable[ProcessSpec], role: Role) -> list[ProcessSpec]:
    return [row for row in rows if row.role == role]


def _workers(
    rows: list[ProcessSpec], wanted: list[ProcessSpec], role: Role, used: set[str], failing: Collection[str]
) -> tuple[list[ProcessSpec], list[str]]:
    """The workers that must come, and the names of those that must go; those that fail go first."""
    left = sorted(rows, key=lambda row: row.name in failing)
    more: list[ProcessSpec] = []
    names = _free_names(role, used)
    for row in wanted:
        kept = next((known for known in left if alike(known, row)), None)
        if kept is not None:
            left.remove(kept)
        else:
            more.append(msgspec.structs.replace(row, name=next(names)))
    return more, [row.name for row in left]


def _free_names(role: Role, used: Collection[str]) -> Iterator[str]:
    return (name for name in (f"{role} {number}" for number in count(1)) if name not in used)


# One change of rows on its way, as a pure state machine: load beside, tell, then take over all at once.
#
# Nothing of what works is touched before everything new is ready, so that a change that fails has changed nothing.


TELL_EVERY_S = 1.0
TELL_WITHIN_S = 60.0

Verdict = Literal["wait", "tell", "carry out", "give up"]


class Change:
    """What is under way.

    Attributes:
        plan: what is to happen.
        revision: number of what is told with it.
        because: the sentence that says why it is given up.
    """

    def __init__(self, plan: Plan, revision: int) -> None:
        self.plan = plan
        self.revision = revision
        self.because: str | None = None
        self._accepted: dict[str, int] = {}
        self._telling_since: float | None = None
        self._told_at = 0.0

    def untold(self, lives: Mapping[str, Life]) -> list[ProcessSpec]:
        """The rows that have not taken their new settings yet, or have been started again since, with the old ones."""
        return [row for row in self.plan.told if self._accepted.get(row.name) != lives[row.name].incarnation]

    def answered(self, name: str, revision: int, because: str | None, incarnation: int) -> None:
        """A process has taken its new settings, or says why not. Answers to what was told before count nothing."""
        if revision != self.revision:
            return
        if because is None:
            self._accepted[name] = incarnation
        else:
            self.because = because

    def due(self, lives: Mapping[str, Life], now: float) -> Verdict:
        """What is to be done now; `lives` are those of all processes, by name."""
        beside = [lives[row.name] for row in self.plan.beside]
        failed = next((life for life in beside if life.failing), None)
        if failed is not None:
            self.because = failed.because
        if self.because is not None:
            return "give up"
        if any(life.state != "ready" for life in beside):
            return "wait"
        untold = self.untold(lives)
        return self._due_telling(untold, now) if untold else "carry out"

    def _due_telling(self, untold: list[ProcessSpec], now: float) -> Verdict:
        if self._telling_since is None:
            self._telling_since = now
        elif now - self._telling_since > TELL_WITHIN_S:
            self.because = f"{untold[0].name} did not take its new settings within {TELL_WITHIN_S:g} s"
            return "give up"
        elif now - self._told_at < TELL_EVERY_S:
            return "wait"
        self._told_at = now
        return "tell"
