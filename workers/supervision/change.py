"""One change of rows on its way, as a pure state machine: load beside, tell, then take over all at once.

Nothing of what works is touched before everything new is ready, so that a change that fails has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from bimodal.workers.processes import ProcessSpec
from bimodal.workers.supervision.life import Life
from bimodal.workers.supervision.plan import Plan

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
