"""One row of the table and the process that runs for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import deque
from pathlib import Path
from typing import Literal

import msgspec

from bimodal.broker.messages import Heartbeat, State
from bimodal.child_process import child_environment, python_command
from bimodal.supervisor.processes import ProcessSpec
from bimodal.supervisor.session import Session
from bimodal.supervisor.usage import Vitals, Watch
from bimodal.workers.actor import ENVIRONMENT_KEY, ActorSettings
from bimodal.workers.backoff import BackOff

Post = Literal["on", "beside", "leaving"]


class Child:
    """A row and its process.

    Attributes:
        post: "on": it is one of those that are wanted; "beside": it loads and will take over; "leaving": it gets
            nothing more to do and goes.
        successor: the row that takes its name when it has gone, else None.
        renewed: whether it leaves only to be started again.
        asked: whether it was told to end, so that its end says nothing about its work.
    """

    def __init__(self, spec: ProcessSpec, post: Post = "on", incarnation: int = 0) -> None:
        self.spec = spec
        self.post: Post = post
        self.life = Life(incarnation)
        self.process: subprocess.Popen[bytes] | None = None
        self.heartbeat: Heartbeat | None = None
        self.successor: ProcessSpec | None = None
        self.renewed = self.asked = self.finished = self.was_ready = False
        self.vitals = Vitals(0.0, 0.0)
        self._watch: Watch | None = None
        self._started = 0.0

    @property
    def running(self) -> bool:
        """Whether a process exists for it."""
        return self.process is not None

    def start(self, session: Session, log_file: Path | None, now: float) -> None:
        """Start its process; `now` is of the monotonic clock, in seconds."""
        spec = self.spec
        settings = ActorSettings(
            name=spec.name,
            incarnation=self.life.started(now),
            role=spec.kind.broker_role,
            modality=spec.kind.modality,
            directory=str(session.directory),
            slots=str(session.slots),
            log=str(log_file) if log_file else None,
            parent=os.getpid(),
            cores=spec.cores,
            own=msgspec.to_builtins(spec.settings),
        )
        self.heartbeat = None
        self.renewed = self.asked = False
        self._started = now
        self.process = subprocess.Popen(
            python_command("bimodal.workers", spec.kind.entry),
            env=child_environment({ENVIRONMENT_KEY: msgspec.json.encode(settings).decode()}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if log_file else None,
            stderr=subprocess.DEVNULL if log_file else None,
        )
        self._watch = Watch(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is there."""
        self.asked = self.asked or number == signal.SIGTERM
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def look(self) -> None:
        """See how much of the machine it takes."""
        found = self._watch.look() if self._watch is not None and self.running else None
        if found is not None:
            self.vitals = found

    def figures(self, now: float) -> dict[str, float]:
        """What the supervisor knows of it, for its heartbeat."""
        return {
            "cpu_percent": self.vitals.cpu_percent,
            "memory_mb": self.vitals.memory_mb,
            "restarts": float(max(0, self.life.restarts)),
            "up_s": round(now - self._started, 1) if self.running else 0.0,
        }


# The life of one child process, as a pure state machine: when to start it, when it hangs, when to give up.
#
# DESIGN: starting → ready → draining → stopped, or failed. The watchdog is armed at ready. Restarts back off;
# five deaths in a minute, each within ten seconds of ready, and the process is failed. What failed is tried again at a
# slow pace, so that it comes back by itself when its cause goes.


SILENT_S = 5.0
KILL_AFTER_S = 3.0
START_LIMIT_S = 60.0
SOON_S = 10.0
MOST_DEATHS = 5
WITHIN_S = 60.0
FAILED_AGAIN_S = 30.0
LEAVE_WITHIN_S = 10.0

Verdict = Literal["start", "dump", "terminate", "kill", "nothing"]


class Life:
    """States and times of one process; every time is seconds of one monotonic clock.

    Attributes:
        state: as the user sees it.
        incarnation: which life of its name it is.
        restarts: how often it was started again.
        failing: from its failure until it is ready again, through all further tries.
        because: the sentence that explains its last death or its failure.
    """

    def __init__(self, incarnation: int = 0) -> None:
        """`incarnation`: of the last process that had this name, 0 where it is the first."""
        self.state: State = "stopped"
        self.incarnation = incarnation
        self.restarts = -1
        self.failing = False
        self.because: str | None = None
        self._back_off = BackOff(0.5, 30.0)
        self._start_at = 0.0
        self._started = 0.0
        self._ready_at: float | None = None
        self._heard = 0.0
        self._told_at: float | None = None
        self._leave_at: float | None = None
        self._quick_deaths: deque[float] = deque()

    @property
    def leaving(self) -> bool:
        """Whether it was asked to leave in order."""
        return self._leave_at is not None

    def started(self, now: float) -> int:
        """It was started; returns its incarnation."""
        self.incarnation += 1
        self.restarts += 1
        self.state = "starting"
        self._started = self._heard = now
        self._ready_at = self._told_at = self._leave_at = None
        return self.incarnation

    def heard(self, incarnation: int, state: State, because: str | None, now: float) -> bool:
        """A heartbeat. Whether its state is news; heartbeats of older lives are none."""
        if incarnation != self.incarnation or self.state in ("stopped", "failed"):
            return False
        self._heard = now
        if self.leaving:
            return False
        if because is not None or state == "ready":
            self.because = because
        if state == "ready":
            self._is_ready(now)
        # A refusal is settled when the process has exited, not when it says so.
        news = state != self.state and state in ("ready", "draining")
        if news:
            self.state = state
        return news

    def _is_ready(self, now: float) -> None:
        self.failing = False
        if self._ready_at is None:
            self._ready_at = now
        if now - self._ready_at > SOON_S:
            self._back_off.reset()

    def overlook(self, away_s: float, now: float) -> None:
        """The watcher itself was away for so long (stopped, or starved): what it did not hear then was no silence."""
        self._heard = min(now, self._heard + away_s)
        self._started = min(now, self._started + away_s)

    def leave(self, now: float, grace_s: float, because: str | None = None) -> None:
        """It is to leave in order: it gets no more work, is told to end after `grace_s`, and is killed in the end."""
        if self._leave_at is None:
            self._leave_at = now + grace_s
            self._told_at = None
            self.because = because
            self.state = "draining"

    def exited(self, now: float, *, again: bool) -> None:
        """It is gone. `again` says whether it should run: then it is started again later, or has failed."""
        self._leave_at = None
        quick = self._ready_at is None or now - self._ready_at < SOON_S
        if quick:
            self._quick_deaths.append(now)
        while self._quick_deaths and now - self._quick_deaths[0] > WITHIN_S:
            self._quick_deaths.popleft()
        if not again:
            self.state = "stopped"
        elif self.failing or len(self._quick_deaths) >= MOST_DEATHS:
            self.refused(self.because or f"it died {MOST_DEATHS} times within a minute", now)
        else:
            self.state = "stopped"
            self._start_at = now + self._back_off.next()

    def refused(self, because: str, now: float) -> None:
        """It can't work as things are; it is tried again at a slow pace, in case they change."""
        self.state = "failed"
        self.failing = True
        self.because = because
        self._leave_at = None
        self._start_at = now + FAILED_AGAIN_S

    def try_again(self, now: float) -> None:
        """Something has changed that may have been the cause of its failure: do not wait."""
        if self.state == "failed":
            self._start_at = now

    def due(self, now: float) -> Verdict:
        """What must be done with it now. "dump" and "terminate" come once for each hang or leave, before "kill"."""
        if self.state in ("stopped", "failed"):
            return "start" if now >= self._start_at else "nothing"
        if self._leave_at is not None:
            return self._due_leaving(now, self._leave_at)
        silent = now - self._heard > SILENT_S if self._ready_at is not None else now - self._started > START_LIMIT_S
        if not silent:
            self._told_at = None
            return "nothing"
        if self._told_at is None:
            self._told_at = now
            self.because = "it did not answer any more"
            return "dump"
        return "kill" if now - self._told_at > KILL_AFTER_S else "nothing"

    def _due_leaving(self, now: float, leave_at: float) -> Verdict:
        if self._told_at is None and now >= leave_at:
            self._told_at = now
            return "terminate"
        return "kill" if now - leave_at > LEAVE_WITHIN_S else "nothing"
