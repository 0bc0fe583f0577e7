"""`latency`: from the grab of a frame to its event, live at 30 frames a second, and under a fourfold overload.

Real systems (`bimodal up`) play decoded frames of the demo clip that all show a face, in a loop, each stream a process
of its own as a camera would be; the bench subscribes to the event bus as users' programs do. FrameLatency splits the
time into its parts. The clip has sound with one and four streams, and none under overload, which is computed for faces.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import psutil

from bimodal.bench.figures import BenchError, Curve, Figure, Outcome, figure
from bimodal.bench.machine import together_mib
from bimodal.bench.media import at_pace, paced
from bimodal.bench.pipeline import sizes_alone
from bimodal.bench.plan import Plan
from bimodal.bench.system import PATIENCE_S, Live, live, measured
from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Body, Job, Status
from bimodal.config import Config
from bimodal.workers.capture.settings import StreamSettings

# Latency of each event, computed from the messages of the event bus.

PARTS_OF_TIME = ("queue", "transport", "inference", "fusion")
PERCENTILES = (50, 95, 99)


class FrameLatency(NamedTuple):
    """One event, in milliseconds. The four parts sum to `end_to_end`.

    Attributes:
        end_to_end: from the grab of the frame until a subscriber of the bus holds its event.
        queue: waiting at the broker because no worker was free.
        transport: from grab to worker (write to the slot, two messages) without `queue`, and from worker to fusion
            (two messages, and waiting there for an earlier frame's result).
        inference: in the worker: detection, landmarks, crops, static model, and the code around them.
        fusion: tracking, fusion and smoothing, and the event's way to the subscriber (two messages).
    """

    end_to_end: float
    queue: float
    transport: float
    inference: float
    fusion: float

    @property
    def added(self) -> float:
        """Milliseconds that the system adds to the inference."""
        return self.end_to_end - self.inference


class LatencyCollector:
    """Joins the announcement of each frame on the bus with its event.

    Attributes:
        found: a FrameLatency for every event whose frame was announced meanwhile and did not fail.
        announced: number of frames announced by capture.
        failed: number of events of failed frames.
    """

    def __init__(self) -> None:
        self.found: list[FrameLatency] = []
        self.announced = 0
        self.failed = 0
        self._grabbed: dict[tuple[str, int], dict[int, int]] = {}

    def take(self, at_ns: int, body: Body) -> None:
        """Process a message received at `at_ns` (monotonic clock of the capturing host)."""
        if isinstance(body, Job) and body.modality == "face":
            self.announced += 1
            self._grabbed.setdefault((body.stream, body.run), {})[body.seq] = body.grab_ns
        elif isinstance(body, Emotion):
            grabbed = self._grabbed.get((body.stream, body.run), {})
            grab_ns = grabbed.pop(body.seq, None)
            # Events come in the order of their frames: older frames without one were dropped.
            for seq in [seq for seq in grabbed if seq < body.seq]:
                del grabbed[seq]
            if body.failed is not None:
                self.failed += 1
            elif grab_ns is not None:
                self.found.append(_latency(body, (at_ns - grab_ns) / 1e6))


def _latency(event: Emotion, end_to_end: float) -> FrameLatency:
    times = event.latency_ms
    back = times.total - times.queue - times.inference
    return FrameLatency(
        end_to_end=end_to_end,
        queue=times.waited,
        transport=times.queue - times.waited + back,
        inference=times.inference,
        fusion=end_to_end - times.total,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` per cent of all values do not exceed. Raises ValueError if there are none."""
    if not values:
        raise ValueError("no values")
    return float(np.percentile(values, share, method="inverted_cdf"))


class Drops(NamedTuple):
    """Frames offered between two readings of the broker's counters, and how many were dropped, by reason."""

    offered: int
    reasons: dict[str, int]

    def share(self, reason: str | None = None) -> float:
        """Share of the offered frames that were dropped for this reason, or for any."""
        dropped = sum(self.reasons.values()) if reason is None else self.reasons.get(reason, 0)
        return dropped / self.offered if self.offered else 0.0


def drops(before: Status, after: Status) -> Drops:
    """Difference of the face counters of two reports of the broker."""
    known = {(stream.stream): stream for stream in before.streams}
    offered = 0
    reasons: dict[str, int] = {}
    for stream in after.streams:
        earlier = known.get(stream.stream)
        offered += stream.offered.get("face", 0) - (earlier.offered.get("face", 0) if earlier else 0)
        earlier_reasons = earlier.reasons.get("face", {}) if earlier else {}
        for reason, count in stream.reasons.get("face", {}).items():
            reasons[reason] = reasons.get(reason, 0) + count - earlier_reasons.get(reason, 0)
    return Drops(offered, reasons)


# Observing a running system: its events, drops and memory.

MOST_WARM_UP_S = 3.0


class Window(NamedTuple):
    """Observations of one stretch of time.

    Attributes:
        latencies: of the events received.
        announced: number of frames offered, of which `failed` failed.
        drops: as the broker counts them, in the same time, give or take a frame.
        seconds: duration.
        memory_mib: of all processes together, at its end.
    """

    latencies: list[FrameLatency]
    announced: int
    failed: int
    drops: Drops
    seconds: float
    memory_mib: float


class Observer:
    """Observes a running system through its event bus.

    Attributes:
        memory_mib: of all processes together when it was warm.
    """

    def __init__(self, system: Live, bus: Subscriber) -> None:
        self._system = system
        self._bus = bus
        self.memory_mib = self._memory()

    def observe(self, seconds: float) -> Window:
        """Observe from one report of the broker (one a second) to the first at least `seconds` later.

        Raises BenchError if the system ends or sends nothing.
        """
        begun: tuple[int, Status] | None = None
        latencies = LatencyCollector()
        for at_ns, _, body in self._system.messages(self._bus, seconds + PATIENCE_S):
            if begun is not None:
                latencies.take(at_ns, body)
            if not isinstance(body, Status):
                continue
            if begun is None:
                begun = at_ns, body
            elif at_ns - begun[0] >= seconds * 1e9:
                return Window(
                    latencies=latencies.found,
                    announced=latencies.announced,
                    failed=latencies.failed,
                    drops=drops(begun[1], body),
                    seconds=(at_ns - begun[0]) / 1e9,
                    memory_mib=self._memory(),
                )
        raise BenchError("the measured system's broker said nothing; see the log")

    def _memory(self) -> float:
        return together_mib(self._system.processes().values())


@contextmanager
def observer(plan: Plan, config: Config) -> Iterator[Observer]:
    """Start a system with this config; yields once each of its streams has had events and it is warm."""
    with live(plan, config) as system, system.bus(["emotion.", "frame.", "status"]) as bus:
        _await_events(system, bus, set(config.streams))
        for _ in system.messages(bus, min(MOST_WARM_UP_S, plan.seconds)):
            pass
        yield Observer(system, bus)


def _await_events(system: Live, bus: Subscriber, streams: set[str]) -> None:
    """Wait for an event of each stream. Raises BenchError if one has none."""
    left = set(streams)
    for _, _, body in system.messages(bus, PATIENCE_S):
        if isinstance(body, Emotion):
            left.discard(body.stream)
        if not left:
            return
    raise BenchError(f"no event came of the streams {', '.join(sorted(left))} within {PATIENCE_S:g} s; see the log")


def streams_for(offered: float, fps: int, most: int) -> tuple[int, int]:
    """(streams, frames a second of each) that offer at least `offered` frames a second.

    At most `most` streams; at `fps` each if these suffice, else faster.
    """
    streams = max(1, min(most, math.ceil(offered / fps)))
    return streams, max(fps, math.ceil(offered / streams))


FPS = 30
SEVERAL = 4
TOO_MUCH = 4.0
"""Overload, as a multiple of the frames that the face workers can process."""

MOST_STREAMS, MEMORY_A_STREAM = 64, 200 * 2**20
ADDED_P50_MS, ADDED_P99_MS = 3.0, 10.0
MEMORY_FLAT = 1.05
CURVE_SHARES = (*range(0, 100, 5), 99, 99.9)


def measure(plan: Plan) -> Outcome:
    """Measure latency, unloaded and overloaded. Raises BenchError if a system does not work or ends by itself."""
    one: list[Window] = []
    several: list[Window] = []
    for repeat in range(1, plan.repeats + 1):
        for windows, streams in ((one, 1), (several, SEVERAL)):
            plan.progress(f"latency: {streams} streams at {FPS} frames a second, repeat {repeat} of {plan.repeats}")
            windows += observe(plan, streams, FPS, times=1, sound=True)[0]
    workers = sizes_alone(plan.config, plan.cores).face
    offered = too_much(inference_of(one).value, min(workers, plan.cores))
    overloads: list[Overload] = []
    for name, most in (("overload by streams", _most_streams()), ("overload by one stream", 1)):
        streams, fps = streams_for(offered, FPS, most)
        plan.progress(f"latency: {name}, {streams} × {fps} frames a second")
        windows, begun_mib = observe(plan, streams, fps, times=plan.repeats)
        overloads.append(Overload(name, streams, fps, windows, begun_mib))
    return outcome(one, several, overloads)


class Overload(NamedTuple):
    """Observations under overload: `streams` streams with `fps` frames a second each.

    `begun_mib` is the memory of all processes when the system was warm.
    """

    name: str
    streams: int
    fps: int
    windows: list[Window]
    begun_mib: float


def outcome(one: Sequence[Window], several: Sequence[Window], overloads: Sequence[Overload]) -> Outcome:
    """Make the outcome of the observations, at least one window of each load."""
    inference = inference_of(one)
    by_name = {"one stream": one, f"{SEVERAL} streams": several} | {load.name: load.windows for load in overloads}
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
        curves=tuple(_curve(name, windows) for name, windows in by_name.items()),
        notes=tuple(_note(load) for load in overloads),
    )


def inference_of(one: Sequence[Window]) -> Figure:
    """The inference without load, with which the other figures are compared."""
    return figure(
        "one stream: inference p50",
        [percentile([latency.inference for latency in window.latencies], 50) for window in one],
        "ms",
    )


def observe(plan: Plan, streams: int, fps: int, *, times: int, sound: bool = False) -> tuple[list[Window], float]:
    """Observe one system with `streams` streams of the clip, `times` times; also its memory in MiB when it was warm.

    Raises BenchError if no frame that was offered meanwhile had an event.
    """
    clip = paced(plan.folder, fps, sound=sound) if fps <= FPS else plan.folder / f"clip-{fps}.mp4"
    if not clip.exists():
        # Raw pictures at this rate would fill the disk.
        at_pace(clip, fps, sound=sound)
    sources = {f"stream-{number}": StreamSettings(file=str(clip), loop=True) for number in range(1, streams + 1)}
    with observer(plan, measured(plan, sources)) as system:
        windows = [system.observe(plan.seconds) for _ in range(times)]
        if any(window.failed and not window.latencies for window in windows):
            raise BenchError("the face workers could not look at any frame; see the log")
        if not all(window.latencies for window in windows):
            raise BenchError("events came too seldom to measure their latency; give --seconds more")
        return windows, system.memory_mib


def too_much(inference_ms: float, workers: int) -> float:
    """Frames a second that overload `workers` face workers, each with a core of its own, fourfold."""
    if inference_ms <= 0:
        raise BenchError("the workers say that they take no time at all")
    return TOO_MUCH * workers * 1000 / inference_ms


def _most_streams() -> int:
    """The greatest number of streams that memory allows: each is a process with slots for its frames."""
    return max(1, min(MOST_STREAMS, int(psutil.virtual_memory().available / 2 // MEMORY_A_STREAM)))


# Figures.
def _times(name: str, windows: Sequence[Window], inference: Figure) -> list[Figure]:
    """End-to-end latency and its parts, each as p50, p95 and p99, against the inference of one stream."""
    return [
        figure(
            f"{name}: {part.replace('_', ' ')} p{share}",
            [percentile([getattr(latency, part) for latency in window.latencies], share) for window in windows],
            "ms",
            against=inference,
        )
        for part in ("end_to_end", *PARTS_OF_TIME)
        for share in PERCENTILES
        if (name, part, share) != ("one stream", "inference", 50)
    ]


def _added(windows: Sequence[Window]) -> list[Figure]:
    bounds = {50: ADDED_P50_MS, 99: ADDED_P99_MS}
    return [
        figure(
            f"one stream: added to inference p{share}",
            [percentile([latency.added for latency in window.latencies], share) for window in windows],
            "ms",
            floor=bounds.get(share),
            at_most=True,
        )
        for share in PERCENTILES
    ]


def _lost(name: str, windows: Sequence[Window]) -> list[Figure]:
    reasons = sorted({reason for window in windows for reason in window.drops.reasons})
    return [
        figure(f"{name}: frames dropped", [window.drops.share() for window in windows], "share"),
        *(
            figure(f"{name}: dropped, {reason}", [window.drops.share(reason) for window in windows], "share")
            for reason in reasons
        ),
    ]


def _failed(name: str, windows: Sequence[Window]) -> Figure:
    """Share of events of failed frames, which have no latency; it must be 0."""
    shares = [window.failed / (window.failed + len(window.latencies)) for window in windows]
    return figure(f"{name}: frames that failed", shares, "share", floor=0.0, at_most=True)


def _overload(load: Overload, inference: Figure) -> list[Figure]:
    name, windows = load.name, load.windows
    bound = figure(f"{name}: 2 × inference + one frame interval", [2 * inference.value + 1000 / load.fps], "ms")
    before = figure(f"{name}: memory at its beginning", [load.begun_mib], "MiB")
    worst = [percentile([latency.end_to_end for latency in window.latencies], 99) for window in windows]
    return [
        bound,
        figure(
            f"{name}: end to end p99 against it",
            worst,
            "ms",
            against=bound,
            # A stream faster than any camera is limited by its decoding, which is not the pipeline's.
            floor=1.0 if load.fps <= FPS else None,
            at_most=True,
        ),
        *_times(name, windows, inference),
        *_lost(name, windows),
        _failed(name, windows),
        before,
        figure(
            f"{name}: memory at its end",
            [windows[-1].memory_mib],
            "MiB",
            against=before,
            floor=MEMORY_FLAT,
            at_most=True,
        ),
    ]


def _curve(name: str, windows: Sequence[Window]) -> Curve:
    latencies: list[FrameLatency] = [latency for window in windows for latency in window.latencies]
    values = [latency.end_to_end for latency in latencies]
    return Curve(
        name=name,
        x=tuple(float(share) for share in CURVE_SHARES),
        y=tuple(percentile(values, share) for share in CURVE_SHARES),
        x_label="share of all events, %",
        y_label="end to end at most, ms",
    )


def _note(load: Overload) -> str:
    offered = sum(window.announced for window in load.windows) / sum(window.seconds for window in load.windows)
    decoding = "" if load.fps <= FPS else " They are decoded from H.264, which takes most of a core."
    return (
        f"{load.name}: {load.streams} × {load.fps} = {load.streams * load.fps} frames a second are {TOO_MUCH:g} times "
        f"what the face workers can look at, by the inference of one stream; {offered:.0f} a second really came."
    ) + decoding
