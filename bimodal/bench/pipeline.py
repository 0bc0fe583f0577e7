"""The whole system on decoded frames: which share of the ceiling it reaches, and where the rest of the time goes."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from bimodal.bench.alone import most_face_workers
from bimodal.bench.decoded import Decoded, decoded
from bimodal.bench.figures import Figure, Outcome, figure
from bimodal.bench.in_turn import in_turn
from bimodal.bench.limit import ceiling
from bimodal.bench.plan import Plan
from bimodal.bench.resnet import resnet_artifacts
from bimodal.bench.single_torch import FOLDER, with_static
from bimodal.bench.throughput import Throughput, throughput
from bimodal.config import Config

PART = "pipeline"
SMALL, LARGE = (0.80, 0.90), (0.90, 0.95)
"""Floor and goal of the share, with the models that ship and with ResNet-50 INT8."""


def measure(plan: Plan) -> Outcome:
    """Frames a second against bare ONNX Runtime on the same cores, in turn; CPU milliseconds a frame by process.

    Raises BenchError where either can't be run.
    """
    int8 = None
    if plan.resnet:
        # First: what can't be made must cost no figures that are done.
        plan.tell(f"{PART}: making ResNet-50")
        _, int8 = resnet_artifacts(plan.folder / FOLDER)
    media = decoded(plan.folder)
    figures = share(plan, deaf(plan.config), media, "", *SMALL)
    if int8 is not None:
        figures += share(plan, deaf(with_static(plan.config, int8)), media, "ResNet-50 INT8: ", *LARGE)
    notes = (
        "Frames have no sound here: what an audio worker takes is not the pipeline's own cost.",
        "Capture, broker and fusion share the cores with the face workers; whatever they take is missing there.",
    )
    return Outcome(part=PART, figures=tuple(figures), notes=notes)


def share(plan: Plan, config: Config, media: Decoded, what: str, floor: float, goal: float) -> list[Figure]:
    """The ceiling, the pipeline against it, and CPU by role; `what` begins the figures' names."""
    bare, whole = f"{what}bare ONNX Runtime", f"{what}the pipeline"
    workers = most_face_workers(config, plan.cores)
    runs: list[Throughput] = []
    bare_cpu_ms: list[float] = []
    with ceiling(plan, config, media, processes=plan.cores) as limit:

        def pipeline() -> float:
            runs.append(throughput(plan, config, media.silent, workers, messages=True))
            return runs[-1].frames_per_s

        def bare_runs() -> float:
            of_cores = limit.run(plan.seconds)
            frames = sum(len(run.latency_ms) for run in of_cores)
            bare_cpu_ms.append(1e3 * sum(run.cpu_s for run in of_cores) / frames)
            return sum(run.frames_per_s for run in of_cores)

        found = in_turn({bare: bare_runs, whole: pipeline}, plan.repeats, plan.tell)
    ceiling_figure = figure(bare, found[bare], "frames/s")
    shares = [mine / limits for mine, limits in zip(found[whole], found[bare], strict=True)]
    bare_cpu = figure(f"{what}CPU a frame, bare", bare_cpu_ms, "ms")
    return [
        ceiling_figure,
        figure(whole, found[whole], "frames/s", against=ceiling_figure),
        figure(f"{what}share of the limit, pair by pair", shares, "share", floor=floor, goal=goal),
        bare_cpu,
        *(
            figure(f"{what}CPU a frame, {role}", values, "ms", against=bare_cpu)
            for role, values in by_role(runs).items()
        ),
        *bytes_copied(runs, media, what),
    ]


def bytes_copied(runs: list[Throughput], media: Decoded, what: str) -> list[Figure]:
    """Kilobytes a frame: its pixels once they are decoded, and all messages about it; against one picture."""
    picture_kb = np.load(media.frames, mmap_mode="r", allow_pickle=False)[0].nbytes / 1e3
    picture = figure(f"{what}a picture", [picture_kb], "kB")
    return [
        picture,
        figure(f"{what}pixels copied a frame", [run.copies * picture_kb for run in runs], "kB", against=picture),
        figure(
            f"{what}messages a frame",
            [run.message_bytes / 1e3 for run in runs if run.message_bytes is not None],
            "kB",
            against=picture,
        ),
    ]


def by_role(runs: list[Throughput]) -> dict[str, list[float]]:
    """CPU milliseconds a frame by role, of each run; face workers together, and all roles together."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        of_run: dict[str, float] = defaultdict(float)
        for name, value in run.cpu_ms.items():
            of_run[name.split(" ")[0]] += value
        for role, value in {**of_run, "all": sum(of_run.values())}.items():
            found[role].append(value)
    return dict(found)


def deaf(config: Config) -> Config:
    """The config without a speech model."""
    return config.model_copy(update={"models": config.models.model_copy(update={"speech": "none"})})
