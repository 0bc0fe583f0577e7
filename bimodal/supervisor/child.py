"""One row of the table and the process that runs for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import IO, Literal, TypeAlias

import msgspec

from bimodal.broker.control import ProcessReport
from bimodal.broker.messages import Heartbeat, State
from bimodal.broker.paths import shown
from bimodal.child_process import child_environment, python_command
from bimodal.supervisor import forks
from bimodal.supervisor.processes import ProcessSpec
from bimodal.supervisor.session import Session
from bimodal.supervisor.usage import Usage, UsageMonitor, waited_s
from bimodal.workers.actor import ENVIRONMENT_KEY, FROM_STDIN, LOG_LEVEL_KEY, ActorSettings
from bimodal.workers.backoff import BackOff
from bimodal.workers.errors import ConfigError
from bimodal.workers.logs import STDOUT, is_stream

# Measurements of the waiting for a processor that are kept, one a second.
WAITS_KEPT = 120

Phase = Literal["active", "loading", "draining"]
Process: TypeAlias = "subprocess.Popen[bytes] | forks.Fork"


def output_for(log_file: Path | None) -> int | None:
    """Target of stdout and stderr of a process: nowhere until it opens its log file, or the log's own stream."""
    if log_file is None:
        return None
    if not is_stream(log_file):
        return subprocess.DEVNULL
    return 1 if log_file == STDOUT else 2


def _exit_descriptor(pid: int) -> int | None:
    """A descriptor that is readable once the process has ended; None on systems without."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


# A pipe takes so much at once, whether it is read or not.
MOST_TOLD_BYTES = 32 * 1024


def _tell(prepared: Process, data: bytes) -> None:
    """Give a prepared interpreter its settings; raises OSError where it has ended."""
    if isinstance(prepared, forks.Fork):
        prepared.tell(data)
        return
    assert prepared.stdin is not None
    prepared.stdin.write(data)
    prepared.stdin.close()


def _end(prepared: Process) -> None:
    if isinstance(prepared, forks.Fork):
        prepared.discard()
        return
    assert prepared.stdin is not None
    prepared.kill()
    prepared.wait()
    with contextlib.suppress(OSError):
        prepared.stdin.close()


class Child:
    """A row and its process.

    Attributes:
        phase: "active": it is wanted; "loading": it loads and will take over; "draining": it gets no more work, ends.
        successor: the row that takes its name when it has ended, else None.
        restarting: whether it is drained only to be started again.
        stop_requested: whether it was asked to end, so that its exit says nothing about its work.
        exit_descriptor: readable once its process has ended; None where the system has no such thing.
    """

    def __init__(self, spec: ProcessSpec, phase: Phase = "active", incarnation: int = 0) -> None:
        self.spec = spec
        self.phase: Phase = phase
        self.life = Life(incarnation)
        self.process: Process | None = None
        self.exit_descriptor: int | None = None
        self._prepared: Process | None = None
        self.heartbeat: Heartbeat | None = None
        self.successor: ProcessSpec | None = None
        self.restarting = self.stop_requested = self.finished = self.was_ready = False
        self.usage = Usage(0.0, 0.0)
        self._usage_monitor: UsageMonitor | None = None
        self._waits: deque[tuple[float, float]] = deque(maxlen=WAITS_KEPT)
        self._started_at = 0.0

    @property
    def running(self) -> bool:
        """True while a process exists for it."""
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
            log=str(log_file) if log_file is not None and not is_stream(log_file) else None,
            parent=os.getpid(),
            cores=spec.cores,
            log_level=os.environ.get(LOG_LEVEL_KEY),
            own=msgspec.to_builtins(spec.settings),
        )
        self.heartbeat = None
        self.restarting = self.stop_requested = False
        self._started_at = now
        try:
            data = msgspec.json.encode(settings)
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"{shown(error.object)} can't be used, since its name is no UTF-8: rename it, or work in another folder"
            ) from error
        self.process = self._take_prepared(data, log_file)
        if self.process is None:
            # Not in the environment: one variable holds 128 KiB, and a recorder is told of thousands of files.
            with tempfile.TemporaryFile() as told:
                told.write(data)
                told.seek(0)
                self.process = self._popen(told, log_file)
        self.exit_descriptor = _exit_descriptor(self.process.pid)
        self._usage_monitor = UsageMonitor(self.process.pid)
        self._waits.clear()

    def prepare(self, log_file: Path | None) -> None:
        """Start an interpreter that loads what its process needs while that waits for others to be ready."""
        if self._prepared is None:
            self._prepared = self._forked(log_file) or self._popen(subprocess.PIPE, log_file)

    def _forked(self, log_file: Path | None) -> Process | None:
        """A process that was forked for it, and loads what it needs; None where there is none."""
        fork = forks.take(self.spec.kind.entry, output_for(log_file))
        if fork is None:
            return None
        with contextlib.suppress(OSError):
            fork.load(*self.spec.preloaded)
            return fork
        fork.discard()
        return None

    def _popen(self, stdin: IO[bytes] | int, log_file: Path | None) -> subprocess.Popen[bytes]:
        output = output_for(log_file)
        return subprocess.Popen(
            python_command("bimodal.workers", self.spec.kind.entry, *self.spec.preloaded),
            env=child_environment({ENVIRONMENT_KEY: FROM_STDIN}),
            stdin=stdin,
            stdout=output,
            stderr=output,
        )

    def _take_prepared(self, data: bytes, log_file: Path | None) -> Process | None:
        """The interpreter that was prepared, with its settings; None where there is none, or it has ended."""
        prepared, self._prepared = self._prepared or self._forked(log_file), None
        if prepared is None:
            return None
        if len(data) <= MOST_TOLD_BYTES:
            with contextlib.suppress(OSError):
                _tell(prepared, data)
                return prepared
        _end(prepared)
        return None

    def discard(self) -> None:
        """End an interpreter that was prepared and is not needed."""
        if self._prepared is not None:
            _end(self._prepared)
            self._prepared = None

    def forget_exit(self) -> None:
        """Close the descriptor of its exit."""
        if self.exit_descriptor is not None:
            os.close(self.exit_descriptor)
            self.exit_descriptor = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its process, if there is one."""
        self.stop_requested = self.stop_requested or number == signal.SIGTERM
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def measure(self) -> None:
        """Measure its CPU and memory."""
        found = self._usage_monitor.read() if self._usage_monitor is not None and self.running else None
        if found is not None and self.process is not None:
            self.usage = found
            self._waits.append((time.monotonic(), waited_s(self.process.pid)))

    def starved(self, since: float, now: float) -> float:
        """Share of the time since `since` that its threads waited for a processor."""
        if self.process is None or now <= since:
            return 0.0
        before = next((waited for at, waited in reversed(self._waits) if at <= since), None)
        if before is None:
            before = self._waits[0][1] if self._waits else 0.0
        return (waited_s(self.process.pid) - before) / (now - since)

    def figures(self, now: float) -> dict[str, float]:
        """Figures that the supervisor adds to its heartbeat: CPU, memory, restarts, uptime."""
        return {
            "cpu_percent": self.usage.cpu_percent,
            "memory_mb": self.usage.memory_mb,
            "restarts": float(max(0, self.life.restarts)),
            "up_s": round(now - self._started_at, 1) if self.running else 0.0,
        }

    def report(self, now: float) -> ProcessReport:
        """Its part of the reply to `bimodal status`."""
        heartbeat = self.heartbeat
        return ProcessReport(
            name=self.spec.name,
            role=self.spec.role,
            state=self.life.state,
            pid=self.process.pid if self.process is not None else None,
            because=self.life.reason,
            figures=(heartbeat.figures if heartbeat is not None else {}) | self.figures(now),
            models=heartbeat.models if heartbeat is not None else {},
            address=heartbeat.address if heartbeat is not None else None,
        )


# The life of one child process, as a pure state machine: starting → ready → draining → stopped, or failed. The watchdog
# is armed at ready. Restarts back off; five deaths in a minute, each within ten seconds of ready, and the process is
# failed. A failed one is retried at a slow pace, so that it recovers when the cause of its failure is gone.

SILENT_S = 5.0
KILL_AFTER_S = 3.0
# A process that the machine starves is given so many times the time.
STARVED_PATIENCE = 6.0
START_LIMIT_S = 60.0
STABLE_AFTER_S = 10.0
MOST_DEATHS = 5
DEATH_WINDOW_S = 60.0
FAILED_RETRY_S = 30.0
DRAIN_WITHIN_S = 10.0

Verdict = Literal["start", "dump", "terminate", "kill", "nothing"]


class Life:
    """States and times of one process; every time is seconds of one monotonic clock.

    Attributes:
        state: as the user sees it.
        incarnation: number of this start of the name, from 1.
        restarts: number of starts after the first.
        failing: true from its failure until it is ready again, through all further tries.
        overdue: whether this start was not ready in time.
        reason: the sentence that explains its last death or its failure.
    """

    def __init__(self, incarnation: int = 0) -> None:
        """`incarnation`: of the last process that had this name, 0 where it is the first."""
        self.state: State = "stopped"
        self.incarnation = incarnation
        self.restarts = -1
        self.failing = False
        self.overdue = False
        self.reason: str | None = None
        self._back_off = BackOff(0.5, 30.0)
        self._start_at = 0.0
        self._started_at = 0.0
        self._ready_at: float | None = None
        self._heartbeat_at = self._busy_since = self._deadline_s = 0.0
        self._signalled_at: float | None = None
        self._drain_at: float | None = None
        self._quick_deaths: deque[float] = deque()

    @property
    def draining(self) -> bool:
        """True once it is being drained."""
        return self._drain_at is not None

    def started(self, now: float) -> int:
        """Note its start; returns its incarnation."""
        self.incarnation += 1
        self.restarts += 1
        self.state = "starting"
        self._started_at = self._heartbeat_at = now
        self._deadline_s = 0.0
        self.overdue = False
        self._ready_at = self._signalled_at = self._drain_at = None
        return self.incarnation

    def on_heartbeat(
        self,
        incarnation: int,
        state: State,
        reason: str | None,
        now: float,
        *,
        busy_s: float = 0.0,
        deadline_s: float = 0.0,
    ) -> bool:
        """Take a heartbeat; returns True where its state is new. Heartbeats of older incarnations are ignored.

        `busy_s`: how long it has been at its work; after `deadline_s` it counts as hung (0: never).
        """
        if incarnation != self.incarnation or self.state in ("stopped", "failed"):
            return False
        self._heartbeat_at = now
        self._busy_since, self._deadline_s = now - busy_s, deadline_s
        if self.draining:
            return False
        if reason is not None or state == "ready":
            self.reason = reason
        if state == "ready":
            self._is_ready(now)
        # A refusal counts when the process has exited, not when it reports it.
        news = state != self.state and state in ("ready", "draining")
        if news:
            self.state = state
        return news

    def _is_ready(self, now: float) -> None:
        self.failing = False
        if self._ready_at is None:
            self._ready_at = now
        if now - self._ready_at > STABLE_AFTER_S:
            self._back_off.reset()

    def extend_deadlines(self, pause_s: float, now: float) -> None:
        """Extend the deadlines by `pause_s`, for which the supervisor itself was stopped or starved."""
        self._heartbeat_at = min(now, self._heartbeat_at + pause_s)
        self._busy_since = min(now, self._busy_since + pause_s)
        self._started_at = min(now, self._started_at + pause_s)

    def drain(self, now: float, grace_s: float, reason: str | None = None) -> None:
        """Drain it: it gets no more work, SIGTERM after `grace_s`, and SIGKILL 10 s later."""
        if self._drain_at is None:
            self._drain_at = now + grace_s
            self._signalled_at = None
            self.reason = reason
            self.state = "draining"

    def exited(self, now: float, *, restart: bool) -> None:
        """Note its exit. With `restart` it is started again after a back-off, or has failed; else it is stopped."""
        self._drain_at = None
        quick = self._ready_at is None or now - self._ready_at < STABLE_AFTER_S
        if quick:
            self._quick_deaths.append(now)
        while self._quick_deaths and now - self._quick_deaths[0] > DEATH_WINDOW_S:
            self._quick_deaths.popleft()
        if not restart:
            self.state = "stopped"
        elif self.failing or len(self._quick_deaths) >= MOST_DEATHS:
            self.fail(self.reason or f"it died {MOST_DEATHS} times within a minute", now)
        else:
            self.state = "stopped"
            self._start_at = now + self._back_off.next()

    def fail(self, reason: str, now: float) -> None:
        """Mark it as failed; it is retried every 30 s."""
        self.state = "failed"
        self.failing = True
        self.reason = reason
        self._drain_at = None
        self._start_at = now + FAILED_RETRY_S

    def retry(self, now: float) -> None:
        """Retry at once if it has failed: the cause may be gone."""
        if self.state == "failed":
            self._start_at = now

    def late_since(self, now: float) -> float | None:
        """Since when it is late: its last heartbeat, or the begin of work that takes longer than its deadline.

        None while it is in time, or not ready yet.
        """
        if self._ready_at is None or self.state not in ("ready", "draining"):
            return None
        if now - self._heartbeat_at > SILENT_S:
            return self._heartbeat_at
        overdue = self._deadline_s and now - self._busy_since > self._deadline_s
        return self._busy_since if overdue else None

    def _late(self, now: float, starved: bool) -> str | None:
        """Why it counts as hung, with more patience where the machine has `starved` it; else None."""
        patience = STARVED_PATIENCE if starved else 1.0
        if self._ready_at is None:
            if now - self._started_at > START_LIMIT_S * patience:
                self.overdue = True
                return f"it was not ready within {START_LIMIT_S * patience:.0f} s"
            return None
        if now - self._heartbeat_at > SILENT_S * patience:
            return f"it gave no sign of life for {now - self._heartbeat_at:.0f} s"
        if self._deadline_s and now - self._busy_since > self._deadline_s * patience:
            return f"one piece of work took longer than {self._deadline_s * patience:.0f} s"
        return None

    def due(self, now: float, *, starved: bool = False) -> Verdict:
        """The action due now. "dump" and "terminate" come once for each hang or drain, before "kill".

        `starved`: it waits for a processor that the machine does not have, which is no hang.
        """
        if self.state in ("stopped", "failed"):
            return "start" if now >= self._start_at else "nothing"
        if self._drain_at is not None:
            return self._due_draining(now, self._drain_at)
        late = self._late(now, starved)
        if late is None:
            self._signalled_at = None
            return "nothing"
        if self._signalled_at is None:
            self._signalled_at = now
            self.reason = late
            return "dump"
        return "kill" if now - self._signalled_at > KILL_AFTER_S else "nothing"

    def wake_at(self) -> float | None:
        """When `due` may say something else though no message comes: a start, or a signal; None where it won't.

        Silence is noticed at the beats.
        """
        if self.state in ("stopped", "failed"):
            return self._start_at
        if self._drain_at is not None:
            return self._drain_at if self._signalled_at is None else self._drain_at + DRAIN_WITHIN_S
        return self._signalled_at + KILL_AFTER_S if self._signalled_at is not None else None

    def _due_draining(self, now: float, drain_at: float) -> Verdict:
        if self._signalled_at is None and now >= drain_at:
            self._signalled_at = now
            return "terminate"
        return "kill" if now - drain_at > DRAIN_WITHIN_S else "nothing"
