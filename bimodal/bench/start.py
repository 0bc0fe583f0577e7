"""`start`: the time from the command to the first event, cold and warm; and the memory of the system.

The reference for time is a bare process that imports the libraries and opens the same models (`main` below); that for
memory is what each further such process adds. Memory is the proportional set size, in which shared pages count once.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import bimodal
from bimodal.bench.figures import BenchError, Curve, Figure, Outcome, figure
from bimodal.bench.loops import start, stop
from bimodal.bench.machine import pss_mib, together_mib
from bimodal.bench.media import at_pace
from bimodal.bench.plan import Plan
from bimodal.bench.system import PATIENCE_S, Live, live, measured
from bimodal.broker.control import Accepted, ScaleRequest
from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Heartbeat
from bimodal.child_process import python_command
from bimodal.config import Config
from bimodal.errors import BimodalError
from bimodal.supervisor.variants import file_of
from bimodal.workers.capture.settings import StreamSettings

# Cold starts: the system's file cache of the installed files is dropped, and only of those, which needs no privileges
# and slows nothing else down. Pages mapped by running processes stay, and so do directory entries.


SAMPLE = 16
"""One file in so many is checked for its cached share."""


def installed_files(models_used: Iterable[Path]) -> list[Path]:
    """The files that a start may read: the interpreter and its libraries, this program, and these models."""
    places = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places.add(Path(bimodal.__file__).parent)
    found = {Path(sys.executable).resolve(), *models_used}
    for place in places:
        found |= set(files_of(place))
    return sorted(found)


def files_of(place: Path) -> Iterator[Path]:
    """The files that a start may read in and below a folder."""
    for folder, _, names in os.walk(place, followlinks=True):
        for name in names:
            if name.endswith((".py", ".pyc", ".so", ".onnx", ".mp4", ".yaml")) or ".so." in name:
                yield Path(folder) / name


def drop_cache(files: Iterable[Path]) -> bool:
    """Drop these files from the system's file cache; False on systems without such a call."""
    if not hasattr(os, "posix_fadvise"):
        return False
    os.sync()
    for file in files:
        _with(file, lambda descriptor: os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED))
    return True


def cached_share(files: list[Path]) -> float | None:
    """Cached share of these files, estimated from a sample; None on systems that don't report it."""
    asked = there = 0

    def check_page(descriptor: int) -> None:
        nonlocal asked, there
        for offset in range(0, os.fstat(descriptor).st_size, 2**18):
            asked += 1
            try:
                # A read without waiting succeeds only on cached pages.
                there += bool(os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT))
            except BlockingIOError:
                continue

    try:
        for file in files[::SAMPLE]:
            _with(file, check_page)
    except (AttributeError, OSError):
        return None
    return there / asked if asked else None


def _with(file: Path, act: Callable[[int], object]) -> None:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return
    try:
        act(descriptor)
    finally:
        os.close(descriptor)


# The bare process, the least that any program with these models needs: `python -m bimodal.bench.start MODEL…` imports
# the libraries, opens the models and runs each once, prints one line, and stays until its stdin is closed.

# Reading and checking the config counts as one of the libraries.
LIBRARIES = ("cv2", "msgspec", "numpy", "onnxruntime", "bimodal.config", "zmq")
OPEN = b"open\n"


@contextlib.contextmanager
def bare(models: Sequence[Path]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """Start a bare process; yields it and the seconds from its command to its line. It ends with the context.

    Raises BenchError if it ends early.
    """
    began = time.monotonic()
    command = python_command("bimodal.bench.start", *map(str, models))
    process = start(command, what="a bare process", stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - began
        if line != OPEN:
            raise BenchError(
                f"a bare process can't open the models: {line.decode(errors='replace').strip() or 'it ended at once'}"
            )
        yield process, seconds
    finally:
        stop(process)


def main(models: Sequence[str]) -> None:
    """Open and run the models, print a line and wait; or print why that fails."""
    for library in LIBRARIES:
        importlib.import_module(library)
    session = importlib.import_module("bimodal.models.session")
    try:
        kept = [session.open_artifact(model, provider="auto") for model in models]
    except BimodalError as error:
        print(error, flush=True)
        return
    print("open", flush=True)
    sys.stdin.read()
    del kept


FIRST_EVENT_S = 3.0
WORKER_MIB = 130.0
FPS = 30
WORKERS = (1, 2, 3)
SETTLE_S = 0.2


class Started(NamedTuple):
    """One start, in seconds from the command.

    Attributes:
        bus: until the event bus existed.
        event: until the first event of a frame.
        ready: until each process reported ready, by name; only those before the first event.
    """

    bus: float
    event: float
    ready: dict[str, float]


class ColdStarts(NamedTuple):
    """Starts without the file cache, in seconds from the command.

    Attributes:
        events: until the first event of a frame, of each start.
        bare: until the models were open, of bare processes.
        left: share of the files that was still cached before the last start; None if the system does not report it.
    """

    events: list[float]
    bare: list[float]
    left: float | None


def measure(plan: Plan) -> Outcome:
    """Measure start-up time and memory. Raises BenchError if the system does not work or memory can't be read."""
    clip = at_pace(plan.folder / "clip-start.mp4", FPS, sound=True)
    config = measured(plan, {"clip": StreamSettings(file=str(clip), loop=True)})
    models = models_of(plan.config)
    warm, bare_warm = _starts(plan, config, models)
    cold_starts = _cold_starts(plan, config, models)
    plan.progress("start: memory with 1, 2 and 3 face workers")
    whole, processes = memory_of(plan, config, WORKERS)
    bare_whole = bare_memory(models, len(WORKERS))
    return Outcome(
        part="start",
        figures=(
            *_time_figures(warm, bare_warm, cold_starts),
            *_memory_figures(whole, bare_whole, processes),
        ),
        curves=(_curve("the whole system", whole), _curve("bare processes", bare_whole)),
        notes=(_cold_note(cold_starts), *_ready_note(warm)),
    )


def models_of(config: Config) -> list[Path]:
    """The files of the configured face models. Raises CatalogError if one is unknown."""
    named = (config.models.face_detector, config.models.face_landmarks, *config.models.face_static)
    return [Path(file_of(config, name)) for name in named]


# Time.
def first_event(plan: Plan, config: Config) -> Started:
    """Start a system, wait for the first event of a frame, stop it."""
    with live(plan, config) as system, system.bus(["emotion.", "process."]) as bus:
        at_bus = _since(system, time.monotonic_ns())
        ready: dict[str, float] = {}
        for at_ns, _, body in system.messages(bus, PATIENCE_S):
            if isinstance(body, Heartbeat) and body.state == "ready":
                ready.setdefault(body.name, _since(system, at_ns))
            elif isinstance(body, Emotion):
                return Started(at_bus, _since(system, at_ns), ready)
    raise BenchError(f"no event came within {PATIENCE_S:g} s; see the log")


def _since(system: Live, at_ns: int) -> float:
    return (at_ns - system.began_ns) / 1e9


def _bare_seconds(models: Sequence[Path]) -> float:
    with bare(models) as (_, seconds):
        return seconds


def _starts(plan: Plan, config: Config, models: Sequence[Path]) -> tuple[list[Started], list[float]]:
    """Measure warm starts in turn with bare processes; the first of each only warms the file cache."""
    starts: list[Started] = []
    bares: list[float] = []
    for repeat in range(plan.repeats + 1):
        plan.progress(f"start: warm, {repeat} of {plan.repeats}")
        started, seconds = first_event(plan, config), _bare_seconds(models)
        if repeat:
            starts.append(started)
            bares.append(seconds)
    return starts, bares


def _cold_starts(plan: Plan, config: Config, models: Sequence[Path]) -> ColdStarts | None:
    """Measure starts in turn with bare processes, dropping the file cache before each; None if it can't be dropped."""
    files = installed_files(models)
    found = ColdStarts([], [], None)
    for repeat in range(1, plan.repeats + 1):
        plan.progress(f"start: cold, {repeat} of {plan.repeats}")
        if not drop_cache(files):
            return None
        found = found._replace(left=cached_share(files))
        found.events.append(first_event(plan, config).event)
        drop_cache(files)
        found.bare.append(_bare_seconds(models))
    return found


def _time_figures(warm: Sequence[Started], bare_warm: Sequence[float], chilled: ColdStarts | None) -> list[Figure]:
    yardstick = figure("a bare process that opens the models, warm", bare_warm, "s")
    seconds = [start.event for start in warm]
    return [
        yardstick,
        # The bound is on the seconds themselves; the next figure compares them with bare starts.
        figure("first event, warm", seconds, "s", floor=FIRST_EVENT_S, at_most=True),
        figure("first event, warm, beside the bare process", seconds, "s", against=yardstick),
        figure("event bus there, warm", [start.bus for start in warm], "s", against=yardstick),
        *([] if chilled is None else _cold_figures(chilled)),
    ]


def _cold_figures(chilled: ColdStarts) -> list[Figure]:
    yardstick = figure("a bare process that opens the models, cold", chilled.bare, "s")
    return [yardstick, figure("first event, cold", chilled.events, "s", against=yardstick)]


def _ready_note(warm: Sequence[Started]) -> list[str]:
    last = warm[-1]
    if not last.ready:
        return []
    ready = ", ".join(f"{name} {seconds:.2f}" for name, seconds in sorted(last.ready.items(), key=lambda row: row[1]))
    return [f"Ready in the last warm start, in seconds, as reported on the bus before the first event: {ready}."]


def _cold_note(chilled: ColdStarts | None) -> str:
    if chilled is None:
        return "No cold start: this system lets no program ask it to forget what it has cached of files."
    how = "Cold: of the installed files nothing was left in the file cache that could be let go"
    if chilled.left is None:
        return f"{how}; this system does not report how much stayed."
    return f"{how}; {chilled.left:.1%} stayed, because running processes use it."


# Memory.
def memory_of(plan: Plan, config: Config, counts: Sequence[int]) -> tuple[list[float], dict[str, float]]:
    """MiB of the whole system with each number of face workers, and of each process with the first number.

    Raises BenchError if the workers don't start working.
    """
    whole: list[float] = []
    by_process: dict[str, float] = {}
    first = measured(plan, config.streams, counts[0])
    with live(plan, first) as system, system.bus(["emotion."]) as bus:
        for count in counts:
            if count != counts[0]:
                system.ask(ScaleRequest(counts={"face": count}), Accepted)
            _run_workers(system, bus, count, plan.seconds)
            pids = system.processes()
            whole.append(together_mib(pids.values()))
            if not by_process:
                by_process = {name: pss_mib(pid) for name, pid in pids.items()}
    return whole, by_process


def _run_workers(system: Live, bus: Subscriber, count: int, seconds: float) -> None:
    """Wait until `count` face workers are ready and each has processed frames. Raises BenchError if they don't."""
    end = time.monotonic() + PATIENCE_S
    while True:
        status = system.status()
        faces = [process for process in status.processes if process.role == "face"]
        if len(faces) == count and all(face.figures.get("done", 0) > 0 for face in faces) and not status.changing:
            break
        system.check(end)
        time.sleep(SETTLE_S)
    for _ in system.messages(bus, seconds):
        pass


def bare_memory(models: Sequence[Path], most: int) -> list[float]:
    """MiB of one bare process, of two together, and so on."""
    whole: list[float] = []
    with contextlib.ExitStack() as stack:
        pids: list[int] = []
        for _ in range(most):
            pids.append(stack.enter_context(bare(models))[0].pid)
            whole.append(together_mib(pids))
    return whole


def _added(whole: Sequence[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(whole)]


def _memory_figures(whole: Sequence[float], bare_whole: Sequence[float], processes: dict[str, float]) -> list[Figure]:
    yardstick = figure("memory that a further bare process adds", _added(bare_whole), "MiB")
    added = _added(whole)
    return [
        yardstick,
        figure("memory that a further face worker adds", added, "MiB", floor=WORKER_MIB, at_most=True),
        figure("the same beside the bare process", added, "MiB", against=yardstick),
        figure("memory of the whole system, 1 face worker", [whole[0]], "MiB", against=yardstick),
        *(
            figure(f"memory of {name}", [mib], "MiB", against=yardstick)
            for name, mib in sorted(processes.items(), key=lambda row: -row[1])
        ),
    ]


def _curve(name: str, whole: Sequence[float]) -> Curve:
    return Curve(
        name=name,
        x=tuple(float(count) for count in WORKERS),
        y=tuple(whole),
        x_label="face workers, or bare processes",
        y_label="memory of all together, MiB",
    )


if __name__ == "__main__":
    main(sys.argv[1:])
