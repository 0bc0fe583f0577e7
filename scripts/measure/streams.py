"""How many live streams one session carries: the real broker among 10 to 1,000 simulated streams, and fusion alone.

Captures, workers and fusion are simulated (scripts/measure/simulation.py): every connection, Hello, heartbeat and
message is real, pixels and inference are not. Of each number of streams it says what the broker takes of a core while
nothing but presence is sent, and what each frame costs it; from both follows how many streams it carries.
"""

from __future__ import annotations

import math

from bimodal.bench.figures import Curve, Figure, Outcome, figure
from bimodal.bench.plan import Plan
from scripts.measure.broker import joined_per_s
from scripts.measure.simulated import Load, Simulation
from scripts.measure.simulation import simulate

STREAMS = (10, 100, 300, 1_000)
FEW = (10, 1_000)
PER_S = (500.0, 1_500.0)
"""Frames a second of all streams together, low and high: the difference is what frames cost, the rest is presence."""

WORKERS = 32
INFERENCE_S = 0.01
VIDEO_FPS = 30.0
FULL = 0.8
"""Share of a core that the broker may take before queues grow in bursts."""


def measure(plan: Plan) -> Outcome:
    """Measure the broker at each number of streams, and fusion alone.

    Raises BenchError if a simulation does not finish.
    """
    figures: list[Figure] = []
    carried: list[tuple[int, float]] = []
    late: list[tuple[int, float]] = []
    for streams in STREAMS if plan.repeats > 1 else FEW:
        costs, idle, waits, lost = [], [], [], []
        for repeat in range(plan.repeats):
            plan.progress(f"{streams} simulated streams ({repeat + 1} of {plan.repeats})")
            slow, fast = (simulate(load(streams, rate, plan.seconds), cores=plan.cores, log=plan.log) for rate in PER_S)
            cost, rest = shares_of(slow, fast)
            costs.append(1e3 * cost)
            idle.append(rest)
            waits.append(_middle(fast.seen.both_ms))
            lost.append(fast.seen.dropped / max(1, fast.seen.jobs))
        frame, presence = (figure(name, values, unit) for name, values, unit in (
            (f"the broker's CPU a frame, {streams} streams", costs, "ms"),
            (f"its share of a core for presence alone, {streams} streams", idle, "share"),
        ))  # fmt: skip
        figures += [frame, presence]
        figures.append(figure(f"added by the broker at {PER_S[1]:,.0f} frames/s, {streams} streams, p50", waits, "ms"))
        figures.append(figure(f"frames left out at that, {streams} streams", lost, "share"))
        carried.append((streams, streams_carried(frame.value / 1e3, presence.value, streams)))
        late.append((streams, figures[-2].value))
    plan.progress("fusion alone")
    joined = figure("fusion alone, on one core", [joined_per_s(plan) for _ in range(plan.repeats)], "frames/s")
    figures.append(joined)
    figures.append(figure("30-frame streams that one broker carries", [min(most for _, most in carried)], "streams"))
    figures.append(figure("30-frame streams that one fusion carries", [FULL * joined.value / VIDEO_FPS], "streams"))
    curves = (_curve("carried", carried, "streams at 30 frames/s"), _curve("added", late, "ms added, p50"))
    return Outcome(part="streams", figures=tuple(figures), curves=curves, notes=NOTES)


NOTES = (
    "Presence is Hello, heartbeat and status of every process, twice a second; it grows with their number, and a "
    "frame's cost does not. Fusion is one process too: with one face a frame it is the first to be full.",
)


def load(streams: int, rate: float, seconds: float) -> Load:
    """Live streams of `rate` frames a second together, among more workers than they need."""
    jobs = max(2, math.ceil(rate * seconds / streams))
    return Load(workers=WORKERS, streams=streams, policy="latest", jobs=jobs, rate=rate, inference_s=INFERENCE_S)


def shares_of(slow: Simulation, fast: Simulation) -> tuple[float, float]:
    """CPU seconds of the broker a frame, and its share of a core without frames, of runs at two rates."""
    (slow_rate, slow_share), (fast_rate, fast_share) = (
        (one.seen.jobs / one.seconds, one.broker_share) for one in (slow, fast)
    )
    cost = max(0.0, (fast_share - slow_share) / (fast_rate - slow_rate)) if fast_rate > slow_rate else 0.0
    return cost, max(0.0, slow_share - cost * slow_rate)


def streams_carried(cost_s: float, presence: float, streams: int, fps: float = VIDEO_FPS) -> float:
    """Streams at `fps` that fill FULL of a core, where each takes `presence / streams` of it beside its frames."""
    each = cost_s * fps + presence / streams
    return FULL / each if each > 0 else math.inf


def _middle(values: tuple[float, ...]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0


def _curve(name: str, points: list[tuple[int, float]], y_label: str) -> Curve:
    x, y = tuple(float(count) for count, _ in points), tuple(value for _, value in points)
    return Curve(name=name, x=x, y=y, x_label="streams", y_label=y_label)
