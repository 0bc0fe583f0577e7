"""The yardstick of a simulation: a job and its answer straight over ZeroMQ, with nobody in between."""

from __future__ import annotations

import time
from pathlib import Path

import zmq

from bimodal.bench.simulation_actors import FACES, SHAPE
from bimodal.bench.simulation_crowd import Crowd, Line
from bimodal.broker.messages import Body, FaceResult, Job
from bimodal.broker.sockets import bind, connect

PACE_NS = 1_000_000


def straight_ms(crowd: Crowd, directory: Path, count: int) -> tuple[float, ...]:
    """So many jobs from one socket to another, each answered at once: milliseconds of both ways together.

    The sockets, the loop and the messages are those of the simulation.
    """
    endpoint = f"ipc://{directory / 'straight.ipc'}"
    worker = _Worker(Line("worker", bind(crowd.context, zmq.DEALER, endpoint)))
    capture = _Capture(Line("capture", connect(crowd.context, zmq.DEALER, endpoint)), crowd, count)
    for actor in (worker, capture):
        crowd.join(actor)
    crowd.at(time.monotonic_ns(), capture.offer)
    crowd.serve(lambda: len(capture.ways_ms) >= count)
    for actor in (worker, capture):
        crowd.leave(actor)
    return tuple(capture.ways_ms)


class _Worker:
    def __init__(self, line: Line) -> None:
        self.line = line

    def handle(self, body: Body) -> None:
        if not isinstance(body, Job):
            return
        now_ns = time.monotonic_ns()
        self.line.send(
            FaceResult(
                number=1,
                stream=body.stream,
                run=1,
                seq=body.seq,
                pts_ns=body.pts_ns,
                grab_ns=now_ns,
                faces=FACES,
                queue_ns=now_ns - body.grab_ns,
                inference_ns=0,
            )
        )


class _Capture:
    def __init__(self, line: Line, crowd: Crowd, count: int) -> None:
        self.line = line
        self.ways_ms: list[float] = []
        self._crowd = crowd
        self._left = count

    def offer(self) -> None:
        self._left -= 1
        now_ns = time.monotonic_ns()
        self.line.send(
            Job(
                stream="straight",
                run=1,
                modality="face",
                seq=self._left,
                pts_ns=now_ns,
                grab_ns=now_ns,
                ring="simulated",
                slot=0,
                generation=0,
                shape=SHAPE,
            )
        )
        if self._left:
            self._crowd.at(now_ns + PACE_NS, self.offer)

    def handle(self, body: Body) -> None:
        if isinstance(body, FaceResult):
            self.ways_ms.append((body.queue_ns + time.monotonic_ns() - body.grab_ns) / 1e6)
