"""An older checkout beside this one, whole systems in turn, A B A B: a live stream, a clip, the start, quick commands.

Run, with nothing else running: python -m scripts.measure.whole_versions OLD_CHECKOUT [--rounds 3] [--seconds 10]
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import psutil
import typer
import zmq

from bimodal.broker.sockets import events_endpoint, session_directory
from bimodal.workers.demo import DEMO
from scripts.measure.live import person, room
from scripts.measure.versions import HERE, lines

SESSION = "two-versions"
PATIENCE_S = 60.0
WARM_S = 6.0
"""After the first event, before a live stream is measured: further workers begin, and first looks are over."""
Found = dict[str, float]


def main(
    old: Annotated[Path, typer.Argument(help="A checkout of the older commit (git worktree add ../old COMMIT).")],
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.2, help="How long a live stream is measured.")] = 10.0,
    clip: Annotated[Path, typer.Option(help="A clip of one close face, to be analysed as a file.")] = DEMO,
) -> None:
    """Print medians of both checkouts, and the ratio of their pairs."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bimodal-") as scratch:
        folder = Path(scratch)
        films = {"a person": person(folder), "an empty room": room(folder)}
        for number in range(rounds):
            for side, checkout in enumerate((old.absolute(), HERE)):
                for name, value in _all(checkout, folder, films, clip.absolute(), seconds, new=bool(side)):
                    found.setdefault(name, ([], []))[side].append(value)
            typer.echo(f"round {number + 1} of {rounds} is over", err=True)
    for line in lines(found, "whole systems"):
        typer.echo(line)


def _all(
    checkout: Path, folder: Path, films: dict[str, Path], clip: Path, seconds: float, *, new: bool
) -> Iterator[tuple[str, float]]:
    for words in ("--help", "status"):
        yield f"bimodal {words}: CPU, s", _spent(checkout, [words]).cpu_s
    for name, film in films.items():
        for process, share in _live(checkout, folder, film, seconds).items():
            yield f"live, {name}: {process}", share
    plain = _spent(checkout, ["analyze", str(clip), "--out", str(folder / "results"), "--overwrite"])
    quick = _spent(checkout, [*plain.words, "--quick"]) if new else plain
    yield "a clip: CPU, s", plain.cpu_s
    yield "a clip: until its results are there, s", plain.wall_s
    yield "a clip, new with --quick: CPU, s", quick.cpu_s
    yield "a clip, new with --quick: until its results are there, s", quick.wall_s


class Spent(NamedTuple):
    """A command that has ended.

    Attributes:
        words: its arguments.
        cpu_s: CPU seconds of it and all its processes.
        wall_s: seconds until its end.
    """

    words: list[str]
    cpu_s: float
    wall_s: float


def _spent(checkout: Path, words: list[str]) -> Spent:
    begun = time.monotonic()
    process = _start(checkout, words)
    _, _, usage = os.wait4(process.pid, 0)
    return Spent(words, usage.ru_utime + usage.ru_stime, time.monotonic() - begun)


def _start(checkout: Path, words: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-P", "-m", "bimodal", *words]
    silent = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=checkout, env=environment, stdin=silent, stdout=silent, stderr=silent)


def _live(checkout: Path, folder: Path, film: Path, seconds: float) -> Found:
    """Seconds until the first event; then per cent of a core by kind of process, and wake-ups a second of two."""
    config = folder / "config.yaml"
    config.write_text(f"streams: {{cam: {{file: {film}, loop: true}}}}\n")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bus = context.socket(zmq.SUB)
    bus.setsockopt(zmq.RECONNECT_IVL, 10)
    bus.setsockopt(zmq.SUBSCRIBE, b"emotion.")
    bus.connect(events_endpoint(session_directory(SESSION)))
    begun = time.monotonic()
    process = _start(checkout, ["up", "--config", str(config), "--session", SESSION])
    try:
        if not bus.poll(int(1000 * PATIENCE_S)):
            raise RuntimeError(f"no event came from {checkout}")
        found = {"until the first event, s": time.monotonic() - begun}
        # From here on nobody listens: what a subscriber costs is not measured.
        bus.close(linger=0)
        time.sleep(WARM_S)
        before, since = _processes(process.pid), time.monotonic()
        time.sleep(seconds)
        after, lasted_s = _processes(process.pid), time.monotonic() - since
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        bus.close(linger=0)
        context.term()
    shares: Counter[str] = Counter()
    for pid, (kind, cpu_s, wakes) in after.items():
        _, cpu_before_s, wakes_before = before.get(pid, (kind, cpu_s, wakes))
        shares["all processes, % of a core"] += 100 * (cpu_s - cpu_before_s) / lasted_s  # type: ignore[assignment]
        shares[f"{kind}, % of a core"] += 100 * (cpu_s - cpu_before_s) / lasted_s  # type: ignore[assignment]
        if kind in ("broker", "supervisor"):
            shares[f"{kind}, wake-ups a second"] += (wakes - wakes_before) / lasted_s  # type: ignore[assignment]
    return found | dict(shares)


def _processes(supervisor: int) -> dict[int, tuple[str, float, int]]:
    """Kind, CPU seconds and wake-ups so far of the processes of a system, by number."""
    found: dict[int, tuple[str, float, int]] = {}
    top = psutil.Process(supervisor)
    for process in (top, *top.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            kind = process.cmdline()[0].removeprefix("bimodal: ").split(" ")[0]
            times = process.cpu_times()
            tasks = Path(f"/proc/{process.pid}/task").glob("*/status")
            wakes = sum(int(_line(task, "voluntary_ctxt_switches")) for task in tasks)
            found[process.pid] = kind, times.user + times.system, wakes
    return found


def _line(status: Path, name: str) -> str:
    return next(line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{name}:"))


if __name__ == "__main__":
    typer.run(main)
