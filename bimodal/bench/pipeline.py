"""The whole system on decoded frames: which share of the ceiling it reaches, and where the rest of the time goes."""

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

from bimodal.bench.errors import BenchError
from bimodal.bench.figures import Figure, Outcome, figure, in_turn
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
"""Of the share of bare ONNX Runtime, with the models that ship."""


def measure(plan: Plan) -> Outcome:
    """Frames a second against bare ONNX Runtime on the same cores, in turn; CPU milliseconds a frame by process.

    Raises BenchError where either can't be run.
    """
    media = decoded(plan.folder)
    figures = share(plan, deaf(plan.config), media, "", FLOOR, GOAL)
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
    return msgspec.structs.replace(config, models=msgspec.structs.replace(config.models, speech="none"))


# The whole system, as fast as it goes, on the clip whose decoding is done: frames a second.


STREAM = "bench"
PATIENCE_S = 60.0
WARM_S = 0.5
TURN_S = 0.1
_numbers = itertools.count(1)


class Throughput(NamedTuple):
    """What the whole system did.

    Attributes:
        frames_per_s: events a second.
        cpu_ms: user and system CPU milliseconds a frame, by process; the supervisor's are those of the bench itself.
        copies: how often a frame's pixels were written into a slot.
        message_bytes: of all messages that came to the broker and left it, a frame; None where they were not asked for.
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
    """Events of a stretch of seconds, and the broker's counters in it."""

    events: int
    seconds: float
    told: list[Status]

    @property
    def message_bytes(self) -> float | None:
        """A frame's, between the first counters and the last."""
        if len(self.told) < 2:
            return None
        first, last = self.told[0], self.told[-1]
        passed = (last.received_bytes + last.sent_bytes) - (first.received_bytes + first.sent_bytes)
        return passed / max(1, _done(last) - _done(first))


def frames_per_s(plan: Plan, config: Config, clip: Path, workers: int | None = None) -> float:
    """Events a second, as `throughput`."""
    return throughput(plan, config, clip, workers).frames_per_s


def throughput(
    plan: Plan, config: Config, clip: Path, workers: int | None = None, *, messages: bool = False
) -> Throughput:
    """Every frame of a clip that is played again and again, through all processes.

    Args:
        config: models and settings.
        workers: face workers, of one thread each; None takes what the config says.
        messages: whether their bytes are wanted; it lasts until the broker has told its counters twice.

    Raises BenchError where no event comes.
    """
    with _system(plan, config, clip, workers) as (supervisor, bus, slots):
        begun = time.monotonic()
        while not isinstance((bus.receive(0.0) or (None, None))[1], Emotion):
            supervisor.step(TURN_S)
            if time.monotonic() - begun > PATIENCE_S:
                raise BenchError(f"no event came within {PATIENCE_S:.0f} s: the log says why")
        _count(supervisor, bus, min(WARM_S, plan.seconds))
        before, written_before = _cpu_s(supervisor), _written(slots)
        counted = _count(supervisor, bus, plan.seconds, least_told=2 if messages else 0)
        after, written = _cpu_s(supervisor), _written(slots)
    events = counted.events
    spent = {name: 1e3 * (after[name] - before[name]) / events for name in before if name in after}
    return Throughput(events / counted.seconds, spent, (written - written_before) / events, counted.message_bytes)


def _done(status: Status) -> int:
    return sum(stream.done["face"] for stream in status.streams)


def _written(slots: Path) -> int:
    """How many arrays lie, or lay, in the rings of the session."""
    written = 0
    for path in slots.iterdir():
        with contextlib.suppress(SlotError):
            written += RingReader(path).written
    return written


def _cpu_s(supervisor: Supervisor) -> dict[str, float]:
    """CPU seconds of every process until now."""
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
        # As many as there are cores: with more threads each they would only fight over them.
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


def _count(supervisor: Supervisor, bus: Subscriber, seconds: float, least_told: int = 0) -> _Counted:
    """The events that come from now on for about so many seconds; so many of the broker's counters at least."""
    events, begun = 0, time.monotonic()
    told: list[Status] = []
    now = begun
    while now - begun < seconds or not events or len(told) < least_told:
        supervisor.step(TURN_S)
        while (found := bus.receive(0.0)) is not None:
            if isinstance(found[1], Status):
                told.append(found[1])
            else:
                events += 1
        now = time.monotonic()
        if now - begun > seconds + PATIENCE_S:
            raise BenchError(f"no event came for {PATIENCE_S:.0f} s: the log says why")
    return _Counted(events, now - begun, told)


# The config of what is measured: it stands alone, with nobody else's addresses, files or streams; and its sizes.


def alone(config: Config, faces: int | None = None) -> Config:
    """Its models and settings, with no output but the event bus of its own session, and no worker of another machine.

    Args:
        faces: face workers; None takes the config's number, the most of them where it follows the load.
    """
    workers = config.workers
    if faces is None and isinstance(workers.face.count, Between):
        faces = workers.face.count.max
    if faces is not None:
        workers = msgspec.structs.replace(workers, face=msgspec.structs.replace(workers.face, count=faces))
    return msgspec.structs.replace(
        config, workers=workers, outputs=OutputsConfig(view=ViewSettings(enabled=False)), network=NetworkSettings()
    )


def sizes_alone(config: Config, cores: int) -> Sizes:
    """How many workers with how many threads each a measured system of this config has on so many cores."""
    gpus = usable_gpus(config.runtime.provider)
    return sizes(alone(config).workers, config.runtime.threads, cores, gpus)


def most_face_workers(config: Config, cores: int) -> int:
    """As many as can work at the same time: one a core, and on a GPU as many as the config asks for, since they would
    only take turns there."""
    return sizes_alone(config, cores).face if usable_gpus(config.runtime.provider) else cores
