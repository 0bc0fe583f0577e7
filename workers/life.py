"""The life of one child process, as a pure state machine: when to start it, when it hangs, when to give up.

DESIGN: starting → ready → draining → stopped, or failed. The watchdog is armed at ready. Restarts back off;
five deaths in a minute, each within ten seconds of ready, and the process is failed.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from broker.messages import State
from workers.back_off import BackOff

SILENT_S = 5.0
KILL_AFTER_S = 3.0
START_LIMIT_S = 60.0
SOON_S = 10.0
MOST_DEATHS = 5
WITHIN_S = 60.0
STEADY_S = 30.0

Verdict = Literal["start", "dump", "kill", "nothing"]


class Life:
    """States and times of one process; every time is seconds of one monotonic clock.

    Attributes:
        state: as the user sees it.
        incarnation: how often it was started.
        because: the sentence that explains its last death or its failure.
    """

    def __init__(self) -> None:
        self.state: State = "stopped"
        self.incarnation = 0
        self.because: str | None = None
        self._back_off = BackOff(0.5, 30.0)
        self._start_at = 0.0
        self._started = 0.0
        self._ready_at: float | None = None
        self._heard = 0.0
        self._told_at: float | None = None
        self._quick_deaths: deque[float] = deque()

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return max(0, self.incarnation - 1)

    def started(self, now: float) -> int:
        """It was started; returns its incarnation."""
        self.incarnation += 1
        self.state = "starting"
        self._started = self._heard = now
        self._ready_at = self._told_at = None
        return self.incarnation

    def heard(self, incarnation: int, state: State, because: str | None, now: float) -> bool:
        """A heartbeat. Whether its state is news; heartbeats of older lives are none."""
        if incarnation != self.incarnation or self.state in ("stopped", "failed"):
            return False
        self._heard = now
        if because is not None or state == "ready":
            self.because = because
        if state == "ready" and self._ready_at is None:
            self._ready_at = now
        if state == "ready" and self._ready_at is not None and now - self._ready_at > STEADY_S:
            self._back_off.reset()
        # A refusal is settled when the process has exited, not when it says so.
        news = state != self.state and state in ("ready", "draining")
        if news:
            self.state = state
        return news

    def exited(self, now: float, *, again: bool) -> None:
        """It is gone. `again` says whether it should run: then it is started again later, or failed for good."""
        quick = self._ready_at is None or now - self._ready_at < SOON_S
        if quick:
            self._quick_deaths.append(now)
        while self._quick_deaths and now - self._quick_deaths[0] > WITHIN_S:
            self._quick_deaths.popleft()
        if not again:
            self.state = "stopped"
        elif len(self._quick_deaths) >= MOST_DEATHS:
            self.state = "failed"
            self.because = self.because or f"it died {MOST_DEATHS} times within a minute"
        else:
            self.state = "stopped"
            self._start_at = now + self._back_off.next()

    def refused(self, because: str) -> None:
        """It can't work as it is configured; starting it again would change nothing."""
        self.state = "failed"
        self.because = because

    def due(self, now: float) -> Verdict:
        """What must be done with it now. "dump" comes once for each hang, before "kill"."""
        if self.state == "stopped":
            return "start" if now >= self._start_at else "nothing"
        if self.state == "failed":
            return "nothing"
        silent = now - self._heard > SILENT_S if self._ready_at is not None else now - self._started > START_LIMIT_S
        if not silent:
            self._told_at = None
            return "nothing"
        if self._told_at is None:
            self._told_at = now
            self.because = "it did not answer any more"
            return "dump"
        return "kill" if now - self._told_at > KILL_AFTER_S else "nothing"
