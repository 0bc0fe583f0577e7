"""The engine `local`: long-lived worker processes on this machine, one clip each at a time."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from bimodal.broker.control import ProcessReport
from bimodal.child_process import child_environment, python_command
from bimodal.corpus.messages import (
    Done,
    Frames,
    Message,
    Progress,
    Ready,
    Refused,
    WorkerSettings,
)
from bimodal.corpus.rows import Task
from bimodal.supervisor.forks import Forked, single_threaded
from bimodal.supervisor.usage import UsageMonitor
from bimodal.workers.backoff import BackOff
from bimodal.workers.errors import SystemFailedError
from bimodal.workers.framing import framed

log = logging.getLogger(__name__)

POLL_S = 0.2
MEASURE_EVERY_S = 1.0
# A worker on a clip that says nothing for so long hangs.
SILENT_S = 300.0
STOP_WITHIN_S = 2.5
# Workers that die before they were ready, one after another: then it isn't a clip.
MOST_BAD_STARTS = 5
# Of each worker that is at work a further task may lie ready, so that it never waits for one.
AHEAD = 1


class Coordinator(Protocol):
    """The run, as an engine sees it.

    Attributes:
        waiting: number of clips that nobody has yet.
    """

    @property
    def waiting(self) -> int: ...

    def next_task(self) -> Task | None:
        """The next task; None while there is none."""

    def finished(self) -> bool:
        """True once no task is left, given or waiting."""

    def on_done(self, done: Done) -> None:
        """Take the answer to a task."""

    def on_lost(self, task: Task, reason: str) -> None:
        """Take note that the worker of a task died."""

    def on_progress(self, progress: Progress) -> None:
        """Take note of how far a clip is."""


LOADED_ONCE = ("cv2", "bimodal.workers.capture.files", "bimodal.recordings.writers")
"""Modules that all workers need, and that a process may load before it is forked: they start no threads, as ONNX
Runtime and pyarrow do."""


def _work() -> int:
    """Be a worker, in a fork; its line is its stdin."""
    from bimodal.corpus.worker import main

    return main(0)


def _started(theirs: socket.socket, log_file: str | None, *, fork: bool) -> subprocess.Popen[bytes] | Forked:
    """Start a worker's process. Raises OSError."""
    output = subprocess.DEVNULL if log_file is not None else None
    if fork:
        return Forked("clip worker", _work, theirs.fileno(), output)
    return subprocess.Popen(
        python_command("bimodal.corpus.worker", str(theirs.fileno())),
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=output,
        pass_fds=[theirs.fileno()],
    )


class _Worker:
    """One process, its line, and the tasks that it has."""

    def __init__(self, number: int, settings: WorkerSettings, *, fork: bool = False) -> None:
        self.number = number
        self.name = f"clip worker {number}"
        self.tasks: list[Task] = []
        self.state: Literal["starting", "ready"] = "starting"
        self.models: dict[str, str] = {}
        self.heard = time.monotonic()
        self.because: str | None = None
        self._frames = Frames()
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = _started(theirs, settings.log, fork=fork)
        self.line = ours
        self.usage = UsageMonitor(self.process.pid)
        self.send(msgspec.structs.replace(settings, parent=os.getpid()))
        self.line.setblocking(False)

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; a worker that is gone gets none."""
        self.line.setblocking(True)
        with contextlib.suppress(OSError):
            self.line.sendall(framed(message))
        self.line.setblocking(False)

    def receive(self) -> list[Message] | None:
        """Messages that have come; None once the worker is gone."""
        try:
            data = self.line.recv(1 << 18)
        except BlockingIOError:
            return []
        except OSError:
            return None
        self.heard = time.monotonic()
        return self._frames.feed(data) if data else None


class LocalEngine:
    """A pool of worker processes.

    Args:
        settings: of each worker.
        count: number of workers.
        max_memory_mb: private memory of a worker, in MiB, above which it is ended; None without limit.

    Raises SystemFailedError from `run` where the workers can't work at all.
    """

    name = "local"

    def __init__(self, settings: WorkerSettings, count: int, max_memory_mb: int | None) -> None:
        self._settings = settings
        self._count = count
        self._most_mb = max_memory_mb
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._restarts = 0
        self._bad_starts = 0
        self._back_off = BackOff(0.2, 10.0)
        self._start_at = self._measure_at = 0.0
        self._closing = False

    def run(self, coordinator: Coordinator, on_turn: Callable[[], None]) -> None:
        """Work until the coordinator has nothing left; `on_turn` is called several times a second."""
        while not coordinator.finished():
            self._start()
            for worker in list(self._workers.values()):
                self._feed(worker, coordinator)
            for key, _ in self._selector.select(POLL_S):
                self._hear(key.data, coordinator)
            self._measure(coordinator)
            on_turn()

    def begin(self) -> None:
        """Fork all workers now, where that can be done, so that they need not load what this process has loaded: it
        must be the command's own, and have one thread. Else `run` starts them, each as a new interpreter."""
        if not sys.platform.startswith("linux"):
            return
        for module in LOADED_ONCE if self._count > 1 else ():
            with contextlib.suppress(ImportError):  # a worker tells it
                importlib.import_module(module)
        if single_threaded():
            self._start(fork=True)

    def _start(self, *, fork: bool = False) -> None:
        now = time.monotonic()
        while len(self._workers) < self._count and now >= self._start_at:
            number = next(number for number in range(1, self._count + 1) if number not in self._workers)
            worker = _Worker(number, self._settings, fork=fork)
            self._workers[number] = worker
            self._selector.register(worker.line, selectors.EVENT_READ, worker)

    def _feed(self, worker: _Worker, coordinator: Coordinator) -> None:
        while worker.state == "ready" and len(worker.tasks) <= AHEAD:
            # In advance only while there is plenty: else a worker that is idle, or will be first, would miss it.
            if worker.tasks and coordinator.waiting <= 4 * self._count:
                return
            task = coordinator.next_task()
            if task is None:
                return
            worker.tasks.append(task)
            worker.send(task)

    def _hear(self, worker: _Worker, coordinator: Coordinator) -> None:
        messages = worker.receive()
        if messages is None:
            self._lost(worker, coordinator, None)
            return
        for message in messages:
            match message:
                case Ready():
                    worker.state, worker.models = "ready", message.models
                    self._bad_starts = 0
                    self._back_off.reset()
                case Progress():
                    coordinator.on_progress(message)
                case Done():
                    worker.tasks = [task for task in worker.tasks if task.number != message.number]
                    coordinator.on_done(message)
                case Refused():
                    raise SystemFailedError(message.reason)

    def _lost(self, worker: _Worker, coordinator: Coordinator, because: str | None) -> None:
        self._selector.unregister(worker.line)
        worker.line.close()
        del self._workers[worker.number]
        if worker.process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(STOP_WITHIN_S)
        if worker.process.poll() is None:
            worker.process.kill()
        code = worker.process.wait()
        reason = because or _death(code)
        log.warning("%s ended: %s", worker.name, reason)
        self._restarts += 1
        if worker.state == "starting":
            self._bad_starts += 1
            if self._bad_starts >= MOST_BAD_STARTS:
                raise SystemFailedError(f"the workers can't be started: {reason}; the log has the details")
        self._start_at = time.monotonic() + (self._back_off.next() if worker.state == "starting" else 0.0)
        for place, task in enumerate(worker.tasks):
            if place == 0:
                coordinator.on_lost(task, reason)
            else:  # it was not begun
                coordinator.on_lost(task, "")

    def _measure(self, coordinator: Coordinator) -> None:
        """End workers that hang, or take too much memory."""
        now = time.monotonic()
        if now < self._measure_at:
            return
        self._measure_at = now + MEASURE_EVERY_S
        for worker in list(self._workers.values()):
            usage = worker.usage.read()
            because = None
            if worker.tasks and now - worker.heard > SILENT_S:
                because = f"its worker was silent for {SILENT_S:.0f} s"
                with contextlib.suppress(ProcessLookupError):
                    worker.process.send_signal(signal.SIGUSR1)
                    time.sleep(0.5)
            elif usage is not None and self._most_mb is not None and usage.memory_mb > self._most_mb:
                because = f"its worker took more than {self._most_mb} MiB of memory"
            if because is not None:
                worker.process.kill()
                self._lost(worker, coordinator, because)

    def reports(self) -> tuple[ProcessReport, ...]:
        """The workers, for `bimodal status`."""
        return tuple(
            ProcessReport(
                name=worker.name,
                role="worker",
                state=worker.state,
                pid=worker.process.pid,
                because=worker.because,
                figures={"restarts": 0.0},
                models=worker.models,
            )
            for _, worker in sorted(self._workers.items())
        )

    def close(self) -> None:
        """End all workers: they leave nothing unfinished behind."""
        for worker in self._workers.values():
            with contextlib.suppress(ProcessLookupError):
                worker.process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_S
        for worker in self._workers.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(0.05, deadline - time.monotonic()))
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()
            worker.line.close()
        self._workers.clear()
        self._selector.close()


def _death(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"its worker was ended by {signal.Signals(-code).name}"
    return f"its worker ended with code {code}"
