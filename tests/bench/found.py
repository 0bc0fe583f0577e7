"""What a run might have found, to be drawn."""

from __future__ import annotations

from bimodal.bench.figures import Curve, Outcome, figure
from bimodal.bench.machine import Machine
from bimodal.bench.show import Found

MACHINE = Machine(
    cpu="A Processor",
    flags=("avx2",),
    cores=2,
    memory_mb=4096,
    system="Linux",
    provider="cpu",
    workers=2,
    threads=1,
    models={"face-static": "face-compact@1", "speech": "speech-voice@1"},
    versions={"onnxruntime": "1.31.1"},
)


def outcomes() -> tuple[Outcome, ...]:
    """Two parts: one whose floor holds, one whose floor does not; curves that share their axes, and some that don't."""
    ceiling = figure("bare [ONNX] Runtime", [230.0, 232.5, 228.1], "frames/s")
    whole = figure("the pipeline", [190.0, 195.0, 188.0], "frames/s", against=ceiling, floor=0.8, goal=0.9)
    slow = figure("added latency p50", [7.0], "ms", floor=3.0, at_most=True)
    share = figure("overloaded", [0.25], "share")
    lines = [
        Curve(name="1 stream", x=(1.0, 2.0, 128.0), y=(1.0, 1.9, 2.0), x_label="workers", y_label="speed-up"),
        Curve(name="4 streams", x=(1.0, 2.0, 128.0), y=(1.0, 2.0, 3.0), x_label="workers", y_label="speed-up"),
        Curve(name="broker", x=(100.0, 200.0), y=(0.2, 0.3), x_label="jobs/s", y_label="ms"),
    ]
    return (
        Outcome(part="limit", figures=(ceiling,), seconds=3.0),
        Outcome(part="pipeline", figures=(whole, slow, share), curves=tuple(lines), notes=("A note [b].",)),
    )


def found(**changes: object) -> Found:
    """A whole run."""
    told = {
        "at": "2026-11-22T12:00:00+00:00",
        "machine": MACHINE,
        "repeats": 3,
        "seconds": 2.0,
        "outcomes": outcomes(),
        "failed": {"start": "no session could be started"},
    }
    return Found(**{**told, **changes})  # type: ignore[arg-type]
