"""`latency`: from the grab of a frame to its event, live at 30 frames a second, and under four times too much work.

Real systems (`bimodal up`) play frames of the demo clip that all show a face, already decoded, in a loop, each stream
a process of its own as a camera would be; the bench listens to the event bus as users' programs do. What the parts of
the time are stands in bench/moments.py. The clip has sound with one and four streams; under overload it has none, since
what is too much is worked out from faces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import psutil

from bimodal.bench.alone import sizes_alone
from bimodal.bench.clip import at_pace
from bimodal.bench.decoded import paced
from bimodal.bench.errors import BenchError
from bimodal.bench.figures import Curve, Figure, Outcome, figure
from bimodal.bench.listening import Heard, listening, streams_for
from bimodal.bench.live import measured
from bimodal.bench.moments import PARTS_OF_TIME, PERCENTILES, Moment, percentile
from bimodal.bench.plan import Plan
from bimodal.config import StreamConfig

FPS = 30
SEVERAL = 4
TOO_MUCH = 4.0
"""So many times the frames that the face workers could look at."""

MOST_STREAMS, MEMORY_A_STREAM = 64, 200 * 2**20
ADDED_P50_MS, ADDED_P99_MS = 3.0, 10.0
MEMORY_FLAT = 1.05
CURVE_SHARES = (*range(0, 100, 5), 99, 99.9)


def measure(plan: Plan) -> Outcome:
    """Measure; raises BenchError where a system does not come to work, or ends by itself."""
    one: list[Heard] = []
    several: list[Heard] = []
    for repeat in range(1, plan.repeats + 1):
        for heard, streams in ((one, 1), (several, SEVERAL)):
            plan.tell(f"latency: {streams} streams at {FPS} frames a second, repeat {repeat} of {plan.repeats}")
            heard += hear(plan, streams, FPS, times=1, sound=True)[0]
    workers = sizes_alone(plan.config, plan.cores).face
    offered = too_much(inference_of(one).value, min(workers, plan.cores))
    overloads: list[Overload] = []
    for name, most in (("overload by streams", _most_streams()), ("overload by one stream", 1)):
        streams, fps = streams_for(offered, FPS, most)
        plan.tell(f"latency: {name}, {streams} × {fps} frames a second")
        heard, begun_mib = hear(plan, streams, fps, times=plan.repeats)
        overloads.append(Overload(name, streams, fps, heard, begun_mib))
    return outcome(one, several, overloads)


class Overload(NamedTuple):
    """How the system bore too much work, offered by so many streams with so many frames a second each; `begun_mib` is
    the memory of all its processes when it was warm."""

    name: str
    streams: int
    fps: int
    heard: list[Heard]
    begun_mib: float


def outcome(one: Sequence[Heard], several: Sequence[Heard], overloads: Sequence[Overload]) -> Outcome:
    """The outcome of what was heard, with at least one window of each."""
    inference = inference_of(one)
    heard = {"one stream": one, f"{SEVERAL} streams": several} | {load.name: load.heard for load in overloads}
    return Outcome(
        part="latency",
        figures=(
            inference,
            *_times("one stream", one, inference),
            *_added(one),
            _failed("one stream", one),
            *_times(f"{SEVERAL} streams", several, inference),
            *_lost(f"{SEVERAL} streams", several),
            _failed(f"{SEVERAL} streams", several),
            *(row for load in overloads for row in _overload(load, inference)),
        ),
        curves=tuple(_curve(name, windows) for name, windows in heard.items()),
        notes=tuple(_note(load) for load in overloads),
    )


def inference_of(one: Sequence[Heard]) -> Figure:
    """The unloaded inference, beside which all else stands."""
    return figure(
        "one stream: inference p50",
        [percentile([moment.inference for moment in window.moments], 50) for window in one],
        "ms",
    )


def hear(plan: Plan, streams: int, fps: int, *, times: int, sound: bool = False) -> tuple[list[Heard], float]:
    """One system with so many streams of the clip, heard so many times; and its memory in MiB when it was warm.

    Raises BenchError where no event came of a frame that was offered meanwhile.
    """
    clip = paced(plan.folder, fps, sound=sound) if fps <= FPS else plan.folder / f"clip-{fps}.mp4"
    if not clip.exists():
        # Raw pictures of seconds at such a pace would fill the disk.
        at_pace(clip, fps, sound=sound)
    sources = {f"stream-{number}": StreamConfig(file=clip, loop=True) for number in range(1, streams + 1)}
    with listening(plan, measured(plan, sources)) as system:
        heard = [system.hear(plan.seconds) for _ in range(times)]
        if any(window.failed and not window.moments for window in heard):
            raise BenchError("the face workers could not look at any frame; see the log")
        if not all(window.moments for window in heard):
            raise BenchError("events came too seldom to measure their latency; give --seconds more")
        return heard, system.memory_mib


def too_much(inference_ms: float, workers: int) -> float:
    """Frames a second that are four times what so many face workers could look at, each with a core for itself."""
    if inference_ms <= 0:
        raise BenchError("the workers say that they take no time at all")
    return TOO_MUCH * workers * 1000 / inference_ms


def _most_streams() -> int:
    """Each is a process of its own, with slots for its frames."""
    return max(1, min(MOST_STREAMS, int(psutil.virtual_memory().available / 2 // MEMORY_A_STREAM)))


# ------------------------------------------------------------------------------------ figures


def _times(name: str, heard: Sequence[Heard], inference: Figure) -> list[Figure]:
    """End to end and its parts, each as p50, p95 and p99, beside the inference of one stream."""
    return [
        figure(
            f"{name}: {part.replace('_', ' ')} p{share}",
            [percentile([getattr(moment, part) for moment in window.moments], share) for window in heard],
            "ms",
            against=inference,
        )
        for part in ("end_to_end", *PARTS_OF_TIME)
        for share in PERCENTILES
        if (name, part, share) != ("one stream", "inference", 50)
    ]


def _added(heard: Sequence[Heard]) -> list[Figure]:
    bounds = {50: ADDED_P50_MS, 99: ADDED_P99_MS}
    return [
        figure(
            f"one stream: added to inference p{share}",
            [percentile([moment.added for moment in window.moments], share) for window in heard],
            "ms",
            floor=bounds.get(share),
            at_most=True,
        )
        for share in PERCENTILES
    ]


def _lost(name: str, heard: Sequence[Heard]) -> list[Figure]:
    reasons = sorted({reason for window in heard for reason in window.drops.reasons})
    return [
        figure(f"{name}: frames dropped", [window.drops.share() for window in heard], "share"),
        *(
            figure(f"{name}: dropped, {reason}", [window.drops.share(reason) for window in heard], "share")
            for reason in reasons
        ),
    ]


def _failed(name: str, heard: Sequence[Heard]) -> Figure:
    """The share of events whose frame could not be looked at: they have no latency, and so must be none."""
    shares = [window.failed / (window.failed + len(window.moments)) for window in heard]
    return figure(f"{name}: frames that failed", shares, "share", floor=0.0, at_most=True)


def _overload(load: Overload, inference: Figure) -> list[Figure]:
    name, heard = load.name, load.heard
    bound = figure(f"{name}: 2 × inference + one frame interval", [2 * inference.value + 1000 / load.fps], "ms")
    before = figure(f"{name}: memory at its beginning", [load.begun_mib], "MiB")
    worst = [percentile([moment.end_to_end for moment in window.moments], 99) for window in heard]
    return [
        bound,
        figure(
            f"{name}: end to end p99 against it",
            worst,
            "ms",
            against=bound,
            # A stream faster than any camera has its decoding in the way, which is no matter of the pipeline.
            floor=1.0 if load.fps <= FPS else None,
            at_most=True,
        ),
        *_times(name, heard, inference),
        *_lost(name, heard),
        _failed(name, heard),
        before,
        figure(
            f"{name}: memory at its end", [heard[-1].memory_mib], "MiB", against=before, floor=MEMORY_FLAT, at_most=True
        ),
    ]


def _curve(name: str, heard: Sequence[Heard]) -> Curve:
    moments: list[Moment] = [moment for window in heard for moment in window.moments]
    values = [moment.end_to_end for moment in moments]
    return Curve(
        name=name,
        x=tuple(float(share) for share in CURVE_SHARES),
        y=tuple(percentile(values, share) for share in CURVE_SHARES),
        x_label="share of all events, %",
        y_label="end to end at most, ms",
    )


def _note(load: Overload) -> str:
    offered = sum(window.announced for window in load.heard) / sum(window.seconds for window in load.heard)
    decoding = "" if load.fps <= FPS else " They are decoded from H.264, which takes most of a core."
    return (
        f"{load.name}: {load.streams} × {load.fps} = {load.streams * load.fps} frames a second are {TOO_MUCH:g} times "
        f"what the face workers can look at, by the inference of one stream; {offered:.0f} a second really came."
    ) + decoding
