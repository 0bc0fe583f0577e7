"""Reconciles the process table with what runs: start, watch, restart, stop.

One loop, one thread: children die with the thread that started them, so that must be the main one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import setproctitle

import workers
from broker.messages import Gone, Heartbeat
from broker.supervision import SupervisorLine
from workers.actor import DONE, ENVIRONMENT_KEY, REFUSED, ActorSettings
from workers.life import Life
from workers.processes import ProcessSpec
from workers.session import Session

log = logging.getLogger(__name__)

STOP_WITHIN_S = 2.5
BROKER_END_S = 0.4


class Child:
    """One row of the table and the process that runs for it."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.life = Life()
        self.process: subprocess.Popen[bytes] | None = None
        self.finished = False
        self.heartbeat: Heartbeat | None = None
        self.was_ready = False

    @property
    def running(self) -> bool:
        """Whether a process exists for it."""
        return self.process is not None


class Supervisor:
    """Keeps the processes of a session as the table says."""

    def __init__(self, session: Session, specs: Iterable[ProcessSpec], log_file: Path | None) -> None:
        setproctitle.setproctitle("bimodal: supervisor")
        self._session = session
        self._log_file = log_file
        self._line = SupervisorLine(session.directory)
        self.children: dict[str, Child] = {spec.name: Child(spec) for spec in specs}

    # -------------------------------------------------------------------------------- the table

    def add(self, spec: ProcessSpec) -> None:
        """One more row."""
        self.children[spec.name] = Child(spec)

    def remove(self, name: str) -> None:
        """A row less; its process must have ended."""
        del self.children[name]

    # -------------------------------------------------------------------------------- the loop

    def step(self, timeout_s: float) -> None:
        """One turn: read heartbeats for up to `timeout_s`, then bring what runs in line with the table."""
        for heartbeat in self._line.receive(timeout_s):
            self._heard(heartbeat)
        self._reap()
        now = time.monotonic()
        for child in list(self.children.values()):
            self._tend(child, now)

    def _heard(self, heartbeat: Heartbeat) -> None:
        child = self.children.get(heartbeat.name)
        if child is None or heartbeat.incarnation != child.life.incarnation:
            return
        child.heartbeat = heartbeat
        news = child.life.heard(heartbeat.incarnation, heartbeat.state, heartbeat.because, time.monotonic())
        if news and heartbeat.state == "ready":
            child.was_ready = True
            log.info("%s is ready", heartbeat.name)
        self._line.send(heartbeat)

    def _reap(self) -> None:
        exited = [child for child in self.children.values() if child.process and child.process.poll() is not None]
        if exited:
            # A last heartbeat with the reason may still be on its way: it was sent before the exit.
            for heartbeat in self._line.receive(0.05):
                self._heard(heartbeat)
        for child in exited:
            self._buried(child)

    def _buried(self, child: Child) -> None:
        assert child.process is not None
        code, name = child.process.returncode, child.spec.name
        child.process = None
        self._line.send(Gone(name=name, incarnation=child.life.incarnation))
        said = child.heartbeat.because if child.heartbeat and child.heartbeat.state == "failed" else None
        log.info("%s (life %d) exited with %s%s", name, child.life.incarnation, code, f": {said}" if said else "")
        if code == DONE and child.spec.ends:
            child.finished = True
            child.life.exited(time.monotonic(), again=False)
        elif code == REFUSED and said is not None and (child.spec.ends or not child.was_ready):
            child.life.refused(said)
        else:
            child.life.because = said or child.life.because or _how_it_died(code)
            child.life.exited(time.monotonic(), again=True)
        self._tell_end(child)

    def _tell_end(self, child: Child) -> None:
        self._line.send(
            Heartbeat(
                name=child.spec.name,
                incarnation=child.life.incarnation,
                state=child.life.state,
                pid=0,
                because=child.life.because,
            )
        )

    def _tend(self, child: Child, now: float) -> None:
        if child.finished:
            return
        verdict = child.life.due(now)
        if verdict == "start" and not child.running and self._served(child.spec):
            self._start(child)
        elif verdict == "dump" and child.process is not None:
            log.warning("%s does not answer: its stacks follow, then it is stopped", child.spec.name)
            _signal(child.process, signal.SIGUSR1)
            _signal(child.process, signal.SIGTERM)
        elif verdict == "kill" and child.process is not None:
            _signal(child.process, signal.SIGKILL)

    def _served(self, spec: ProcessSpec) -> bool:
        """Whether everything that this process needs is ready."""
        states: dict[str, set[str]] = {}
        for child in self.children.values():
            if child.spec.role in spec.needs:
                states.setdefault(child.spec.role, set()).add(child.life.state)
        return all("ready" in found for found in states.values())

    def _start(self, child: Child) -> None:
        spec = child.spec
        incarnation = child.life.started(time.monotonic())
        settings = ActorSettings(
            name=spec.name,
            incarnation=incarnation,
            role=spec.actor_role,
            modality=spec.modality,
            directory=str(self._session.directory),
            slots=str(self._session.slots),
            log=str(self._log_file) if self._log_file else None,
            parent=os.getpid(),
            own=msgspec.to_builtins(spec.settings),
        )
        environment = dict(os.environ)
        environment[ENVIRONMENT_KEY] = msgspec.json.encode(settings).decode()
        # -P keeps a folder of the user's that is called "models" from being taken for ours.
        environment["PYTHONPATH"] = str(Path(workers.__file__).parents[1])
        child.heartbeat = None
        child.process = subprocess.Popen(
            [sys.executable, "-P", "-m", spec.module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if self._log_file else None,
            stderr=subprocess.DEVNULL if self._log_file else None,
        )

    # -------------------------------------------------------------------------------- the end

    def stop(self) -> None:
        """Stop all processes: TERM, and KILL after 2.5 s; then let go of the sockets."""
        deadline = time.monotonic() + STOP_WITHIN_S
        running = [child for child in self.children.values() if child.process is not None]
        # Sources and recorders first: what is recorded is closed in order; the broker carries it until the end.
        for last in (False, True):
            group = [child for child in running if (child.spec.role == "broker") is last]
            for child in group:
                if child.process is not None:
                    _signal(child.process, signal.SIGTERM)
            # The broker goes when nobody needs it any more; a child that had to be killed must not cost it its end.
            self._await(group, max(deadline, time.monotonic() + BROKER_END_S))
        self._line.close()

    def _await(self, group: list[Child], deadline: float) -> None:
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


def _how_it_died(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code}"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
