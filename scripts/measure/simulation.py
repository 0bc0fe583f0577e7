"""The real broker process among simulated captures, workers and fusion: what the broker alone can do, and adds.

Workers that wait instead of computing need no cores, so a small machine can simulate a large one. Real are: the broker,
every message, every connection (one per process), Hello and heartbeat, and a subscriber of the whole event bus. There
are no pixels and slots.
"""

from __future__ import annotations

import os
import resource
import signal
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

from bimodal.bench.figures import BenchError
from bimodal.bench.loops import start, stop
from bimodal.broker.sockets import make_private
from bimodal.child_process import python_command
from bimodal.workers.actor import ENVIRONMENT_KEY, ActorSettings
from scripts.measure.simulated import (
    Crowd,
    Load,
    Seen,
    Share,
    SimulatedCapture,
    SimulatedFusion,
    SimulatedWorker,
    Simulation,
    straight_ms,
)

PATIENCE_S = 60.0
STREAM_S = 0.2
"""Of it for each stream, whose sockets, Hellos and heartbeats all go through one loop."""
SLOWEST_PER_S = 500.0
"""Jobs a second that any broker reaches if nothing else limits it."""

MOST_SIMULATORS = 4
STOP_S = 3.0


def simulate(load: Load, *, cores: int, log: Path | None = None, patience_s: float | None = None) -> Simulation:
    """Play a load once.

    Args:
        cores: of this machine; one for the broker, the others for simulators (at most four).
        log: file for the broker's log and the simulators' standard error.
        patience_s: how long it may take; by default as long as a slow machine may need for this load.

    Raises BenchError if it does not finish.
    """
    with tempfile.TemporaryDirectory(prefix="bimodal-") as scratch:
        directory = Path(scratch) / "s"
        make_private(directory)
        with (
            _broker(directory, log) as broker,
            _simulators(shares(load, directory, cores), log, patience_s) as simulators,
        ):
            for simulator in simulators:
                simulator.expect_ready()
            begun, before = time.monotonic(), _cpu_s(broker)
            for simulator in simulators:
                simulator.send("go")
            first = simulators[0].result()
            broker_s, seconds = _cpu_s(broker) - before, time.monotonic() - begun
            for simulator in simulators[1:]:
                simulator.send("stop")
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
    """Divide a load among simulators; the first also has fusion, and no larger share than the others."""
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
    """Start the broker as the supervisor does."""
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
            python_command(*module),
            what="a simulated load",
            stdout=subprocess.PIPE,
            stderr=errors.fileno(),
            environment=more,
        )


@contextmanager
def _simulators(shares: list[Share], log: Path | None, patience_s: float | None) -> Iterator[list[_Simulator]]:
    simulators: list[_Simulator] = []
    try:
        for share in shares:
            simulators.append(_Simulator(share, log, patience_s))
        yield simulators
    finally:
        for simulator in simulators:
            simulator.end()


class _Simulator:
    """A simulator's process, and the lines exchanged with it."""

    def __init__(self, share: Share, log: Path | None, patience_s: float | None) -> None:
        load = share.load
        self._patience_s = patience_s or (
            PATIENCE_S + STREAM_S * load.streams + load.jobs * load.streams / (load.rate or SLOWEST_PER_S)
        )
        self._process = _start(("scripts.measure.simulation",), log)
        self._too_late = False
        self._timer = threading.Timer(self._patience_s, self._give_up)
        self._timer.start()
        self._say(msgspec.json.encode(share).decode())

    def expect_ready(self) -> None:
        """Wait until the broker has welcomed all of its simulated processes."""
        if self._line() != READY:
            raise BenchError(self._why_not("a simulator did not find the broker"))

    def send(self, word: str) -> None:
        """Send a word: the first starts the load, the second stops it."""
        self._say(word)

    def result(self) -> Played:
        """Read its result, printed at its end."""
        line = self._line()
        if not line:
            raise BenchError(self._why_not("a simulation did not come to its end"))
        return msgspec.json.decode(line, type=Played)

    def end(self) -> None:
        """Stop the process."""
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
    count = process.cpu_times()
    return float(count.user + count.system)


# A simulator's process (`python -m scripts.measure.simulation`): reads its Share from stdin and prints Played.

READY = "ready"
SETTLE_NS = 100_000_000
"""Time from the start word to the first job, so that all simulators have received it."""


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a simulator.

    CPU seconds of the load alone; of the one with fusion also its counts and `straight_ms`.
    """

    cpu_s: float
    seen: Seen | None
    straight_ms: tuple[float, ...] = ()


def main() -> None:
    """Read a Share, play it when told to, print the result."""
    # Ctrl-C ends the bench, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share = msgspec.json.decode(sys.stdin.readline(), type=Share)
    crowd = Crowd(Path(share.directory))
    try:
        print(msgspec.json.encode(play(share, crowd)).decode(), flush=True)
    finally:
        crowd.close()


def play(share: Share, crowd: Crowd) -> Played:
    """Play one share of a load, from the first Hello to the end."""
    load = share.load
    fusion = SimulatedFusion(crowd.line("fusion", "fusion"), load) if share.first else None
    if fusion is not None:
        crowd.join_supervisor()
        crowd.join_listener()
        crowd.join(fusion)
    for number in share.workers:
        crowd.join(SimulatedWorker(crowd, crowd.line(f"face {number}", "worker"), load))
    captures = []
    for number in share.streams:
        stream = f"stream {number}"
        captures.append(SimulatedCapture(crowd, crowd.line(f"capture {stream}", "capture"), stream, load))
        crowd.join(captures[-1])
    crowd.serve(lambda: crowd.connected)
    straight = straight_ms(crowd, Path(share.directory), load.straight) if share.first and load.straight else ()
    commands = _Commands()
    print(READY, flush=True)
    crowd.serve(lambda: commands.count >= 1)
    before = _own_cpu_s()
    start_ns = time.monotonic_ns() + SETTLE_NS
    for capture in captures:
        capture.open(start_ns)
    crowd.serve(lambda: commands.count >= 2 or (fusion is not None and fusion.done))
    seen = None if fusion is None else fusion.seen()
    return Played(cpu_s=_own_cpu_s() - before, seen=seen, straight_ms=straight)


class _Commands:
    """Counts the lines on stdin: the first starts the load, the second, or the end of stdin, stops it."""

    def __init__(self) -> None:
        self.count = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for _ in sys.stdin:
            self.count += 1
        self.count = 2


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
