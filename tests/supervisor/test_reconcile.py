"""From the rows that are to the rows that are wanted."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bimodal.supervisor.processes import ProcessSpec, Role
from bimodal.supervisor.reconcile import ALONGSIDE, Plan, interchangeable, plan
from bimodal.workers.settings import BrokerSettings

STATEFUL: tuple[Role, ...] = ("broker", "fusion", "record", "view", "capture")


def row(name: str, role: Role, model: str = "a") -> ProcessSpec:
    return ProcessSpec(name=name, role=role, settings=BrokerSettings(events=(model,)))


@st.composite
def tables(draw: st.DrawFn) -> list[ProcessSpec]:
    """A table: workers of two kinds under any numbers, and at most one row of every other name."""
    found = []
    for role in ALONGSIDE:
        numbers = draw(st.sets(st.integers(1, 6), max_size=4))
        found += [row(f"{role} {number}", role, draw(st.sampled_from("ab"))) for number in sorted(numbers)]
    for role in STATEFUL:
        for name in (role, f"{role} 2"):
            if draw(st.booleans()):
                found.append(row(name, role, draw(st.sampled_from("ab"))))
    return found


def carried_out(rows: list[ProcessSpec], steps: Plan) -> list[ProcessSpec]:
    """The rows after a plan is carried out."""
    gone = {*steps.retire, *steps.stop}
    new = {spec.name: spec for spec in (*steps.reconfigure, *steps.restart)}
    kept = [new.get(known.name, known) for known in rows if known.name not in gone]
    return [*kept, *steps.start_alongside, *steps.start]


def contents(rows: list[ProcessSpec]) -> Counter[object]:
    """Rows as they count: workers without their names."""
    return Counter((known.role if known.role in ALONGSIDE else known.name, known.settings) for known in rows)


@given(tables(), tables(), st.sets(st.sampled_from(["face 1", "face 2", "audio 7"])))
def test_carried_out_a_plan_leads_to_what_is_wanted(
    rows: list[ProcessSpec], wanted: list[ProcessSpec], taken: set[str]
) -> None:
    steps = plan(rows, wanted, taken=taken)
    after = carried_out(rows, steps)
    assert contents(after) == contents(wanted)
    assert len({known.name for known in after}) == len(after), "no name twice"
    new_names = {known.name for known in steps.start_alongside}
    assert not new_names & (taken | {known.name for known in rows}), "new workers load beside the old, so never as one"


@given(tables(), tables())
def test_nothing_is_touched_that_stays_as_it_is(rows: list[ProcessSpec], wanted: list[ProcessSpec]) -> None:
    steps = plan(rows, wanted)
    common = contents(rows) & contents(wanted)
    touched = len(steps.retire) + len(steps.stop) + len(steps.reconfigure) + len(steps.restart)
    assert touched == len(rows) - sum(common.values())
    assert all(known.kind.change == "reconfigure" for known in steps.reconfigure)


@given(tables())
def test_what_is_as_it_should_be_needs_nothing(rows: list[ProcessSpec]) -> None:
    assert plan(rows, rows).empty
    renamed = [
        msgspec.structs.replace(known, name=f"{known.role} {number + 100}") if known.role in ALONGSIDE else known
        for number, known in enumerate(rows)
    ]
    assert plan(renamed, rows).empty, "the names of workers do not matter"


def test_workers_that_fail_go_first_and_rows_that_fail_can_not_be_told() -> None:
    rows = [row("face 1", "face"), row("face 2", "face"), row("fusion", "fusion")]
    wanted = [row("face 1", "face"), row("fusion", "fusion", "b")]
    steps = plan(rows, wanted, failing={"face 1", "fusion"})
    assert steps.retire == ("face 1",)
    assert steps.reconfigure == ()
    assert [known.name for known in steps.restart] == ["fusion"]


def test_names_stay_short() -> None:
    rows = [row("face 1", "face"), row("face 2", "face")]
    swapped = plan(rows, [row("face 1", "face", "b"), row("face 2", "face", "b")])
    assert [known.name for known in swapped.start_alongside] == ["face 3", "face 4"]
    back = plan(list(swapped.start_alongside), rows)
    assert [known.name for known in back.start_alongside] == ["face 1", "face 2"]


def test_rows_are_alike_if_they_differ_in_nothing_but_their_names() -> None:
    assert interchangeable(row("face 1", "face"), row("face 2", "face"))
    assert not interchangeable(row("face 1", "face"), row("face 1", "face", "b"))
