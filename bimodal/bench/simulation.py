"""The real broker process among simulated captures, workers and fusion: what the broker alone can do, and adds.

Workers that wait instead of computing need no cores, so a small machine can play a large one. Real are: the broker,
every message, every connection (one for each process), Hello and heartbeat, and one who listens to the whole event bus.
Pixels and their slots are not there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec
import psutil

from bimodal.bench.child import start, stop
from bimodal.bench.errors import BenchError
from bimodal.bench.simulation_load import Load, Share, Simulation
from bimodal.bench.simulation_process import READY, Played
from bimodal.broker.sockets import make_private
from bimodal.workers.actor import ENVIRONMENT_KEY, ActorSettings

PATIENCE_S = 60.0
SLOWEST_PER_S = 500.0
"""Jobs a second that any broker passes where nothing sets the pace."""

MOST_SIMULATORS = 4
STOP_S = 3.0


def simulate(load: Load, *, cores: int, log: Path | None = None) -> Simulation:
    """Play a load once.

    Args:
        cores: of this machine; the broker has one of them, simulators (four at most) the others.
        log: the file that takes the broker's log, and what simulators print to standard error.

    Raises BenchError where it does not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="bimodal-") as scratch:
        directory = Path(scratch) / "s"
        make_private(directory)
        with _broker(directory, log) as broker, _simulators(shares(load, directory, cores), log) as simulators:
            for simulator in simulators:
                simulator.expect_ready()
            begun, before = time.monotonic(), _cpu_s(broker)
            for simulator in simulators:
                simulator.tell("go")
            first = simulators[0].result()
            broker_s, seconds = _cpu_s(broker) - before, time.monotonic() - begun
            for simulator in simulators[1:]:
                simulator.tell("stop")
            cpu_s = first.cpu_s + sum(simulator.result().cpu_s for simulator in simulators[1:])
    if first.seen is None or first.seen.missing or first.seen.twice or first.seen.failed:
        raise BenchError(
            f"the broker lost, doubled or failed jobs of {load.streams} simulated streams: please report it"
        )
    return Simulation(
        load=load,
        seen=first.seen,
        broker_s=broker_s,
        simulators_s=cpu_s,
        seconds=seconds,
        straight_ms=first.straight_ms,
    )


def shares(load: Load, directory: Path, cores: int) -> list[Share]:
    """The load dealt out to simulators; the first has fusion, and no more than the others besides."""
    count = max(1, min(MOST_SIMULATORS, cores - 1, load.workers))
    return [
        Share(
            load=load,
            directory=str(directory),
            workers=tuple(range(1 + number, load.workers + 1, count)),
            streams=tuple(range(1 + number, load.streams + 1, count)),
            first=number == 0,
        )
        for number in range(count)
    ]


@contextmanager
def _broker(directory: Path, log: Path | None) -> Iterator[psutil.Process]:
    """The broker as the supervisor starts it."""
    settings = ActorSettings(
        name="broker",
        incarnation=1,
        role="supervisor",
        directory=str(directory),
        slots=str(directory),
        log=str(log) if log is not None else os.devnull,
        parent=os.getpid(),
    )
    process = _start(("bimodal.workers", "broker:main"), log, {ENVIRONMENT_KEY: msgspec.json.encode(settings).decode()})
    try:
        yield psutil.Process(process.pid)
    finally:
        stop(process, STOP_S)


def _start(module: Sequence[str], log: Path | None, more: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    with (log or Path(os.devnull)).open("ab") as errors:
        return start(
            [sys.executable, "-P", "-m", *module],
            what="a simulated load",
            stdout=subprocess.PIPE,
            stderr=errors.fileno(),
            environment=more,
        )


@contextmanager
def _simulators(shares: list[Share], log: Path | None) -> Iterator[list[_Simulator]]:
    simulators: list[_Simulator] = []
    try:
        for share in shares:
            simulators.append(_Simulator(share, log))
        yield simulators
    finally:
        for simulator in simulators:
            simulator.end()


class _Simulator:
    """A simulator's process, and the lines that go to and fro."""

    def __init__(self, share: Share, log: Path | None) -> None:
        self._patience_s = PATIENCE_S + share.load.jobs * share.load.streams / (share.load.rate or SLOWEST_PER_S)
        self._process = _start(("bimodal.bench.simulation_process",), log)
        self._too_late = False
        self._timer = threading.Timer(self._patience_s, self._give_up)
        self._timer.start()
        self._say(msgspec.json.encode(share).decode())

    def expect_ready(self) -> None:
        """Wait until the broker knows everyone that it plays."""
        if self._line() != READY:
            raise BenchError(self._why_not("a simulator did not find the broker"))

    def tell(self, word: str) -> None:
        """The first word says go, the second stop."""
        self._say(word)

    def result(self) -> Played:
        """What it says at its end."""
        line = self._line()
        if not line:
            raise BenchError(self._why_not("a simulation did not come to its end"))
        return msgspec.json.decode(line, type=Played)

    def end(self) -> None:
        """Stop it."""
        self._timer.cancel()
        stop(self._process, STOP_S)

    def _give_up(self) -> None:
        self._too_late = True
        self._process.kill()

    def _why_not(self, what: str) -> str:
        if self._too_late:
            return f"{what} within {self._patience_s:.0f} s: is the machine busy?"
        return f"{what}, because a simulator ended too early: see the log"

    def _say(self, line: str) -> None:
        pipe: IO[bytes] | None = self._process.stdin
        assert pipe is not None
        try:
            pipe.write(line.encode() + b"\n")
            pipe.flush()
        except BrokenPipeError as error:
            raise BenchError(self._why_not("a simulator could not be told what to do")) from error

    def _line(self) -> str:
        pipe: IO[bytes] | None = self._process.stdout
        assert pipe is not None
        return pipe.readline().decode().strip()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
