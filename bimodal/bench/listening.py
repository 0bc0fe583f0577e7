"""Listens to a live system for a while: when each event came, what was dropped, how much memory it all takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bimodal.bench.errors import BenchError
from bimodal.bench.live import PATIENCE_S, Live, live
from bimodal.bench.memory import together_mib
from bimodal.bench.moments import Drops, Moment, Moments, drops
from bimodal.bench.plan import Plan
from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Status
from bimodal.config import Config

MOST_WARM_UP_S = 3.0


class Heard(NamedTuple):
    """One window of time.

    Attributes:
        moments: of the events that came.
        announced: frames that were offered, of which `failed` could not be looked at.
        drops: as the broker counts, in the same window, give or take a frame.
        seconds: how long it was.
        memory_mib: of all processes together, at its end.
    """

    moments: list[Moment]
    announced: int
    failed: int
    drops: Drops
    seconds: float
    memory_mib: float


class Listening:
    """A live system that works, heard from its bus.

    Attributes:
        memory_mib: of all processes together when it was warm.
    """

    def __init__(self, system: Live, bus: Subscriber) -> None:
        self._system = system
        self._bus = bus
        self.memory_mib = self._memory()

    def hear(self, seconds: float) -> Heard:
        """From one report of the broker, of which there is one a second, to the first that comes `seconds` later.

        Raises BenchError where the system ends, or says nothing.
        """
        begun: tuple[int, Status] | None = None
        moments = Moments()
        for at_ns, _, body in self._system.messages(self._bus, seconds + PATIENCE_S):
            if begun is not None:
                moments.take(at_ns, body)
            if not isinstance(body, Status):
                continue
            if begun is None:
                begun = at_ns, body
            elif at_ns - begun[0] >= seconds * 1e9:
                return Heard(
                    moments=moments.found,
                    announced=moments.announced,
                    failed=moments.failed,
                    drops=drops(begun[1], body),
                    seconds=(at_ns - begun[0]) / 1e9,
                    memory_mib=self._memory(),
                )
        raise BenchError("the measured system's broker said nothing; see the log")

    def _memory(self) -> float:
        return together_mib(self._system.processes().values())


@contextmanager
def listening(plan: Plan, config: Config) -> Iterator[Listening]:
    """A live system with this config, when each of its streams has brought events and it is warm."""
    with live(plan, config) as system, system.bus(["emotion.", "frame.", "status"]) as bus:
        _await_events(system, bus, set(config.streams))
        for _ in system.messages(bus, min(MOST_WARM_UP_S, plan.seconds)):
            pass
        yield Listening(system, bus)


def _await_events(system: Live, bus: Subscriber, streams: set[str]) -> None:
    """Raises BenchError where one of the streams brings none."""
    left = set(streams)
    for _, _, body in system.messages(bus, PATIENCE_S):
        if isinstance(body, Emotion):
            left.discard(body.stream)
        if not left:
            return
    raise BenchError(f"no event came of the streams {', '.join(sorted(left))} within {PATIENCE_S:g} s; see the log")


def streams_for(offered: float, fps: int, most: int) -> tuple[int, int]:
    """How many streams with how many frames a second each offer so many frames a second: more frames where `most`
    streams of `fps` would not do."""
    streams = max(1, min(most, math.ceil(offered / fps)))
    return streams, max(fps, math.ceil(offered / streams))
