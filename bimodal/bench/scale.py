"""More workers: what they gain on this machine, and what the broker would see on a far larger one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bimodal.bench.broker_alone import broker_alone
from bimodal.bench.decoded import decoded
from bimodal.bench.figures import Curve, Figure, Outcome, figure
from bimodal.bench.fusion_alone import joined_per_s
from bimodal.bench.pipeline import deaf
from bimodal.bench.plan import Plan
from bimodal.bench.resnet import resnet_artifacts
from bimodal.bench.single_torch import FOLDER, with_static
from bimodal.bench.throughput import frames_per_s
from bimodal.config import Config
from bimodal.models.catalog import resolve

PART = "scale"
SMALL_FLOOR, LARGE_FLOOR = 1.6, 1.85
LARGE_BYTES = 50_000_000
"""A static model this large is ResNet-50 in fp32, or its like: nearly all of a frame's time is arithmetic."""

FUSION_NOTE = "Fusion is one process for all streams: however many workers there are, it joins no more than alone."

Run = Callable[[Config, int], float]
"""The whole system with these models and so many face workers: frames a second."""


def measure(plan: Plan) -> Outcome:
    """Face workers from one to all cores, and the broker among simulated ones.

    Raises BenchError where the system or a simulation does not come to its end.
    """
    fp32 = None
    if plan.resnet:
        # First: what can't be made must cost no figures that are done.
        plan.tell(f"{PART}: making ResNet-50")
        fp32, _ = resnet_artifacts(plan.folder / FOLDER)
    clip = decoded(plan.folder).silent

    def run(config: Config, workers: int) -> float:
        return frames_per_s(plan, config, clip, workers)

    figures, curve = speed_up(plan, deaf(plan.config), run)
    curves = [curve]
    if fp32 is not None:
        more, curve = speed_up(plan, deaf(with_static(plan.config, fp32)), run, "ResNet-50 fp32: ")
        figures += more
        curves.append(curve)
    alone = broker_alone(plan)
    plan.tell(f"{PART}: fusion alone")
    fusion = figure("fusion alone, on one core", [joined_per_s(plan) for _ in range(plan.repeats)], "frames/s")
    return Outcome(
        part=PART,
        figures=(*figures, *alone.figures, fusion),
        curves=(*curves, *alone.curves),
        notes=(*alone.notes, FUSION_NOTE),
    )


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
