"""The broker among up to 128 simulated workers and 64 simulated streams: jobs a second, and added latency."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from bimodal.bench.figures import BenchError, Curve, Figure, Outcome, figure
from bimodal.bench.plan import Plan
from bimodal.broker.events import Emotion
from bimodal.broker.messages import Delivery, Face, FaceResult, LaneMessage, StreamOpened, decode, seal
from bimodal.supervisor.processes import Wanted, processes
from bimodal.workers.fusion.actor import load
from bimodal.workers.fusion.dynamic import DynamicModel
from bimodal.workers.fusion.streams import Fusion
from bimodal.workers.settings import FusionActorSettings
from scripts.measure.simulated import FACES, Load, Simulation
from scripts.measure.simulation import simulate

RATE, WORKERS, STREAMS = 2_000.0, 64, 64
MOST_ADDED_MS = 1.0
INFERENCE_S = 0.016
"""About the time of detection, mesh and ResNet-50 in INT8 together."""

BUSY = 0.5
"""For latency, workers are busy half of the time, so that one is always free."""

MANY_WORKERS, MANY_STREAMS = (1, 4, 16, 64, 128), (1, 8, 64)
FEW_WORKERS, FEW_STREAMS = (1, 4), (1,)
FLOODED_JOBS_PER_S = 4_000
"""About the greatest rate of a broker; determines the number of jobs of a flood of so many seconds."""

STRAIGHT = 200
"""Jobs sent without the broker, to see how much of its latency is ZeroMQ's and the machine's."""

KEPT_UP = 0.95
"""Share of the intended rate that must have been reached for the latency to mean anything."""

SHORT = 0.2
"""Duration of a curve's point, as a share of a measurement."""


FUSION_NOTE = "Fusion is one process for all streams: however many workers there are, it joins no more than alone."


def measure(plan: Plan) -> Outcome:
    """Measure the broker among simulated workers, and fusion alone.

    Raises BenchError if a simulation does not finish.
    """
    alone = broker_alone(plan)
    plan.progress("broker: fusion alone")
    fusion = figure("fusion alone, on one core", [joined_per_s(plan) for _ in range(plan.repeats)], "frames/s")
    notes = (*alone.notes, FUSION_NOTE)
    return msgspec.structs.replace(alone, figures=(*alone.figures, fusion), notes=notes)


def broker_alone(plan: Plan) -> Outcome:
    """Measure latency at 2,000 jobs a second with 64 workers, the greatest rate, and curves of both.

    Raises BenchError if a simulation does not finish.
    """
    steady, flooded = [], []
    for repeat in range(plan.repeats):
        plan.progress(f"the broker with {WORKERS} simulated workers ({repeat + 1} of {plan.repeats})")
        judged = live(WORKERS, STREAMS, RATE, plan.seconds)
        steady.append(_play(plan, msgspec.structs.replace(judged, straight=STRAIGHT)))
        flooded.append(_play(plan, flood(WORKERS, STREAMS, plan.seconds / 2)))
    notes = (_meaning(steady, flooded), *_starved(steady))
    figures = (*_added(steady), *_most(flooded))
    return Outcome(part="broker", figures=figures, curves=_curves(plan), notes=notes)


def live(workers: int, streams: int, rate: float, seconds: float) -> Load:
    """A load of live streams, `rate` jobs a second in total."""
    jobs = max(2, math.ceil(rate * seconds / streams))
    return Load(workers=workers, streams=streams, policy="latest", jobs=jobs, rate=rate, inference_s=INFERENCE_S)


def flood(workers: int, streams: int, seconds: float) -> Load:
    """A load of files, read as fast as instant workers allow, with enough jobs in flight to keep all busy."""
    jobs = max(2, math.ceil(FLOODED_JOBS_PER_S * seconds / streams))
    return Load(workers=workers, streams=streams, policy="every", jobs=jobs, credit=max(2, 2 * workers // streams))


def _play(plan: Plan, load: Load) -> Simulation:
    return simulate(load, cores=plan.cores, log=plan.log)


def _added(played: Sequence[Simulation]) -> list[Figure]:
    where = f"{RATE:,.0f} jobs/s with {WORKERS} workers"
    both = [played_once.seen.both_ms for played_once in played]
    return [
        figure(f"added by the broker at {where}, p50", _points(both, 50), "ms", floor=MOST_ADDED_MS, at_most=True),
        figure(f"added by the broker at {where}, p99", _points(both, 99), "ms"),
        figure("of it, from capture to worker, p50", _points([one.seen.way_in_ms for one in played], 50), "ms"),
        figure("of it, from worker to fusion, p50", _points([one.seen.way_back_ms for one in played], 50), "ms"),
        figure("both ways straight over ZeroMQ, p50", _points([one.straight_ms for one in played], 50), "ms"),
        figure("the broker's share of a core at that", [one.broker_share for one in played], "share"),
    ]


def _most(played: Sequence[Simulation]) -> list[Figure]:
    return [
        figure(f"through the broker at most, {WORKERS} workers", [one.jobs_per_s for one in played], "jobs/s"),
        figure("the broker's CPU a job, at most", [one.broker_ms_per_job for one in played], "ms"),
    ]


def _curves(plan: Plan) -> tuple[Curve, ...]:
    thorough = plan.repeats > 1
    workers = MANY_WORKERS if thorough else FEW_WORKERS
    seconds = plan.seconds * SHORT
    curves = []
    for streams in MANY_STREAMS if thorough else FEW_STREAMS:
        plan.progress(f"the broker with 1 to {workers[-1]} simulated workers, streams: {streams}")
        flooded = [_play(plan, flood(count, streams, seconds)) for count in workers]
        paced = [_play(plan, live(count, streams, pace(count), seconds)) for count in workers]
        name = f"{streams} streams" if streams > 1 else "1 stream"
        per_s = [(one.load.workers, one.jobs_per_s) for one in flooded]
        added = [(one.load.workers, statistics.median(one.seen.both_ms)) for one in paced if one.seen.both_ms]
        curves += [
            _curve(name, per_s, "jobs/s through the broker"),
            _curve(name, added, "ms added by the broker, p50"),
        ]
    return tuple(curves)


def _curve(name: str, points: Sequence[tuple[int, float]], y_label: str) -> Curve:
    return Curve(
        name=name,
        x=tuple(float(workers) for workers, _ in points),
        y=tuple(value for _, value in points),
        x_label="simulated workers",
        y_label=y_label,
    )


def pace(workers: int) -> float:
    """Jobs a second that keep so many workers half busy, at most the rate of the judged figure."""
    return min(RATE, BUSY * workers / INFERENCE_S)


def _meaning(steady: Sequence[Simulation], flooded: Sequence[Simulation]) -> str:
    """The note on what the figures mean for a machine with many cores."""
    share = statistics.median(one.broker_share for one in steady)
    simulators = statistics.median(one.simulators_s / one.seconds for one in steady)
    ms = statistics.median(one.broker_ms_per_job for one in flooded)
    most = 1e3 / ms if ms > 0 else math.inf
    return (
        f"At {RATE:,.0f} jobs/s the broker took {share:.0%} of a core and the simulators, on the same machine, "
        f"{simulators:.0%}. At {ms:.2f} ms of CPU a job one core passes about {most:,.0f} jobs/s: workers of "
        f"{1e3 * INFERENCE_S:.0f} ms a frame on {most * INFERENCE_S:.0f} cores. One listened to the whole event bus."
    )


def _starved(steady: Sequence[Simulation]) -> tuple[str, ...]:
    """A note if the machine could not reach the intended rate."""
    played = statistics.median(one.jobs_per_s for one in steady)
    if played >= KEPT_UP * RATE:
        return ()
    return (f"Only {played:,.0f} of {RATE:,.0f} jobs/s could be played, so the figures at that are not the broker's.",)


def _points(samples: Sequence[Sequence[float]], percent: float) -> list[float]:
    """The percentile of each repeat, leaving out repeats in which no job found a free worker."""
    points = [float(np.percentile(one, percent)) for one in samples if one]
    if not points:
        raise BenchError("no job found a free worker among 64: the machine is too busy to simulate a larger one")
    return points


# Fusion alone: frames a second that its single process can join, without sockets.

STREAM, PERIOD_NS = "bench", 33_333_333
AT_ONCE = 200
ANY_DIMENSIONS = 128


def joined_per_s(plan: Plan) -> float:
    """Frames with one face that fusion turns into events per CPU second, with the config's models and settings."""
    rows = processes(Wanted(plan.config))
    settings = next(row.settings for row in rows if isinstance(row.settings, FusionActorSettings))
    loaded = load(settings)
    fusion = Fusion(loaded.settings.fusion, loaded.models)
    opened = StreamOpened(stream=STREAM, run=1, policy="latest", source=STREAM, has_picture=True, has_sound=False)
    fusion.receive(opened, time.monotonic_ns())
    done, spent_s = 0, 0.0
    until = time.monotonic() + plan.seconds
    while not done or time.monotonic() < until:
        letters = [_letter(_result(done + number, loaded.models.dynamic)) for number in range(AT_ONCE)]
        begun = time.process_time()
        for letter in letters:
            body = decode(letter).body
            assert isinstance(body, Delivery)
            for event in fusion.receive(body.message, time.monotonic_ns()):
                assert isinstance(event, Emotion)
                _letter(event)
        spent_s += time.process_time() - begun
        done += AT_ONCE
    return done / spent_s


def _result(seq: int, dynamic: DynamicModel | None) -> FaceResult:
    faces: tuple[Face, ...] = FACES
    models: dict[str, str] = {}
    if dynamic is not None:
        # The dynamic model accepts only embeddings of its own size and static model.
        embedding = bytes(2 * (dynamic.dimensions or ANY_DIMENSIONS))
        faces = tuple(msgspec.structs.replace(face, embedding=embedding) for face in FACES)
        models["face-static"] = dynamic.static or ""
    return FaceResult(
        number=seq + 1,
        stream=STREAM,
        run=1,
        seq=seq,
        pts_ns=seq * PERIOD_NS,
        grab_ns=time.monotonic_ns(),
        faces=faces,
        queue_ns=0,
        inference_ns=0,
        models=models,
    )


def _letter(message: LaneMessage) -> bytes:
    return seal(Delivery(number=1, message=message), epoch=1, sender="broker", incarnation=1)
