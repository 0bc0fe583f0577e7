"""What more face workers gain on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bimodal.bench.figures import Curve, Figure, Outcome, figure
from bimodal.bench.media import decoded
from bimodal.bench.pipeline import deaf, frames_per_s
from bimodal.bench.plan import Plan
from bimodal.config import Config
from bimodal.models.catalog import resolve

PART = "scale"
SMALL_FLOOR, LARGE_FLOOR = 1.6, 1.85
LARGE_BYTES = 50_000_000
"""A static model this large is ResNet-50 in fp32, or its like: nearly all of a frame's time is arithmetic."""

Run = Callable[[Config, int], float]
"""The whole system with these models and so many face workers: frames a second."""


def measure(plan: Plan) -> Outcome:
    """Face workers from one to all cores. Raises BenchError where the system does not come to its end."""
    clip = decoded(plan.folder).silent

    def run(config: Config, workers: int) -> float:
        return frames_per_s(plan, config, clip, workers)

    figures, curve = speed_up(plan, deaf(plan.config), run)
    return Outcome(part=PART, figures=tuple(figures), curves=(curve,))


def speed_up(plan: Plan, config: Config, run: Run, what: str = "") -> tuple[list[Figure], Curve]:
    """Frames a second with 1, 2, 4 … and all cores' face workers, in turn, against one worker; `what` begins names."""
    counts = worker_counts(plan.cores)
    found: dict[int, list[float]] = {count: [] for count in counts}
    for repeat in range(plan.repeats):
        for count in counts:
            plan.tell(f"{PART}: face workers: {count} ({repeat + 1} of {plan.repeats})")
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
    """1, 2, 4 … below the number of cores, and that number."""
    powers = [2**power for power in range(cores.bit_length()) if 2**power < cores]
    return [*powers, cores] if cores > 1 else [1]


def floor_of_two(config: Config) -> float:
    """What two workers must gain over one: more where all of a frame is arithmetic."""
    size = sum(Path(resolve(name)).stat().st_size for name in config.models.face_static)
    return LARGE_FLOOR if size >= LARGE_BYTES else SMALL_FLOOR
