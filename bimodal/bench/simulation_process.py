"""A simulator's process (`python -m bench.simulation_process`): its Share comes on standard input, Played goes out."""

from __future__ import annotations

import resource
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from bimodal.bench.simulation_actors import SimulatedCapture, SimulatedFusion, SimulatedWorker
from bimodal.bench.simulation_crowd import Crowd
from bimodal.bench.simulation_load import Seen, Share
from bimodal.bench.simulation_straight import straight_ms

READY = "ready"
SETTLE_NS = 100_000_000
"""Between the word to begin and the first job, so that all simulators are there."""


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulator says at its end: CPU seconds of the load alone; and, if it played fusion, what was seen, and how
    long jobs took that went straight."""

    cpu_s: float
    seen: Seen | None
    straight_ms: tuple[float, ...] = ()


def main() -> None:
    """Take everyone's place, say so, play when told to, and say what came of it."""
    # Whoever presses Ctrl-C ends the bench, and that ends this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share = msgspec.json.decode(sys.stdin.readline(), type=Share)
    crowd = Crowd(Path(share.directory))
    try:
        print(msgspec.json.encode(play(share, crowd)).decode(), flush=True)
    finally:
        crowd.close()


def play(share: Share, crowd: Crowd) -> Played:
    """One share of a load, from the first Hello to the end."""
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
    crowd.serve(lambda: crowd.welcomed)
    straight = straight_ms(crowd, Path(share.directory), load.straight) if share.first and load.straight else ()
    told = _Told()
    print(READY, flush=True)
    crowd.serve(lambda: told.times >= 1)
    before = _cpu_s()
    start_ns = time.monotonic_ns() + SETTLE_NS
    for capture in captures:
        capture.open(start_ns)
    crowd.serve(lambda: told.times >= 2 or (fusion is not None and fusion.done))
    seen = None if fusion is None else fusion.seen()
    return Played(cpu_s=_cpu_s() - before, seen=seen, straight_ms=straight)


class _Told:
    """Counts the lines on standard input: the first says go, the second (or the end of it) stop."""

    def __init__(self) -> None:
        self.times = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for _ in sys.stdin:
            self.times += 1
        self.times = 2


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
