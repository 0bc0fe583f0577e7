"""How many live streams one session carries: the real broker among 10 to 1,000 simulated streams, and fusion alone.

Captures, workers and fusion are simulated (scripts/measure/simulation.py): every connection, Hello, heartbeat and
message is real, pixels and inference are not. Of each number of streams it says what the broker takes of a core while
nothing but presence is sent, and what each frame costs it; from both follows how many streams it carries. It ends
within BUDGET_S and what the simulation at hand still takes, with the figures of what was played by then.
"""

from __future__ import annotations

import math
from time import monotonic

from bimodal.bench.figures import BenchError, Curve, Figure, Outcome, figure
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


BUDGET_S = 240.0
"""No simulation begins after so long, and those that were played count: a machine that is slow, or busy, takes longer
for each, since 1,000 connections and their Hellos go through one loop."""
PATIENCE_S = 90.0
"""One simulation is given up after so long."""
PLAYED = 0.05
"""More frames left out than this, and the figures are those of a machine that could not play the load."""


def measure(plan: Plan) -> Outcome:
    """Measure fusion alone, and the broker at each number of streams, within BUDGET_S and one simulation.

    Raises BenchError if none could be measured.
    """
    plan.progress("fusion alone")
    joined = figure("fusion alone, on one core", [joined_per_s(plan) for _ in range(plan.repeats)], "frames/s")
    measured, notes = _measured(plan)
    figures: list[Figure] = []
    carried: list[tuple[int, float]] = []
    late: list[tuple[int, float]] = []
    for streams, found in measured.items():
        frame, presence, added, left_out = (figure(f"{name}, {streams} streams", [one[at] for one in found], unit)
            for at, (name, unit) in enumerate(FIGURES))  # fmt: skip
        figures += [frame, presence, added, left_out]
        late.append((streams, added.value))
        if left_out.value <= PLAYED:
            carried.append((streams, streams_carried(frame.value / 1e3, presence.value, streams)))
        else:
            notes.append(
                f"{left_out.value:.0%} of the frames of {streams} streams were left out: this machine could not play "
                "them, so these figures are not the broker's."
            )
    figures.append(joined)
    if carried:
        figures.append(
            figure("30-frame streams that one broker carries", [min(most for _, most in carried)], "streams")
        )
    figures.append(figure("30-frame streams that one fusion carries", [FULL * joined.value / VIDEO_FPS], "streams"))
    curves = (_curve("carried", carried, "streams at 30 frames/s"), _curve("added", late, "ms added, p50"))
    return Outcome(part="streams", figures=tuple(figures), curves=curves, notes=(*NOTES, *notes))


FIGURES = (
    ("the broker's CPU a frame", "ms"),
    ("its share of a core for presence alone", "share"),
    (f"added by the broker at {PER_S[1]:,.0f} frames/s, p50", "ms"),
    ("frames left out at that", "share"),
)


def _measured(plan: Plan) -> tuple[dict[int, list[tuple[float, ...]]], list[str]]:
    """The values of FIGURES by number of streams, one tuple a repeat, and notes on what could not be measured.

    All numbers of streams come once before any comes again, so that a budget that ends costs repeats and no row.
    """
    counts = STREAMS if plan.repeats > 1 else FEW
    measured: dict[int, list[tuple[float, ...]]] = {}
    notes: dict[int, str] = {}
    until = monotonic() + BUDGET_S
    for repeat in range(plan.repeats):
        for streams in (count for count in counts if count not in notes):
            if measured and monotonic() > until:
                least = min(len(found) for found in measured.values())
                for count in counts:
                    if count not in measured:
                        notes.setdefault(count, f"{count} streams were not played: {BUDGET_S:.0f} s were over.")
                notes[0] = (
                    f"{BUDGET_S:.0f} s were over: the others were played {least} of {plan.repeats} times or more."
                )
                return measured, [*notes.values()]
            plan.progress(f"{streams} simulated streams ({repeat + 1} of {plan.repeats})")
            try:
                measured.setdefault(streams, []).append(_once(plan, streams))
            except BenchError as error:
                notes[streams] = f"{streams} streams: {error}"
            if not measured.get(streams):
                measured.pop(streams, None)
    if not measured:
        raise BenchError("; ".join(notes.values()))
    return measured, [*notes.values()]


def _once(plan: Plan, streams: int) -> tuple[float, ...]:
    slow, fast = (
        simulate(load(streams, rate, plan.seconds), cores=plan.cores, log=plan.log, patience_s=PATIENCE_S)
        for rate in PER_S
    )
    cost, presence = shares_of(slow, fast)
    return 1e3 * cost, presence, _middle(fast.seen.both_ms), fast.seen.dropped / max(1, fast.seen.jobs)


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
