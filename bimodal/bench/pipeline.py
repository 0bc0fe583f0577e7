"""The whole system on decoded frames: its share of the ceiling, and CPU time by process."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import psutil

from bimodal.bench.figures import BenchError, Figure, Outcome, figure, in_turn
from bimodal.bench.limit import ceiling
from bimodal.bench.media import Decoded, decoded
from bimodal.bench.plan import Plan
from bimodal.broker.errors import SlotError
from bimodal.broker.events import Emotion
from bimodal.broker.frames import RingReader
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Status
from bimodal.broker.sockets import events_endpoint
from bimodal.config import Between, Config, OutputsConfig
from bimodal.models.cuda import usable_gpus
from bimodal.supervisor.processes import Sizes, Wanted, limited, processes, sizes, source
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.settings import NetworkSettings
from bimodal.workers.view.settings import ViewSettings

PART = "pipeline"
FLOOR, GOAL = 0.80, 0.90
"""Bounds of the share of bare ONNX Runtime, with the shipped models."""


def measure(plan: Plan) -> Outcome:
    """Measure frames a second against bare ONNX Runtime on the same cores, in turn; CPU milliseconds per frame.

    Raises BenchError if either can't be run.
    """
    media = decoded(plan.folder)
    figures = share(plan, without_speech(plan.config), media, "", FLOOR, GOAL)
    notes = (
        "Frames have no sound here: what an audio worker takes is not the pipeline's own cost.",
        "Capture, broker and fusion share the cores with the face workers; whatever they take is missing there.",
    )
    return Outcome(part=PART, figures=tuple(figures), notes=notes)


def share(plan: Plan, config: Config, media: Decoded, what: str, floor: float, goal: float) -> list[Figure]:
    """Measure the ceiling, the pipeline against it, and CPU time by role.

    `what` is the prefix of the figures' names.
    """
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

        found = in_turn({bare: bare_runs, whole: pipeline}, plan.repeats, plan.progress)
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
    """Kilobytes per frame, against one picture: decoded pixels written, and all messages."""
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
    """CPU milliseconds per frame of each run, by role (all face workers together) and in total."""
    found: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        of_run: dict[str, float] = defaultdict(float)
        for name, value in run.cpu_ms.items():
            of_run[name.split(" ")[0]] += value
        for role, value in {**of_run, "all": sum(of_run.values())}.items():
            found[role].append(value)
    return dict(found)


def without_speech(config: Config) -> Config:
    """Make a copy of the config without a speech model."""
    return msgspec.structs.replace(config, models=msgspec.structs.replace(config.models, speech=("none",)))


# Throughput of the whole system on the decoded clip.

STREAM = "bench"
PATIENCE_S = 60.0
WARM_S = 0.5
TURN_S = 0.1
_numbers = itertools.count(1)


class Throughput(NamedTuple):
    """Throughput of the whole system.

    Attributes:
        frames_per_s: events a second.
        cpu_ms: user and system CPU milliseconds per frame, by process; the supervisor's are those of the bench itself.
        copies: writes of a frame's pixels into a slot, per frame.
        message_bytes: bytes of all messages received and sent by the broker, per frame; None if not asked for.
    """

    frames_per_s: float
    cpu_ms: dict[str, float]
    copies: float
    message_bytes: float | None = None


class _System(NamedTuple):
    supervisor: Supervisor
    bus: Subscriber
    slots: Path


class _Counted(NamedTuple):
    """Events of a stretch of time, and the broker's reports in it."""

    events: int
    seconds: float
    statuses: list[Status]

    @property
    def message_bytes(self) -> float | None:
        """Message bytes per frame between the first and the last report; None with fewer than two."""
        if len(self.statuses) < 2:
            return None
        first, last = self.statuses[0], self.statuses[-1]
        passed = (last.received_bytes + last.sent_bytes) - (first.received_bytes + first.sent_bytes)
        return passed / max(1, _done(last) - _done(first))


def frames_per_s(plan: Plan, config: Config, clip: Path, workers: int | None = None) -> float:
    """Measure events a second, as `throughput`."""
    return throughput(plan, config, clip, workers).frames_per_s


def throughput(
    plan: Plan, config: Config, clip: Path, workers: int | None = None, *, messages: bool = False
) -> Throughput:
    """Run every frame of a looped clip through all processes.

    Args:
        config: models and settings.
        workers: face workers with one thread each; None takes the config's.
        messages: count message bytes, which takes until the broker has reported twice.

    Raises BenchError if no event comes.
    """
    with _system(plan, config, clip, workers) as (supervisor, bus, slots):
        begun = time.monotonic()
        while not isinstance((bus.receive(0.0) or (None, None))[1], Emotion):
            supervisor.step(TURN_S)
            if time.monotonic() - begun > PATIENCE_S:
                raise BenchError(f"no event came within {PATIENCE_S:.0f} s: the log says why")
        _count(supervisor, bus, min(WARM_S, plan.seconds))
        before, written_before = _cpu_s(supervisor), _written(slots)
        counted = _count(supervisor, bus, plan.seconds, least_statuses=2 if messages else 0)
        after, written = _cpu_s(supervisor), _written(slots)
    events = counted.events
    spent = {name: 1e3 * (after[name] - before[name]) / events for name in before if name in after}
    return Throughput(events / counted.seconds, spent, (written - written_before) / events, counted.message_bytes)


def _done(status: Status) -> int:
    return sum(stream.done["face"] for stream in status.streams)


def _written(slots: Path) -> int:
    """Number of arrays written into the rings of the session so far."""
    written = 0
    for path in slots.iterdir():
        with contextlib.suppress(SlotError):
            written += RingReader(path).written
    return written


def _cpu_s(supervisor: Supervisor) -> dict[str, float]:
    """CPU seconds of every process so far."""
    running = {name: child.process.pid for name, child in supervisor.children.items() if child.process is not None}
    found = {}
    for name, pid in {**running, "supervisor": os.getpid()}.items():
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(pid).cpu_times()
            found[name] = times.user + times.system
    return found


@contextlib.contextmanager
def _system(plan: Plan, config: Config, clip: Path, workers: int | None) -> Iterator[_System]:
    config = alone(config, workers)
    if workers is not None:
        # One thread each: there are as many workers as cores.
        config = msgspec.structs.replace(config, runtime=msgspec.structs.replace(config.runtime, threads=1))
    rows = processes(Wanted(config))
    rows.append(source(config, STREAM, StreamSettings(file=str(clip), loop=True), policy="every", realtime=False))
    with contextlib.ExitStack() as begun:
        session = Session(f"bench-{os.getpid()}-{next(_numbers)}")
        begun.callback(session.close)
        bus = Subscriber(events_endpoint(session.directory), ["emotion.", "status"])
        begun.callback(bus.close)
        supervisor = Supervisor(session, limited(rows, config.workers.max_memory_mb), plan.log)
        begun.callback(supervisor.stop)
        yield _System(supervisor, bus, session.slots)


def _count(supervisor: Supervisor, bus: Subscriber, seconds: float, least_statuses: int = 0) -> _Counted:
    """Count events for about so many seconds, and until the broker has reported `least_statuses` times."""
    events, begun = 0, time.monotonic()
    statuses: list[Status] = []
    now = begun
    while now - begun < seconds or not events or len(statuses) < least_statuses:
        supervisor.step(TURN_S)
        while (found := bus.receive(0.0)) is not None:
            if isinstance(found[1], Status):
                statuses.append(found[1])
            else:
                events += 1
        now = time.monotonic()
        if now - begun > seconds + PATIENCE_S:
            raise BenchError(f"no event came for {PATIENCE_S:.0f} s: the log says why")
    return _Counted(events, now - begun, statuses)


# The config of a measured system: isolated, without the user's addresses, files and streams.


def alone(config: Config, faces: int | None = None) -> Config:
    """The config's models and settings, without outputs but its own event bus, and without remote workers.

    Args:
        faces: face workers; None takes the config's number, or its maximum if that follows the load.
    """
    workers = config.workers
    if faces is None and isinstance(workers.face.count, Between):
        faces = workers.face.count.max
    elif faces is None and workers.face.count == 0:
        faces = 1  # what is measured is this machine
    if workers.audio.count == 0:
        workers = msgspec.structs.replace(workers, audio=msgspec.structs.replace(workers.audio, count=1))
    if faces is not None:
        workers = msgspec.structs.replace(workers, face=msgspec.structs.replace(workers.face, count=faces))
    return msgspec.structs.replace(
        config, workers=workers, outputs=OutputsConfig(view=ViewSettings(enabled=False)), network=NetworkSettings()
    )


def sizes_alone(config: Config, cores: int) -> Sizes:
    """Numbers of workers and threads of a measured system with this config on so many cores."""
    gpus = usable_gpus(config.runtime.provider)
    return sizes(alone(config).workers, config.runtime.threads, cores, gpus)


def most_face_workers(config: Config, cores: int) -> int:
    """The greatest useful number of face workers.

    One per core; on a GPU, where they take turns, the config's number.
    """
    return sizes_alone(config, cores).face if usable_gpus(config.runtime.provider) else cores
