"""The whole system, as fast as it goes, on the clip whose decoding is done: frames a second."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import psutil

from bimodal.bench.alone import alone
from bimodal.bench.errors import BenchError
from bimodal.bench.plan import Plan
from bimodal.broker.errors import SlotError
from bimodal.broker.events import Emotion
from bimodal.broker.frames import RingReader
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Status
from bimodal.broker.sockets import events_endpoint
from bimodal.config import Config
from bimodal.supervisor.processes import capture_settings, limited, processes, source
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor

STREAM = "bench"
PATIENCE_S = 60.0
WARM_S = 0.5
TURN_S = 0.1
_numbers = itertools.count(1)


class Throughput(NamedTuple):
    """What the whole system did.

    Attributes:
        frames_per_s: events a second.
        cpu_ms: user and system CPU milliseconds a frame, by process; the supervisor's are those of the bench itself.
        copies: how often a frame's pixels were written into a slot.
        message_bytes: of all messages that came to the broker and left it, a frame; None where they were not asked for.
    """

    frames_per_s: float
    cpu_ms: dict[str, float]
    copies: float
    message_bytes: float | None = None


class _System(NamedTuple):
    supervisor: Supervisor
    bus: Subscriber
    slots: Path


class _Counted(NamedTuple):
    """Events of a stretch of seconds, and the broker's counters in it."""

    events: int
    seconds: float
    told: list[Status]

    @property
    def message_bytes(self) -> float | None:
        """A frame's, between the first counters and the last."""
        if len(self.told) < 2:
            return None
        first, last = self.told[0], self.told[-1]
        passed = (last.received_bytes + last.sent_bytes) - (first.received_bytes + first.sent_bytes)
        return passed / max(1, _done(last) - _done(first))


def frames_per_s(plan: Plan, config: Config, clip: Path, workers: int | None = None) -> float:
    """Events a second, as `throughput`."""
    return throughput(plan, config, clip, workers).frames_per_s


def throughput(
    plan: Plan, config: Config, clip: Path, workers: int | None = None, *, messages: bool = False
) -> Throughput:
    """Every frame of a clip that is played again and again, through all processes.

    Args:
        config: models and settings.
        workers: face workers, of one thread each; None takes what the config says.
        messages: whether their bytes are wanted; it lasts until the broker has told its counters twice.

    Raises BenchError where no event comes.
    """
    with _system(plan, config, clip, workers) as (supervisor, bus, slots):
        begun = time.monotonic()
        while not isinstance((bus.receive(0.0) or (None, None))[1], Emotion):
            supervisor.step(TURN_S)
            if time.monotonic() - begun > PATIENCE_S:
                raise BenchError(f"no event came within {PATIENCE_S:.0f} s: the log says why")
        _count(supervisor, bus, min(WARM_S, plan.seconds))
        before, written_before = _cpu_s(supervisor), _written(slots)
        counted = _count(supervisor, bus, plan.seconds, least_told=2 if messages else 0)
        after, written = _cpu_s(supervisor), _written(slots)
    events = counted.events
    spent = {name: 1e3 * (after[name] - before[name]) / events for name in before if name in after}
    return Throughput(events / counted.seconds, spent, (written - written_before) / events, counted.message_bytes)


def _done(status: Status) -> int:
    return sum(stream.done["face"] for stream in status.streams)


def _written(slots: Path) -> int:
    """How many arrays lie, or lay, in the rings of the session."""
    written = 0
    for path in slots.iterdir():
        with contextlib.suppress(SlotError):
            written += RingReader(path).written
    return written


def _cpu_s(supervisor: Supervisor) -> dict[str, float]:
    """CPU seconds of every process until now."""
    running = {name: child.process.pid for name, child in supervisor.children.items() if child.process is not None}
    found = {}
    for name, pid in {**running, "supervisor": os.getpid()}.items():
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            found[name] = times.user + times.system
    return found


@contextlib.contextmanager
def _system(plan: Plan, config: Config, clip: Path, workers: int | None) -> Iterator[_System]:
    config = alone(config, workers)
    if workers is not None:
        # As many as there are cores: with more threads each they would only fight over them.
        config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"threads": 1})})
    settings = capture_settings(config, STREAM, policy="every", realtime=False, file=clip)
    rows = processes(config, record=None)
    rows.append(source(STREAM, msgspec.structs.replace(settings, loop=True)))
    with contextlib.ExitStack() as begun:
        session = Session(f"bench-{os.getpid()}-{next(_numbers)}")
        begun.callback(session.close)
        bus = Subscriber(events_endpoint(session.directory), ["emotion.", "status"])
        begun.callback(bus.close)
        supervisor = Supervisor(session, limited(rows, config.workers.max_memory_mb), plan.log)
        begun.callback(supervisor.stop)
        yield _System(supervisor, bus, session.slots)


def _count(supervisor: Supervisor, bus: Subscriber, seconds: float, least_told: int = 0) -> _Counted:
    """The events that come from now on for about so many seconds; so many of the broker's counters at least."""
    events, begun = 0, time.monotonic()
    told: list[Status] = []
    now = begun
    while now - begun < seconds or not events or len(told) < least_told:
        supervisor.step(TURN_S)
        while (found := bus.receive(0.0)) is not None:
            if isinstance(found[1], Status):
                told.append(found[1])
            else:
                events += 1
        now = time.monotonic()
        if now - begun > seconds + PATIENCE_S:
            raise BenchError(f"no event came for {PATIENCE_S:.0f} s: the log says why")
    return _Counted(events, now - begun, told)
