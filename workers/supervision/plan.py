"""From the processes that are to the processes that are wanted: what must happen, as a pure function."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import count

import msgspec

from bimodal.workers.processes import BESIDE, TOLD, ProcessSpec, Role


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
    told = [row for row in changed if row.role in TOLD and row.name not in failing]
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
