"""`bimodal soak`: run for hours, and report which process grows."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import msgspec
import psutil
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.commands.up import TURN_S, StopSignal, check, running_system
from bimodal.config import Config, load_config
from bimodal.console import open_log, put_json, say, user_errors
from bimodal.options import SessionOption
from bimodal.status_page import DEGRADED
from bimodal.supervisor.live import LiveSystem
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.demo import DEMO

# Growth of a process, from samples of its memory and descriptors. Pure.

# A process grows where it gains more than this an hour, and has gained more than an allocator may retain: a short soak
# finds large leaks only, ten hours find one of a megabyte an hour.
MOST_MB_AN_HOUR = 1.0
MOST_MB = 8.0
MOST_DESCRIPTORS = 4.0


class Sample(NamedTuple):
    """A process at one moment: `at_h` in hours; `pid`, since a restart begins anew; private memory in MiB."""

    at_h: float
    pid: int
    memory_mb: float
    descriptors: int


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Growth of a process over a soak.

    Attributes:
        memory_mb, descriptors: in its newest sample.
        mb_an_hour: slope of its memory, None where there are too few samples for one.
        descriptors_an_hour: slope of its descriptors.
        restarts: number of restarts.
        because: why that is too much, None where it is not.
    """

    name: str
    memory_mb: float
    mb_an_hour: float | None
    descriptors: int
    descriptors_an_hour: float | None
    restarts: int
    because: str | None


def slope(lives: Iterable[Sequence[tuple[float, float]]]) -> float | None:
    """The median of the slopes between any two points of the same life (Theil 1950, Sen 1968): up to 29 % of the points
    may be anything. None without two points of different x."""
    slopes = [
        (later[1] - sooner[1]) / (later[0] - sooner[0])
        for points in lives
        for sooner, later in combinations(points, 2)
        if later[0] != sooner[0]
    ]
    return median(slopes) if slopes else None


def growth(name: str, samples: Sequence[Sample], restarts: int, warm_up_h: float) -> Growth:
    """Judge one process by its samples (at least one, in order of time), without the first `warm_up_h` hours of each
    life."""
    lives = [life[_first_warm(life, warm_up_h) :] for life in _lives(samples)]
    memory = slope([[(sample.at_h, sample.memory_mb) for sample in life] for life in lives])
    opened = slope([[(sample.at_h, float(sample.descriptors)) for sample in life] for life in lives])
    longest_h = max((life[-1].at_h - life[0].at_h for life in lives if life), default=0.0)
    return Growth(
        name=name,
        memory_mb=samples[-1].memory_mb,
        mb_an_hour=memory,
        descriptors=samples[-1].descriptors,
        descriptors_an_hour=opened,
        restarts=restarts,
        because=_because(memory, opened, restarts, longest_h),
    )


def _lives(samples: Sequence[Sample]) -> list[list[Sample]]:
    lives: list[list[Sample]] = []
    for sample in samples:
        if not lives or lives[-1][-1].pid != sample.pid:
            lives.append([])
        lives[-1].append(sample)
    return lives


def _first_warm(life: Sequence[Sample], warm_up_h: float) -> int:
    return sum(sample.at_h - life[0].at_h < warm_up_h for sample in life)


def _because(memory: float | None, opened: float | None, restarts: int, hours: float) -> str | None:
    found = []
    if memory is not None and memory > MOST_MB_AN_HOUR and memory * hours > MOST_MB:
        found.append(f"its memory grows by {memory:.1f} MiB an hour")
    if opened is not None and opened * hours > MOST_DESCRIPTORS:
        found.append(f"it opens {opened:.1f} descriptors an hour and does not close them")
    if restarts:
        found.append("it was started again " + ("once" if restarts == 1 else f"{restarts} times"))
    return ", ".join(found) or None


# Slopes are taken between all pairs of samples, so their number is limited.
SAMPLES = 400
LEAST_EVERY_S = 1.0
WARM_UP_S = 120.0
WARM_UP_SHARE = 0.25


class SoakResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a soak, the output of `--json`; `well` is the verdict."""

    hours: float
    warm_up_s: float
    well: bool
    events: int
    longest_pause_s: float
    processes: tuple[Growth, ...]


def soak(
    hours: Annotated[float, typer.Option(min=0, help="How long, in hours.", metavar="H")] = 0.0,
    minutes: Annotated[float, typer.Option(min=0, help="And so many minutes.", metavar="M")] = 0.0,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            help="The config file; a further one adds to it. By default the demo clip in a loop, with the live page.",
            metavar="FILE",
        ),
    ] = None,
    session: SessionOption = "soak",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Run a system for hours, and print for each process how its memory and its open files grow. Ctrl-C ends it early,
    with a verdict on what there was.

    Exit code 0: nothing grows. 3: something does, or was started again; the output says what.

    Example: [b]bimodal soak --hours 8[/b]
    """
    seconds = 3600 * hours + 60 * minutes or 3600.0
    with user_errors():
        secrets: set[Path] = set()
        loaded = load_config(config, secrets) if config else demo_config()
        log_file = open_log(loaded.log.file, loaded.log.level, session)
    with user_errors(log_file):
        stop = StopSignal()
        watched = [file.absolute() for file in config or [log_file.with_name("soak has no config file")]]
        with running_system(loaded, watched, session, log_file, secrets) as (system, bus):
            say(f"soaking for {seconds / 60:g} minutes as session '{session}', log in {log_file}")
            found = Sampler(seconds).run(system, bus, stop)
        put_json(found) if as_json else _draw(found)
        if not found.well:
            raise typer.Exit(DEGRADED)


def demo_config() -> Config:
    """The default config, with the demo clip in a loop."""
    return Config(streams={"demo": StreamSettings(file=str(DEMO), loop=True)})


class Sampler:
    """Takes samples of a running system."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._warm_up_s = min(WARM_UP_S, seconds * WARM_UP_SHARE)
        self._every_s = max(LEAST_EVERY_S, seconds / SAMPLES)
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        self._restarts: dict[str, int] = {}
        self._events = 0
        self._event_at: float | None = None
        self._longest_pause_s = 0.0

    def run(self, system: LiveSystem, bus: Subscriber, stop: StopSignal) -> SoakResult:
        """Sample until the time is over or a stop is asked; raises SystemFailedError where the system can't start."""
        begun = sample_at = time.monotonic()
        while (now := time.monotonic()) - begun < self._seconds and not stop.asked:
            system.step(TURN_S)
            self._read(bus)
            check(system)
            if system.begun and now >= sample_at:
                sample_at = now + self._every_s
                self._sample(system, (now - begun) / 3600)
        return self._found((time.monotonic() - begun) / 3600)

    def _read(self, bus: Subscriber) -> None:
        while (found := bus.receive(0.0)) is not None:
            if isinstance(found[1], Emotion):
                now = time.monotonic()
                if self._event_at is not None:
                    self._longest_pause_s = max(self._longest_pause_s, now - self._event_at)
                self._events, self._event_at = self._events + 1, now

    def _sample(self, system: LiveSystem, at_h: float) -> None:
        for process in system.supervisor.report("").processes:
            self._restarts[process.name] = int(process.figures.get("restarts", 0))
            if process.pid is None or process.state != "ready":
                continue
            with contextlib.suppress(psutil.Error):
                opened = psutil.Process(process.pid).num_fds()
                sample = Sample(at_h, process.pid, process.figures.get("memory_mb", 0.0), opened)
                self._samples[process.name].append(sample)

    def _found(self, hours: float) -> SoakResult:
        processes = tuple(
            growth(name, samples, self._restarts[name], self._warm_up_s / 3600)
            for name, samples in self._samples.items()
        )
        return SoakResult(
            hours=round(hours, 4),
            warm_up_s=self._warm_up_s,
            well=all(process.because is None for process in processes),
            events=self._events,
            longest_pause_s=round(self._longest_pause_s, 3),
            processes=processes,
        )


def _draw(found: SoakResult) -> None:
    table = Table("process", "MiB", "MiB an hour", "descriptors", "an hour", "restarts", box=None, pad_edge=False)
    for process in found.processes:
        table.add_row(
            Text(process.name),
            f"{process.memory_mb:.1f}",
            _rate(process.mb_an_hour),
            str(process.descriptors),
            _rate(process.descriptors_an_hour),
            str(process.restarts),
        )
    console = Console()
    console.print(table)
    console.print(
        f"{60 * found.hours:.1f} minutes, the first {found.warm_up_s:.0f} s of each process not counted; "
        f"{found.events} events, their longest pause {found.longest_pause_s:.2f} s"
    )
    for process in found.processes:
        if process.because is not None:
            console.print(Text(f"! {process.name}: {process.because}", style="yellow"))
    console.print("verdict: nothing grows" if found.well else "verdict: not well")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"
