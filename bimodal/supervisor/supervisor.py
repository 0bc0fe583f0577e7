"""Reconciles the process table with what runs: start, watch, restart, scale, swap, stop.

One loop, one thread: children die with the thread that started them, so that must be the main one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import setproctitle

from bimodal.broker.control import NAME, SupervisorChannel
from bimodal.broker.messages import (
    Gone,
    Heartbeat,
    OffDuty,
    Reconfigured,
    Status,
    StreamStatus,
    StreamWithdrawn,
    Welcome,
)
from bimodal.broker.rings import remove_rings
from bimodal.supervisor.child import Child, Life
from bimodal.supervisor.processes import ProcessSpec
from bimodal.supervisor.reconcile import Reconciler
from bimodal.supervisor.session import Session
from bimodal.supervisor.usage import Watch, cores
from bimodal.workers.actor import BEAT_EVERY_S, DONE, REFUSED

# What is wrong, in sentences: pure functions over what the supervisor knows.


def troubles(lives: Mapping[str, Life], refused: str | None) -> str | None:
    """The one sentence on a system: which processes fail and why, and why an edited config was refused."""
    found = [f"{name} failed: {life.because}" for name, life in lives.items() if life.failing]
    if refused is not None:
        found.append(f"a change was not made: {refused}")
    return "; ".join(found) or None


def over_limit(memory_mb: float, max_memory_mb: int | None) -> str | None:
    """Why a process must be started again, None where it keeps its limit."""
    if max_memory_mb is None or memory_mb <= max_memory_mb:
        return None
    return f"it took {memory_mb:.0f} MiB of memory, more than workers.max_memory_mb = {max_memory_mb}"


def how_it_died(code: int) -> str:
    """The exit code of a process in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code}"


# The end of all processes, in order and in time.


log = logging.getLogger(__name__)

STOP_WITHIN_S = 2.5
BROKER_END_S = 0.4


def stop_all(children: Sequence[Child]) -> None:
    """Stop all processes: TERM, and KILL after 2.5 s."""
    deadline = time.monotonic() + STOP_WITHIN_S
    running = [child for child in children if child.process is not None]
    # Sources and recorders first: what is recorded is closed in order; the broker carries it until the end.
    for last in (False, True):
        group = [child for child in running if child.spec.kind.stops_last is last]
        for child in group:
            child.signal(signal.SIGTERM)
        # The broker goes when nobody needs it any more; a child that had to be killed must not cost it its end.
        _await(group, max(deadline, time.monotonic() + BROKER_END_S))


def _await(group: Sequence[Child], deadline: float) -> None:
    for child in group:
        process = child.process
        assert process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
        if process.poll() is None:
            log.warning("%s had to be killed", child.spec.name)
            process.kill()
            process.wait()
        child.process = None


LOOK_EVERY_S = 1.0
AWAY_S = 2.0


class Supervisor:
    """Keeps the processes of a session as the table says.

    Attributes:
        children: the rows and their processes, by name.
        refused: why an edited config was not taken over, else None; whoever reads the config sets it.
        streams: the broker's newest counters.
    """

    def __init__(self, session: Session, specs: Iterable[ProcessSpec], log_file: Path | None) -> None:
        setproctitle.setproctitle(f"bimodal: {NAME}")
        self._session = session
        self._log_file = log_file
        self._line = SupervisorChannel(session.directory)
        self._begun = time.monotonic()
        self._beat_at = self._look_at = 0.0
        self._turned_at = time.monotonic()
        self._itself = Watch(os.getpid())
        self._vitals: dict[str, float] = {}
        self._off_duty: tuple[str, ...] = ()
        self.refused: str | None = None
        self.streams: tuple[StreamStatus, ...] = ()
        self.children: dict[str, Child] = {}
        self._reconciler = Reconciler(self.children, self._line.send)
        for spec in specs:
            self.add(spec)

    # -------------------------------------------------------------------------------- the table

    def add(self, spec: ProcessSpec) -> None:
        """One more row."""
        self._reconciler.add(spec)

    def remove(self, name: str) -> None:
        """A row less; its process must have ended."""
        self._reconciler.forget(name)

    def change(self, wanted: Sequence[ProcessSpec]) -> None:
        """Bring what runs in line with these rows, without stopping what need not stop. It takes its time: `changing`
        says whether it is still on its way, `because` whether it was given up."""
        self._reconciler.begin(wanted, time.monotonic())

    @property
    def changing(self) -> bool:
        """Whether a change is on its way."""
        return self._reconciler.changing

    @property
    def given_up(self) -> str | None:
        """Why the newest change was given up, None where it was carried out or is on its way."""
        return self._reconciler.refused

    def rows(self) -> list[ProcessSpec]:
        """The rows that are wanted as things stand."""
        return self._reconciler.rows()

    def busy_s(self, role: str) -> float:
        """Seconds that the workers of this role have spent on jobs so far, as their heartbeats tell."""
        figures = [
            child.heartbeat.figures for child in self.children.values() if child.spec.role == role and child.heartbeat
        ]
        return sum(found.get("done", 0.0) * found.get("mean_ms", 0.0) for found in figures) / 1000

    @property
    def figures(self) -> dict[str, float]:
        """Its own: what it takes of the machine, and how long it has been up."""
        return {"restarts": 0.0, "up_s": round(self.up_s, 1), **self._vitals}

    @property
    def now(self) -> float:
        """Its clock: monotonic, seconds."""
        return time.monotonic()

    @property
    def not_taken_over(self) -> str | None:
        """Why the newest edit of the config was not taken over: it is wrong, or what it wants can't work."""
        return self.refused or self._reconciler.refused

    @property
    def because(self) -> str | None:
        """The one sentence on what is degraded or was refused, None where all is well."""
        return troubles({name: child.life for name, child in self.children.items()}, self.not_taken_over)

    @property
    def up_s(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._begun

    # -------------------------------------------------------------------------------- the loop

    def step(self, timeout_s: float) -> None:
        """One turn: read what came for up to `timeout_s`, then bring what runs in line with the table."""
        self._receive(timeout_s)
        self._reap()
        now = time.monotonic()
        self._overlook(now)
        self._reconciler.step(now)
        self._tell_off_duty()
        for child in list(self.children.values()):
            self._tend(child, now)
        self._look(now)
        if now >= self._beat_at:
            self._beat_at = now + BEAT_EVERY_S
            self._line.send(self._heartbeat())
            for child in self.children.values():
                if child.life.state == "failed":
                    self._tell_end(child)  # whoever came to the bus since shall know too

    def _overlook(self, now: float) -> None:
        """After it was stopped itself, heartbeats still lie in its sockets: nobody may be blamed for the time away."""
        away_s, self._turned_at = now - self._turned_at, now
        if away_s > AWAY_S:
            log.warning("the supervisor itself was held up for %.1f s", away_s)
            for child in self.children.values():
                child.life.overlook(away_s, now)

    def _receive(self, timeout_s: float) -> None:
        for report in self._line.receive(timeout_s):
            match report:
                case Heartbeat():
                    self._heard(report)
                case Reconfigured():
                    self._reconciler.answered(report)
                case Status():
                    self.streams = report.streams
                case Welcome():
                    self._off_duty = ()  # it is new, and must be told again

    def _heard(self, heartbeat: Heartbeat) -> None:
        child = self.children.get(heartbeat.name)
        if child is None or heartbeat.incarnation != child.life.incarnation:
            return
        child.heartbeat = heartbeat
        now = time.monotonic()
        news = child.life.heard(heartbeat.incarnation, heartbeat.state, heartbeat.because, now)
        if news and heartbeat.state == "ready":
            child.was_ready = True
            log.info("%s is ready", heartbeat.name)
        self._line.send(msgspec.structs.replace(heartbeat, figures=heartbeat.figures | child.figures(now)))

    def _heartbeat(self) -> Heartbeat:
        because, figures = self.because, self.figures
        return Heartbeat(name=NAME, incarnation=1, state="ready", pid=os.getpid(), because=because, figures=figures)

    def _look(self, now: float) -> None:
        """How much of the machine each takes; who takes too much is let go in order, and started again."""
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY_S
        itself = self._itself.look()
        self._vitals = itself._asdict() if itself is not None else {}
        for child in self.children.values():
            child.look()
            because = over_limit(child.vitals.memory_mb, child.spec.max_memory_mb)
            if because is not None and child.post == "on" and child.life.state == "ready":
                log.warning("%s: %s", child.spec.name, because)
                self._reconciler.renew(child, because, now)

    def _tell_off_duty(self) -> None:
        off_duty = self._reconciler.off_duty()
        if off_duty != self._off_duty:
            self._off_duty = off_duty
            self._line.send(OffDuty(workers=off_duty))

    # -------------------------------------------------------------------------------- who has gone

    def _reap(self) -> None:
        exited = [child for child in self.children.values() if child.process and child.process.poll() is not None]
        if exited:
            # A last heartbeat with the reason may still be on its way: it was sent before the exit.
            self._receive(0.05)
        for child in exited:
            self._buried(child)
        for child in [child for child in self.children.values() if child.post == "leaving" and not child.running]:
            self._left(child)

    def _buried(self, child: Child) -> None:
        assert child.process is not None
        code, name, life = child.process.returncode, child.spec.name, child.life
        child.process = None
        self._line.send(Gone(name=name, incarnation=life.incarnation))
        said = child.heartbeat.because if child.heartbeat and child.heartbeat.state == "failed" else None
        log.info("%s (life %d) exited with %s%s", name, life.incarnation, code, f": {said}" if said else "")
        if child.spec.stream is not None:
            remove_rings(self._session.slots, child.spec.stream)
        now = time.monotonic()
        if child.post == "leaving" and not child.renewed:
            life.because = None
            life.exited(now, again=False)
        elif code == DONE and child.spec.ends and not child.asked:
            child.finished = True
            life.exited(now, again=False)
        elif code == REFUSED and said is not None and (child.spec.ends or not child.was_ready):
            life.refused(said, now)
        else:
            life.because = said or life.because or how_it_died(code)
            life.exited(now, again=True)
        if child.renewed:
            child.post, child.renewed = "on", False
        self._tell_end(child)

    def _tell_end(self, child: Child) -> None:
        name, life, figures = child.spec.name, child.life, child.figures(time.monotonic())
        incarnation, state, because = life.incarnation, life.state, life.because
        self._line.send(
            Heartbeat(name=name, incarnation=incarnation, state=state, pid=0, because=because, figures=figures)
        )

    def _left(self, child: Child) -> None:
        """One that was to go has gone: its successor has its name now, or nobody."""
        self._reconciler.forget(child.spec.name)
        if child.successor is not None:
            self._reconciler.add(child.successor)
        else:
            if child.life.state == "failed":
                child.life.because = None
                child.life.state = "stopped"
                self._tell_end(child)
            if child.spec.stream is not None:
                self._line.send(StreamWithdrawn(stream=child.spec.stream))

    # -------------------------------------------------------------------------------- who is to come or go

    def _tend(self, child: Child, now: float) -> None:
        if child.finished:
            return
        match child.life.due(now):
            case "start":
                if not child.running and self._may_start(child):
                    child.start(self._session, self._log_file, now)
            case "dump":
                log.warning("%s does not answer: its stacks follow, then it is stopped", child.spec.name)
                child.signal(signal.SIGUSR1)
                child.signal(signal.SIGTERM)
            case "terminate":
                child.signal(signal.SIGTERM)
            case "kill":
                child.signal(signal.SIGKILL)
            case "nothing":
                pass

    def _may_start(self, child: Child) -> bool:
        """What loads beside those that work must leave them room: not all of it loads at once."""
        if child.post == "beside":
            loading = sum(other.post == "beside" and other.life.state == "starting" for other in self.children.values())
            return loading < max(1, cores() // 2)
        return child.post == "on" and self._served(child.spec)

    def _served(self, spec: ProcessSpec) -> bool:
        """Whether everything that this process needs is ready."""
        states: dict[str, set[str]] = {}
        for child in self.children.values():
            if child.spec.role in spec.kind.needs:
                states.setdefault(child.spec.role, set()).add(child.life.state)
        return all("ready" in found for found in states.values())

    # -------------------------------------------------------------------------------- the end

    def stop(self) -> None:
        """Stop all processes, within three seconds; then let go of the sockets."""
        stop_all(list(self.children.values()))
        self._line.close()
