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

from bimodal.broker.beats import next_beat
from bimodal.broker.control import ProcessReport, StatusReply
from bimodal.broker.mailbox import Watched
from bimodal.broker.messages import (
    Dismissed,
    Gone,
    Heartbeat,
    Modality,
    OffDuty,
    Reconfigured,
    Shadow,
    Shadowed,
    Status,
    StreamStatus,
    StreamWithdrawn,
    Welcome,
)
from bimodal.broker.rings import remove_rings
from bimodal.broker.supervisor_channel import NAME, SupervisorChannel
from bimodal.supervisor.child import Child, Life
from bimodal.supervisor.processes import TABLE, ProcessSpec
from bimodal.supervisor.reconcile import Reconciler
from bimodal.supervisor.session import Session
from bimodal.supervisor.usage import Pressure, PressureMonitor, UsageMonitor, cores
from bimodal.workers.actor import DONE, REFUSED
from bimodal.workers.logs import rotate
from bimodal.workers.progress import NOUNS, Progress

# Sentences on what is wrong: pure functions over the supervisor's state.


def failures(lives: Mapping[str, Life], refused: str | None) -> str | None:
    """Say in one sentence which processes fail and why, and why an edited config was refused; None: neither."""
    found = [f"{name} failed: {life.reason}" for name, life in lives.items() if life.failing]
    if refused is not None:
        found.append(f"a change was not made: {refused}")
    return "; ".join(found) or None


def nobody_works(role: str) -> str:
    """Say that the workers of a role, which run on other machines only, are missing."""
    return (
        f"no {role} worker is connected: workers.{role}.count is 0 here, "
        f"so 'bimodal work {role}' must run on another machine"
    )


def over_limit(memory_mb: float, max_memory_mb: int | None) -> str | None:
    """Why a process must be restarted; None while it keeps its memory limit."""
    if max_memory_mb is None or memory_mb <= max_memory_mb:
        return None
    return f"it took {memory_mb:.0f} MiB of memory, more than workers.max_memory_mb = {max_memory_mb}"


def exit_reason(code: int) -> str:
    """Describe the exit code of a process in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"it was ended by {signal.Signals(-code).name}"
    return f"it exited with code {code}"


log = logging.getLogger(__name__)

STOP_WITHIN_S = 2.5
BROKER_END_S = 0.4


def stop_all(children: Sequence[Child]) -> None:
    """Stop all processes: TERM, and KILL after 2.5 s."""
    deadline = time.monotonic() + STOP_WITHIN_S
    running = [child for child in children if child.process is not None]
    # Sources and recorders first, so that recordings are closed in order; the broker carries messages until the end.
    for last in (False, True):
        group = [child for child in running if child.spec.kind.stops_last is last]
        for child in group:
            child.signal(signal.SIGTERM)
        # The broker keeps time for its own exit, even after another process had to be killed.
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


PAUSE_S = 2.0
# While rows change, or where the exit of a process ends no wait, the loop turns so often.
SOON_S = 0.1
# What an ended process said last is on its way for a moment.
LAST_WORDS_WITHIN_S = 0.05
DISMISSED_SHOWN_S = 600.0
# Roles without which there are no results.
ESSENTIAL = ("broker", "fusion", "face", "audio")
# What the first event needs; of each role, the first process.
NEEDED_FIRST = ("face", *TABLE["capture"].needs)
# So long at most other processes let these load first where cores are few.
STAND_BACK_S = 2.0
# A process that is late has starved where its threads waited for a processor for this share of the time.
STARVED_SHARE = 0.25


def _said_last(child: Child) -> bool:
    """True where its last heartbeat has come."""
    return child.heartbeat is not None and child.heartbeat.state in ("stopped", "failed")


def stands_back(child: Child, children: Sequence[Child], cores: int) -> bool:
    """True where a first start waits: all cores load processes that the first event needs, and this is not one."""
    if child.life.incarnation or child.spec.kind.needs:
        return False
    first: dict[str, Child] = {}
    for other in children:
        first.setdefault(other.spec.role, other)
    needed = [first[role] for role in NEEDED_FIRST if role in first]
    loading = [one for one in needed if not one.life.incarnation or one.life.state == "starting"]
    busy = len(loading) + sum(one.life.state == "starting" for one in children if one not in needed)
    return child not in needed and bool(loading) and busy >= cores


class Supervisor:
    """Run the processes of a session as the table says; its rows are changed through `reconciler`.

    Attributes:
        children: the rows and their processes, by name.
        reconciler: adds, removes and changes rows.
        refused: why an edited config was rejected, else None; set by the reader of the config.
        streams: the broker's newest counters.
    """

    def __init__(self, session: Session, specs: Iterable[ProcessSpec], log_file: Path | None) -> None:
        setproctitle.setproctitle(f"bimodal: {NAME}")
        self._session = session
        self._log_file = log_file
        self._channel = SupervisorChannel(session.directory)
        self._started_at = time.monotonic()
        self._beat_at = self._measure_at = 0.0
        self._stepped_at = time.monotonic()
        self._own_usage = UsageMonitor(os.getpid())
        self._usage: dict[str, float] = {}
        self._pressures, self._pressure = PressureMonitor(), Pressure(0.0, 0.0)
        self._starving: dict[str, str] = {}
        self._dismissed: dict[str, tuple[str, float]] = {}
        self._off_duty: tuple[str, ...] = ()
        self._tried: tuple[str, ...] = ()
        self._progress = Progress()
        self._workers: dict[str, int] = {}
        self.refused: str | None = None
        self.streams: tuple[StreamStatus, ...] = ()
        self.children: dict[str, Child] = {}
        self.reconciler = Reconciler(self.children, self._channel.send)
        for spec in specs:
            self.reconciler.add(spec)

    def shares(self) -> dict[tuple[str, Modality], float]:
        """Share of the jobs of the last seconds that were done, by stream and modality, where it is known."""
        found = {
            (stream.stream, modality): self._progress.share(stream.stream, modality)
            for stream in self.streams
            for modality in NOUNS
        }
        return {key: share for key, share in found.items() if share is not None}

    def busy_s(self, role: str) -> float:
        """Seconds that the workers of this role have spent on jobs so far, from their heartbeats."""
        figures = [
            child.heartbeat.figures for child in self.children.values() if child.spec.role == role and child.heartbeat
        ]
        return sum(found.get("done", 0.0) * found.get("mean_ms", 0.0) for found in figures) / 1000

    def report(self, session: str, configs: Sequence[Path] = ()) -> StatusReply:
        """Reply to `bimodal status`: all processes, the supervisor first, and the streams."""
        known = [str(path) for path in configs if path.is_file()]
        own = self._heartbeat()
        itself = ProcessReport(
            name=NAME, role=NAME, state=own.state, pid=own.pid, because=own.because, figures=own.figures, models={}
        )
        return StatusReply(
            session=session,
            up_s=own.figures["up_s"],
            because=own.because,
            changing=self.reconciler.changing,
            config=", ".join(known) or None,
            refused=self.refused,
            given_up=self.reconciler.given_up,
            processes=(itself, *(child.report(self.now) for child in self.children.values())),
            streams=self.streams,
            tried=self.reconciler.tried,
            workers=self._workers,
        )

    @property
    def slots(self) -> Path:
        """The folder of the session's shared slots."""
        return self._session.slots

    @property
    def now(self) -> float:
        """Monotonic clock, seconds."""
        return time.monotonic()

    @property
    def not_taken_over(self) -> str | None:
        """Why the newest edit of the config is not in force: it is invalid, or its change was given up; else None."""
        return self.refused or self.reconciler.given_up

    @property
    def degraded_reason(self) -> str | None:
        """Failures and refusals in one sentence; None where all is well."""
        found = failures({name: child.life for name, child in self.children.items()}, self.not_taken_over)
        silent = [f"{stream}: {text}" for stream, text in self._progress.troubles(self.now).items()]
        return (
            "; ".join(
                filter(
                    None,
                    (
                        self._session.trouble,
                        found,
                        *silent,
                        *self._unmanned(),
                        *self._starving.values(),
                        *self._let_go(),
                    ),
                )
            )
            or None
        )

    def _unmanned(self) -> list[str]:
        """One sentence for each kind of work that is left to other machines while none has a worker for it."""
        here = {child.spec.kind.modality for child in self.children.values()}
        return [
            nobody_works(role)
            for role, kind in TABLE.items()
            if kind.modality is not None
            and kind.modality not in here
            and not self._workers.get(kind.modality)
            and any(stream.offered.get(kind.modality) for stream in self.streams)
        ]

    @property
    def no_results_reason(self) -> str | None:
        """Why no results at all come out although there are jobs, one sentence; None while they do.

        A starved or overloaded machine is no reason: another start would take more of it.
        """
        if self._starving:
            return None
        for role in ESSENTIAL:
            lives = [child.life for child in self.children.values() if child.spec.role == role]
            if lives and all(life.failing for life in lives):
                return f"{role} failed: {lives[0].reason}"
        return "; ".join(f"{stream}: {text}" for stream, text in self._progress.stopped(self.now).items()) or None

    # -------------------------------------------------------------------------------- the loop

    def watch(self, what: Watched, *, drain: bool = False) -> None:
        """Let `step` wait no longer once this is readable. `drain`: read a descriptor's bytes then."""
        self._channel.watch(what, drain=drain)

    def step(self, timeout_s: float) -> None:
        """Wait up to `timeout_s` for messages, ends of processes, and what is due; then start, restart, signal and
        change processes."""
        self._receive(min(timeout_s, self._wait_s()))
        self._reap()
        now = time.monotonic()
        self._extend_deadlines(now)
        self.reconciler.step(now)
        self._send_off_duty()
        for child in list(self.children.values()):
            self._act(child, now)
        self._measure(now)
        if now >= self._beat_at:
            self._beat_at = next_beat(now)
            self._channel.send_soon(self._heartbeat())
            for child in self.children.values():
                if child.life.state == "failed":
                    self._send_end(child)  # also for subscribers that joined later
        self._channel.flush()

    def _wait_s(self) -> float:
        """Seconds for which nothing is due by itself. What is due already and not done waits for a message."""
        now, children = time.monotonic(), self.children.values()
        if self.reconciler.changing or any(child.running and child.exit_descriptor is None for child in children):
            return SOON_S
        due = [at for at in (child.life.wake_at() for child in children) if at is not None and at > now]
        return max(0.0, min(self._beat_at, self._measure_at, *due) - now)

    def _extend_deadlines(self, now: float) -> None:
        """Extend every deadline by a pause of the supervisor itself: heartbeats wait unread in its sockets."""
        pause_s, self._stepped_at = now - self._stepped_at, now
        if pause_s > PAUSE_S:
            log.warning("the supervisor itself was held up for %.1f s", pause_s)
            for child in self.children.values():
                child.life.extend_deadlines(pause_s, now)

    def _receive(self, timeout_s: float) -> None:
        # While processes start, no message is held back for others.
        settled = all(child.life.state != "starting" for child in self.children.values())
        for report in self._channel.receive(timeout_s, gathers=settled):
            match report:
                case Heartbeat():
                    self._on_heartbeat(report)
                case Reconfigured():
                    self.reconciler.on_reconfigured(report)
                case Status():
                    self.streams, self._workers = report.streams, report.workers
                    self._progress.on_status(report, time.monotonic())
                case Shadowed():
                    self.reconciler.on_shadowed(report)
                case Dismissed():
                    self._on_dismissed(report)
                case Welcome():
                    self._off_duty = self._tried = ()  # a new broker: send it again

    def _on_heartbeat(self, heartbeat: Heartbeat) -> None:
        child = self.children.get(heartbeat.name)
        if child is None or heartbeat.incarnation != child.life.incarnation:
            return
        child.heartbeat = heartbeat
        now = time.monotonic()
        news = child.life.on_heartbeat(
            heartbeat.incarnation,
            heartbeat.state,
            heartbeat.because,
            now,
            busy_s=heartbeat.busy_s,
            deadline_s=heartbeat.deadline_s,
        )
        if news and heartbeat.state == "ready":
            child.was_ready = True
            log.info("%s is ready", heartbeat.name)
        self._channel.send_soon(msgspec.structs.replace(heartbeat, figures=heartbeat.figures | child.figures(now)))

    def _on_dismissed(self, report: Dismissed) -> None:
        """Start a worker of ours again that the broker has let go; remember one of another machine for a while."""
        child = self.children.get(report.name)
        if report.because is None:
            self._dismissed.pop(report.name, None)
        elif child is None:
            sentence = f"{report.name} gets no jobs: {report.because}"
            self._dismissed[report.name] = (sentence, self.now + DISMISSED_SHOWN_S)
        elif child.life.incarnation == report.incarnation and child.phase == "active":
            self.reconciler.restart(child, report.because, self.now)

    def _let_go(self) -> list[str]:
        self._dismissed = {name: found for name, found in self._dismissed.items() if found[1] > self.now}
        return [sentence for sentence, _ in self._dismissed.values()]

    def _heartbeat(self) -> Heartbeat:
        reason = self.degraded_reason
        figures = {"restarts": 0.0, "up_s": round(self.now - self._started_at, 1), **self._usage}
        figures |= {"cpu_pressure_percent": self._pressure.cpu, "cpu_steal_percent": self._pressure.steal}
        return Heartbeat(name=NAME, incarnation=1, state="ready", pid=os.getpid(), because=reason, figures=figures)

    def _measure(self, now: float) -> None:
        """Measure CPU and memory of every process; restart those above their memory limit, in order."""
        if now < self._measure_at:
            return
        self._measure_at = next_beat(now)
        self._session.repair()
        rotate()
        usage = self._own_usage.read()
        self._usage = usage._asdict() if usage is not None else {}
        self._pressure = self._pressures.read()
        for child in self.children.values():
            child.measure()
            reason = over_limit(child.usage.memory_mb, child.spec.max_memory_mb)
            if reason is not None and child.phase == "active" and child.life.state == "ready":
                log.warning("%s: %s", child.spec.name, reason)
                self.reconciler.restart(child, reason, now)

    def _send_off_duty(self) -> None:
        tried = self.reconciler.shadows()
        if tried != self._tried:
            self._tried = tried
            self._channel.send(Shadow(workers=tried))
        off_duty = self.reconciler.off_duty()
        if off_duty != self._off_duty:
            self._off_duty = off_duty
            self._channel.send(OffDuty(workers=off_duty))

    # -------------------------------------------------------------------------------- exits

    def _reap(self) -> None:
        exited = [child for child in self.children.values() if child.process and child.process.poll() is not None]
        for child in exited:
            self._unwatch(child)
        # A last heartbeat with the reason may still be on its way: it was sent before the exit.
        end = time.monotonic() + LAST_WORDS_WITHIN_S
        while not all(map(_said_last, exited)) and (left_s := end - time.monotonic()) > 0:
            self._receive(left_s)
        for child in exited:
            self._on_exit(child)
        for child in [child for child in self.children.values() if child.phase == "draining" and not child.running]:
            self._on_drained(child)

    def _unwatch(self, child: Child) -> None:
        if child.exit_descriptor is not None:
            self._channel.unwatch(child.exit_descriptor)
            child.forget_exit()

    def _on_exit(self, child: Child) -> None:
        assert child.process is not None
        code, name, life = child.process.wait(), child.spec.name, child.life
        child.process = None
        self._starving.pop(name, None)
        self._channel.send(Gone(name=name, incarnation=life.incarnation))
        reported = child.heartbeat.because if child.heartbeat and child.heartbeat.state == "failed" else None
        log.info("%s (life %d) exited with %s%s", name, life.incarnation, code, f": {reported}" if reported else "")
        if child.spec.stream is not None:
            remove_rings(self._session.slots, child.spec.stream)
        now = time.monotonic()
        if child.phase == "draining" and not child.restarting:
            life.reason = None
            life.exited(now, restart=False)
        elif code == DONE and child.spec.ends and not child.stop_requested:
            child.finished = True
            life.exited(now, restart=False)
        elif code == REFUSED and reported is not None and (child.spec.ends or not child.was_ready):
            life.fail(reported, now)
        else:
            life.reason = reported or life.reason or exit_reason(code)
            life.exited(now, restart=True)
        if child.restarting:
            child.phase, child.restarting = "active", False
        self._send_end(child)

    def _send_end(self, child: Child) -> None:
        name, life, figures = child.spec.name, child.life, child.figures(time.monotonic())
        incarnation, state, reason = life.incarnation, life.state, life.reason
        self._channel.send(
            Heartbeat(name=name, incarnation=incarnation, state=state, pid=0, because=reason, figures=figures)
        )

    def _on_drained(self, child: Child) -> None:
        """Remove the row of a process that was drained, and add its successor, if any, under its name."""
        self.reconciler.remove(child.spec.name)
        if child.successor is not None:
            self.reconciler.add(child.successor)
        else:
            if child.life.state == "failed":
                child.life.reason = None
                child.life.state = "stopped"
                self._send_end(child)
            if child.spec.stream is not None:
                self._channel.send(StreamWithdrawn(stream=child.spec.stream))

    # -------------------------------------------------------------------------------- starts and signals

    def _act(self, child: Child, now: float) -> None:
        if child.finished:
            return
        match child.life.due(now, starved=self._starved(child, now)):
            case "start":
                if not child.running and self._may_start(child):
                    child.start(self._session, self._log_file, now)
                    if child.exit_descriptor is not None:
                        self._channel.watch(child.exit_descriptor)
                elif not child.running and child.phase == "active" and child.spec.kind.needs:
                    child.prepare(self._log_file)
            case "dump":
                log.warning(
                    "%s does not answer (%s): its stacks follow, then it is stopped", child.spec.name, child.life.reason
                )
                child.signal(signal.SIGUSR1)
                child.signal(signal.SIGTERM)
            case "terminate":
                child.signal(signal.SIGTERM)
            case "kill":
                child.signal(signal.SIGKILL)
            case "nothing":
                pass

    def _starved(self, child: Child, now: float) -> bool:
        """True where a process is late because the machine has no processor for it; that is told and not punished."""
        since = child.life.late_since(now)
        share = child.starved(since, now) if since is not None else 0.0
        if since is None or share < STARVED_SHARE:
            self._starving.pop(child.spec.name, None)
            return False
        if child.spec.name not in self._starving:
            log.warning("%s is late by %.0f s, because the machine is starved", child.spec.name, now - since)
        self._starving[child.spec.name] = (
            f"the machine is starved: {child.spec.name} waited {min(1.0, share):.0%} of {now - since:.0f} s "
            f"for a processor (pressure {self._pressure.cpu:.0f} %, stolen by the host {self._pressure.steal:.0f} %)"
        )
        return True

    def _may_start(self, child: Child) -> bool:
        """True where it may start now. Workers that load alongside others start a few at a time, to leave cores."""
        if child.phase == "loading":
            loading = sum(
                other.phase == "loading" and other.life.state == "starting" for other in self.children.values()
            )
            return loading < max(1, cores() // 2)
        return child.phase == "active" and self._has_needs(child.spec) and not self._stands_back(child)

    def _stands_back(self, child: Child) -> bool:
        early = self.now - self._started_at < STAND_BACK_S
        return early and stands_back(child, list(self.children.values()), cores())

    def _has_needs(self, spec: ProcessSpec) -> bool:
        """True where a process of every role that this one needs is ready."""
        states: dict[str, set[str]] = {}
        for child in self.children.values():
            if child.spec.role in spec.kind.needs:
                states.setdefault(child.spec.role, set()).add(child.life.state)
        return all("ready" in found for found in states.values())

    # -------------------------------------------------------------------------------- the end

    def stop(self) -> None:
        """Stop all processes within three seconds, then close the sockets."""
        self._session.ending()
        stop_all(list(self.children.values()))
        for child in self.children.values():
            child.discard()
            self._unwatch(child)
        self._channel.close()
