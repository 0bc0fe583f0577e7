"""Which blow falls when, as a pure function of a seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

ROLES = ("broker", "face", "audio", "fusion", "capture", "view", "record")
"""Every kind of process that a system with page and recording has, but for the supervisor."""

# Silence of 5 s is a hang (bimodal/supervisor/child.py); what is resumed before that need not be noticed.
RESUMED_AFTER_S = (0.5, 3.0)
PAUSE_S = (0.2, 1.5)
DURING_SWAP_S = (0.0, 2.0)

Kind = Literal["kill", "resume", "hang", "swap", "sweep", "evict", "rogue", "flood", "starve", "burst"]
# Blows to the session and the machine around the processes; the first two kill one of these roles as well.
AROUND: tuple[Kind, ...] = ("sweep", "evict", "rogue", "flood", "starve", "burst")
HOMELESS = ("face", "capture", "audio", "view")


@dataclass(frozen=True)
class Blow:
    """One thing that happens to a system.

    Attributes:
        kind: "kill": SIGKILL; "resume": SIGSTOP, then SIGCONT; "hang": SIGSTOP, and the watchdog has to find out;
            "swap": the config names another model; "sweep": the shared slots are removed, then a process is killed;
            "evict": the same with the folder of sockets; "rogue": a worker answers wrongly; "flood": a reader with
            100,000 subscriptions; "starve": all cores are taken by others for some seconds; "burst": the bursty source
            hangs up and comes back.
        role: the kind of process that is hit; of a swap, who is killed while it is on its way, or None.
        choice: 0 to 1, which of several processes of that role.
        pause_s: seconds before it falls.
        wait_s: "resume": seconds until SIGCONT; "swap": seconds from the edit to the kill.
    """

    kind: Kind
    role: str | None
    choice: float
    pause_s: float
    wait_s: float = 0.0

    def __str__(self) -> str:
        if self.kind == "swap":
            return f"swap, {self.role} killed after {self.wait_s:.2f} s" if self.role else "swap"
        if self.role is None:
            return self.kind
        return f"{self.kind} {self.role}" + (f" after {self.wait_s:.2f} s" if self.kind == "resume" else "")


ROUND = len(ROLES) + 4 + len(AROUND)
"""Blows of a round: every role is killed once, one is resumed, one hangs, the model is swapped twice, and each blow to
what is around the processes falls once."""


def blows(seed: int) -> Iterator[Blow]:
    """Blows without end, the same for the same seed. Every `ROUND` of them are one round, in an order of its own; over
    as many rounds as there are roles, each role is resumed once, hangs once, and is killed once during a swap."""
    chance = random.Random(seed)
    resumed, hung, swapped = (_decks(chance) for _ in range(3))
    while True:
        dealt: list[tuple[Kind, str | None]] = [("kill", role) for role in ROLES]
        dealt += [("resume", next(resumed)), ("hang", next(hung)), ("swap", None), ("swap", next(swapped))]
        dealt += [(kind, chance.choice(HOMELESS) if kind in ("sweep", "evict") else None) for kind in AROUND]
        chance.shuffle(dealt)
        yield from (_blow(chance, kind, role) for kind, role in dealt)


def first(seed: int, count: int) -> list[Blow]:
    """The first blows of a seed."""
    return list(itertools.islice(blows(seed), count))


def _decks(chance: random.Random) -> Iterator[str]:
    while True:
        yield from chance.sample(ROLES, len(ROLES))


def _blow(chance: random.Random, kind: Kind, role: str | None) -> Blow:
    choice, pause_s = chance.random(), chance.uniform(*PAUSE_S)
    wait_s = chance.uniform(*(DURING_SWAP_S if kind == "swap" else RESUMED_AFTER_S))
    return Blow(kind, role, choice, pause_s, wait_s if kind == "resume" or (kind == "swap" and role) else 0.0)
