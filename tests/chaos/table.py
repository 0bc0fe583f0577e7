"""The result of an attack as text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from tests.chaos.attack import Recovery
from tests.chaos.footprint import Footprint, grown
from tests.chaos.run import Found, by_kind


def table(found: Found) -> str:
    """A line for each kind of blow, one for all kills, then what has grown, and the end."""
    killed = [each for each in found.recoveries if each.killed]
    resumed = [each for each in found.recoveries if each.blow.kind == "resume" and not each.killed]
    lines = [
        "",
        f"seed {found.seed}: {len(found.recoveries)} blows in {found.minutes:.1f} minutes; "
        f"{len(killed)} processes died, {len(resumed)} went on after SIGCONT",
        f"{'blow':28} {'times':>5}   {'events again in s':>20}   {'longest pause in s':>20}   {'all ready in s':>20}",
        f"{'':28} {'':>5}   {'median':>12} {'worst':>7}   {'median':>12} {'worst':>7}   {'median':>12} {'worst':>7}",
    ]
    lines += [_line(kind, group) for kind, group in by_kind(found.recoveries).items()]
    lines += [_line("every kill", [each for each in found.recoveries if each.blow.kind == "kill"])]
    lines += ["", _footprint("before", found.before), _footprint("after", found.after)]
    lines += [f"grown: {'; '.join(grown(found.before, found.after)) or 'nothing'}"]
    lines += [f"stopped within {found.stopped_s:.2f} s; left behind: {'; '.join(found.left) or 'nothing'}"]
    return "\n".join(lines)


def _line(kind: str, group: Sequence[Recovery]) -> str:
    return (
        f"{kind:28} {len(group):5}   {_two([each.events_s for each in group])}   "
        f"{_two([each.pause_s for each in group])}   {_two([each.whole_s for each in group])}"
    )


def _two(values: Sequence[float]) -> str:
    return f"{statistics.median(values):12.2f} {max(values):7.2f}"


def _footprint(when: str, found: Footprint) -> str:
    roles = [
        f"{role} {found.descriptors.get(role, 0)} descriptors {found.memory_mb.get(role, 0):.0f} MB"
        for role in sorted(found.descriptors)
    ]
    return f"{when}: {', '.join(roles)}; {found.segments} segments of {found.shared_mb:.0f} MB"
