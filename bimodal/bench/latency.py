"""`latency`: from the grab of a frame to its event, live at 30 frames a second, and under four times too much work.

Real systems (`bimodal up`) play frames of the demo clip that all show a face, already decoded, in a loop, each stream
a process of its own as a camera would be; the bench listens to the event bus as users' programs do. What the parts of
the time are stands in bimodal/bench/latency.py. The clip has sound with one and four streams; under overload it has
none, since what is too much is worked out from faces."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import psutil

from bimodal.bench.errors import BenchError
from bimodal.bench.figures import Curve, Figure, Outcome, figure
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

# Where the time of each event went, from the messages of the event bus. Pure.


PARTS_OF_TIME = ("queue", "transport", "inference", "fusion")
PERCENTILES = (50, 95, 99)


class Moment(NamedTuple):
    """One event, in milliseconds. The four parts sum to `end_to_end`.

    Attributes:
        end_to_end: from the grab of the frame until a listener of the bus holds its event.
        queue: the job lay at the broker because no worker was free.
        transport: the frame's way from grab to worker (written to its slot, two messages) without `queue`, and its
            result's way from worker to fusion (two messages, and the wait there for an earlier frame's result).
        inference: in the worker: faces found, landmarks, crops, static model, and all around them.
        fusion: followed, fused and smoothed, and the event's way to the listener (two messages).
    """

    end_to_end: float
    queue: float
    transport: float
    inference: float
    fusion: float

    @property
    def added(self) -> float:
        """What the system adds to the inference."""
        return self.end_to_end - self.inference


class Moments:
    """Joins what the bus says of a frame before it is looked at with the event that comes of it.

    Attributes:
        found: a Moment for every event whose frame was announced while we listened, and was looked at.
        announced: frames that capture has offered.
        failed: events of frames that could not be looked at.
    """

    def __init__(self) -> None:
        self.found: list[Moment] = []
        self.announced = 0
        self.failed = 0
        self._grabbed: dict[tuple[str, int], dict[int, int]] = {}

    def take(self, at_ns: int, body: Body) -> None:
        """One message, and when it was there (monotonic clock of the capturing host)."""
        if isinstance(body, Job) and body.modality == "face":
            self.announced += 1
            self._grabbed.setdefault((body.stream, body.run), {})[body.seq] = body.grab_ns
        elif isinstance(body, Emotion):
            grabbed = self._grabbed.get((body.stream, body.run), {})
            grab_ns = grabbed.pop(body.seq, None)
            # Events come in the order of their frames: what is older was dropped.
            for seq in [seq for seq in grabbed if seq < body.seq]:
                del grabbed[seq]
            if body.failed is not None:
                self.failed += 1
            elif grab_ns is not None:
                self.found.append(_moment(body, (at_ns - grab_ns) / 1e6))


def _moment(event: Emotion, end_to_end: float) -> Moment:
    said = event.latency_ms
    back = said.total - said.queue - said.inference
    return Moment(
        end_to_end=end_to_end,
        queue=said.waited,
        transport=said.queue - said.waited + back,
        inference=said.inference,
        fusion=end_to_end - said.total,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` per cent of all do not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("no values")
    return float(np.percentile(values, share, method="inverted_cdf"))


class Drops(NamedTuple):
    """Frames offered between two looks at the counters, and those of them that were dropped, by reason."""

    offered: int
    reasons: dict[str, int]

    def share(self, reason: str | None = None) -> float:
        """Of the frames offered, dropped for this reason, or for any."""
        dropped = sum(self.reasons.values()) if reason is None else self.reasons.get(reason, 0)
        return dropped / self.offered if self.offered else 0.0


def drops(before: Status, after: Status) -> Drops:
    """What the broker counted of faces between two of its reports."""
    known = {(stream.stream): stream for stream in before.streams}
    offered = 0
    reasons: dict[str, int] = {}
    for stream in after.streams:
        earlier = known.get(stream.stream)
        offered += stream.offered.get("face", 0) - (earlier.offered.get("face", 0) if earlier else 0)
        told = earlier.reasons.get("face", {}) if earlier else {}
        for reason, count in stream.reasons.get("face", {}).items():
            reasons[reason] = reasons.get(reason, 0) + count - told.get(reason, 0)
    return Drops(offered, reasons)


# Listens to a live system for a while: when each event came, what was dropped, how much memory it all takes.


MOST_WARM_UP_S = 3.0


class Heard(NamedTuple):
    """One window of time.

    Attributes:
        moments: of the events that came.
        announced: frames that were offered, of which `failed` could not be looked at.
        drops: as the broker counts, in the same window, give or take a frame.
        seconds: how long it was.
        memory_mib: of all processes together, at its end.
    """

    moments: list[Moment]
    announced: int
    failed: int
    drops: Drops
    seconds: float
    memory_mib: float


class Listening:
    """A live system that works, heard from its bus.

    Attributes:
        memory_mib: of all processes together when it was warm.
    """

    def __init__(self, system: Live, bus: Subscriber) -> None:
        self._system = system
        self._bus = bus
        self.memory_mib = self._memory()

    def hear(self, seconds: float) -> Heard:
        """From one report of the broker, of which there is one a second, to the first that comes `seconds` later.

        Raises BenchError where the system ends, or says nothing.
        """
        begun: tuple[int, Status] | None = None
        moments = Moments()
        for at_ns, _, body in self._system.messages(self._bus, seconds + PATIENCE_S):
            if begun is not None:
                moments.take(at_ns, body)
            if not isinstance(body, Status):
                continue
            if begun is None:
                begun = at_ns, body
            elif at_ns - begun[0] >= seconds * 1e9:
                return Heard(
                    moments=moments.found,
                    announced=moments.announced,
                    failed=moments.failed,
                    drops=drops(begun[1], body),
                    seconds=(at_ns - begun[0]) / 1e9,
                    memory_mib=self._memory(),
                )
        raise BenchError("the measured system's broker said nothing; see the log")

    def _memory(self) -> float:
        return together_mib(self._system.processes().values())


@contextmanager
def listening(plan: Plan, config: Config) -> Iterator[Listening]:
    """A live system with this config, when each of its streams has brought events and it is warm."""
    with live(plan, config) as system, system.bus(["emotion.", "frame.", "status"]) as bus:
        _await_events(system, bus, set(config.streams))
        for _ in system.messages(bus, min(MOST_WARM_UP_S, plan.seconds)):
            pass
        yield Listening(system, bus)


def _await_events(system: Live, bus: Subscriber, streams: set[str]) -> None:
    """Raises BenchError where one of the streams brings none."""
    left = set(streams)
    for _, _, body in system.messages(bus, PATIENCE_S):
        if isinstance(body, Emotion):
            left.discard(body.stream)
        if not left:
            return
    raise BenchError(f"no event came of the streams {', '.join(sorted(left))} within {PATIENCE_S:g} s; see the log")


def streams_for(offered: float, fps: int, most: int) -> tuple[int, int]:
    """How many streams with how many frames a second each offer so many frames a second: more frames where `most`
    streams of `fps` would not do."""
    streams = max(1, min(most, math.ceil(offered / fps)))
    return streams, max(fps, math.ceil(offered / streams))


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
    sources = {f"stream-{number}": StreamSettings(file=str(clip), loop=True) for number in range(1, streams + 1)}
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
