"""Throughput with more face workers on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bimodal.bench.figures import Curve, Figure, Outcome, figure
from bimodal.bench.media import decoded
from bimodal.bench.pipeline import frames_per_s, without_speech
from bimodal.bench.plan import Plan
from bimodal.config import Config
from bimodal.models.catalog import resolve

PART = "scale"
SMALL_FLOOR, LARGE_FLOOR = 1.6, 1.85
LARGE_BYTES = 50_000_000
"""A static model this large (ResNet-50 in fp32) spends nearly all of a frame's time on arithmetic."""

Run = Callable[[Config, int], float]
"""Measures frames a second of the whole system with these models and so many face workers."""


def measure(plan: Plan) -> Outcome:
    """Measure with face workers from one to all cores. Raises BenchError if the system does not finish."""
    clip = decoded(plan.folder).silent

    def run(config: Config, workers: int) -> float:
        return frames_per_s(plan, config, clip, workers)

    figures, curve = speed_up(plan, without_speech(plan.config), run)
    return Outcome(part=PART, figures=tuple(figures), curves=(curve,))


def speed_up(plan: Plan, config: Config, run: Run, what: str = "") -> tuple[list[Figure], Curve]:
    """Measure frames a second with 1, 2, 4 … and as many face workers as cores, in turn; `what` prefixes names."""
    counts = worker_counts(plan.cores)
    found: dict[int, list[float]] = {count: [] for count in counts}
    for repeat in range(plan.repeats):
        for count in counts:
            plan.progress(f"{PART}: face workers: {count} ({repeat + 1} of {plan.repeats})")
            found[count].append(run(config, count))
    one = figure(f"{what}1 face worker", found[1], "frames/s")
    figures = [one]
    for count in counts[1:]:
        floor = floor_of_two(config) if count == 2 else None
        figures.append(figure(f"{what}{count} face workers", found[count], "frames/s", against=one, floor=floor))
    return figures, Curve(
        name=f"{what}face workers, measured",
        x=tuple(map(float, counts)),
        y=tuple(each.value / one.value for each in figures),
        x_label="face workers",
        y_label="speed-up",
    )


def worker_counts(cores: int) -> Sequence[int]:
    """Powers of two below the number of cores, and that number."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power < cores]
    return [*powers, cores] if cores > 1 else [1]


def floor_of_two(config: Config) -> float:
    """The speed-up that two workers must reach: higher if nearly all of a frame's time is arithmetic."""
    size = sum(Path(resolve(name)).stat().st_size for name in config.models.face_static)
    return LARGE_FLOOR if size >= LARGE_BYTES else SMALL_FLOOR
