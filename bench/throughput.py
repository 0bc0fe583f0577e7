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

from bench.errors import BenchError
from bench.plan import Plan
from broker.mailbox import Subscriber
from broker.sockets import events_endpoint
from workers.config import Config
from workers.rows import capture_settings, limited, processes, source
from workers.supervision.session import Session
from workers.supervision.supervisor import Supervisor

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
    """

    frames_per_s: float
    cpu_ms: dict[str, float]


def frames_per_s(plan: Plan, config: Config, clip: Path, workers: int | None = None) -> float:
    """Events a second, as `throughput`."""
    return throughput(plan, config, clip, workers).frames_per_s


def throughput(plan: Plan, config: Config, clip: Path, workers: int | None = None) -> Throughput:
    """Every frame of a clip that is played again and again, through all processes.

    Args:
        config: models and settings.
        workers: face workers; None takes the config's number.

    Raises BenchError where no event comes.
    """
    with _system(plan, config, clip, workers) as (supervisor, bus):
        begun = time.monotonic()
        while bus.receive(0.0) is None:
            supervisor.step(TURN_S)
            if time.monotonic() - begun > PATIENCE_S:
                raise BenchError(f"no event came within {PATIENCE_S:.0f} s: the log says why")
        _count(supervisor, bus, min(WARM_S, plan.seconds))
        before = _cpu_s(supervisor)
        events, seconds = _count(supervisor, bus, plan.seconds)
        after = _cpu_s(supervisor)
    spent = {name: 1e3 * (after[name] - before[name]) / events for name in before if name in after}
    return Throughput(events / seconds, spent)


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
def _system(plan: Plan, config: Config, clip: Path, workers: int | None) -> Iterator[tuple[Supervisor, Subscriber]]:
    settings = capture_settings(config, STREAM, policy="every", realtime=False, file=clip)
    counts = {} if workers is None else {"face": workers}
    rows = processes(config, record=None, counts=counts)  # type: ignore[arg-type]
    rows.append(source(STREAM, msgspec.structs.replace(settings, loop=True)))
    with contextlib.ExitStack() as begun:
        session = Session(f"bench-{os.getpid()}-{next(_numbers)}")
        begun.callback(session.close)
        bus = Subscriber(events_endpoint(session.directory), ["emotion."])
        begun.callback(bus.close)
        supervisor = Supervisor(session, limited(rows, config.workers.max_memory_mb), plan.log)
        begun.callback(supervisor.stop)
        yield supervisor, bus


def _count(supervisor: Supervisor, bus: Subscriber, seconds: float) -> tuple[int, float]:
    """How many events came, from now on for about so many seconds; and in how many."""
    events, begun = 0, time.monotonic()
    now = begun
    while now - begun < seconds or not events:
        supervisor.step(TURN_S)
        while bus.receive(0.0) is not None:
            events += 1
        now = time.monotonic()
        if now - begun > seconds + PATIENCE_S:
            raise BenchError(f"no event came for {PATIENCE_S:.0f} s: the log says why")
    return events, now - begun
