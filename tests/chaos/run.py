"""An attack from start to end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.attack import Attack, Recovery
from tests.chaos.blows import ROUND, blows
from tests.chaos.footprint import Footprint


@dataclass(frozen=True)
class Found:
    """What an attack has found.

    Attributes:
        before, after: what the system took of the machine before the first and after the last blow.
        stopped_s: how long it took to stop.
        left: what it left behind then.
    """

    seed: int
    minutes: float
    recoveries: tuple[Recovery, ...]
    before: Footprint
    after: Footprint
    stopped_s: float
    left: tuple[str, ...]


def attack_for(folder: Path, seed: int, seconds: float, tell: Callable[[str], None]) -> Found:
    """Strike for so long, but a whole round at least; raises AssertionError where the system does not recover."""
    recoveries: list[Recovery] = []
    with Attack(folder) as attack:
        attack.settled()
        attack.warm_up()
        before, begun = attack.footprint(), time.monotonic()
        for number, blow in enumerate(blows(seed), start=1):
            found = attack.strike(blow)
            recoveries.append(found)
            tell(
                f"{number:4} {blow!s:34} {found.victim or '':14} events {found.events_s:5.2f} s, "
                f"pause {found.pause_s:5.2f} s, whole {found.whole_s:5.2f} s"
            )
            if number >= ROUND and time.monotonic() - begun > seconds:
                break
        minutes = (time.monotonic() - begun) / 60
        after = attack.footprint()
        stopped_s, left = attack.stop()
    return Found(seed, minutes, tuple(recoveries), before, after, stopped_s, tuple(left))


def by_kind(recoveries: tuple[Recovery, ...]) -> dict[str, list[Recovery]]:
    """Recoveries by what happened to whom, in the order of their names."""
    ordered = sorted(recoveries, key=_kind)
    return {kind: list(found) for kind, found in itertools.groupby(ordered, key=_kind)}


def _kind(found: Recovery) -> str:
    blow = found.blow
    return (
        f"{blow.kind} and kill {blow.role}" if blow.kind == "swap" and blow.role else f"{blow.kind} {blow.role or ''}"
    )
