"""Analyses of clips: a bounded queue before worker processes that keep their models between clips.

A clip that crashes its decoder, hangs, or takes too much memory ends its worker and nothing else. For one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path

import msgspec
import psutil

from bimodal.child_process import child_environment, python_command
from bimodal.scratch import Scratch
from bimodal.workers.framing import LENGTH, framed
from bimodal.workers.http_api.problems import ProblemError, too_many
from bimodal.workers.http_api.settings import AnalyzeSettings
from bimodal.workers.http_api.worker_messages import (
    MOST_BYTES,
    Answer,
    End,
    Failed,
    Ready,
    Refused,
    Start,
    Task,
    answers,
)

log = logging.getLogger(__name__)

WORKER_MODULE = "bimodal.api.clip_server"
READY_WITHIN_S = 120.0
MEASURE_EVERY_S = 1.0
# Until a clip has been done, one is taken to last so long.
FIRST_GUESS_S = 5.0

ConfigSource = Callable[[], Awaitable[dict[str, object]]]


class ClipWorker:
    """One worker process, and the line to it.

    Attributes:
        config: that it was started with.
        models: name@version by kind.
        because: why it was ended by us; None while it was not.
    """

    def __init__(self, config: dict[str, object], log_file: str | None) -> None:
        self.config = config
        self.models: dict[str, str] = {}
        self.because: ProblemError | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._log_file = log_file
        self._ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                python_command(WORKER_MODULE, str(theirs.fileno())),
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if log_file is not None else None,
                pass_fds=[theirs.fileno()],
            )

    async def open(self) -> None:
        """Wait until its models are loaded. Raises ProblemError where they can't be."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._ours)
        await self.send(Start(config=self.config, parent=os.getpid(), log=self._log_file))
        match await self.read(READY_WITHIN_S):
            case Ready(models):
                self.models = models
            case Refused(reason):
                raise ProblemError(503, "models_unusable", reason)
            case _:
                raise ProblemError(500, "worker_ended", "A worker for clips can't be started; the log has the details.")

    async def send(self, message: msgspec.Struct) -> None:
        """Send a message; the end of the process is found by `read`."""
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.write(framed(message))
            await self._writer.drain()

    async def read(self, within_s: float) -> Answer | None:
        """The next message; None once the process has ended. Raises TimeoutError."""
        assert self._reader is not None
        try:
            async with asyncio.timeout(within_s):
                (size,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
                if size > MOST_BYTES:
                    return None
                answer: Answer = answers.decode(await self._reader.readexactly(size))
                return answer
        except TimeoutError:  # an OSError, too
            raise
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            return None

    async def watch_memory(self, most_mb: int) -> None:
        """End the process when it takes more memory than that; to be cancelled."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.process.pid)
            while True:
                await asyncio.sleep(MEASURE_EVERY_S)
                if process.memory_info().rss > most_mb * 2**20:
                    self.because = ProblemError(
                        422, "too_much_memory", f"This clip takes more than {most_mb} MiB of memory."
                    )
                    self.process.kill()
                    return

    @property
    def alive(self) -> bool:
        """True while the process runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self._writer is None:
            self._ours.close()
        else:  # it owns the socket
            with contextlib.suppress(RuntimeError):
                self._writer.transport.abort()

    def death(self) -> ProblemError:
        """Why it ended in the middle of a clip."""
        if self.because is not None:
            return self.because
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self.process.wait(1.0)
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return ProblemError(500, "worker_ended", f"The worker that looked at this clip ended ({how}); see the log.")
        return ProblemError(500, "worker_ended", "The worker that looked at this clip no longer answers; see the log.")


class Analyses:
    """The queue, the workers, and the folder of clips that were sent.

    Args:
        settings: limits.
        config: gives the values of config.yaml to analyse with; a worker with other values is replaced.
        log_file: of the workers; None for stderr.
    """

    def __init__(self, settings: AnalyzeSettings, config: ConfigSource, log_file: str | None = None) -> None:
        self.settings = settings
        self._config, self._log_file = config, log_file
        self._free = asyncio.Semaphore(settings.workers)
        self._idle: list[ClipWorker] = []
        self._busy: set[ClipWorker] = set()
        self._mean_s = FIRST_GUESS_S
        self._timer: asyncio.TimerHandle | None = None
        self._scratch = Scratch("api")
        self.present = 0
        self.done = 0
        self.refused = 0

    @contextlib.contextmanager
    def place(self) -> Iterator[Path]:
        """Hold a place in the queue; gives the path for the clip, which goes with the place.

        Raises ProblemError (429) where there is none.
        """
        settings = self.settings
        if not settings.workers:
            raise ProblemError(403, "analyze_is_off", "No clips are taken here: outputs.api.analyze.workers is 0.")
        if self.present >= settings.workers + settings.queue:
            self.refused += 1
            turns = math.ceil((self.present - settings.workers + 1) / settings.workers)
            raise too_many(
                "queue_full",
                f"{self.present} clips are being worked on or wait; try again later.",
                turns * self._mean_s,
            )
        self.present += 1
        descriptor, name = tempfile.mkstemp(dir=self._scratch.path)
        os.close(descriptor)
        try:
            yield Path(name)
        finally:
            self.present -= 1
            Path(name).unlink(missing_ok=True)

    async def run(self, task: Task) -> AsyncGenerator[tuple[ClipWorker, Answer], None]:
        """Analyse a clip as soon as a worker is free; gives its worker with each answer, the last an End.

        Raises ProblemError where the clip can't be analysed, takes too long, or kills its worker. A caller who leaves
        early (`aclose`) ends the worker.
        """
        async with self._free:
            began = time.monotonic()
            worker = await self._worker()
            watching = asyncio.create_task(worker.watch_memory(self.settings.max_memory_mb))
            self._busy.add(worker)
            whole = False
            try:
                await worker.send(task)
                while not whole:
                    answer = await self._answer(worker, began + self.settings.max_seconds)
                    whole = isinstance(answer, End | Failed)
                    if isinstance(answer, Failed):
                        raise ProblemError(422, "unreadable", answer.reason)
                    yield worker, answer
            finally:
                watching.cancel()
                self._busy.discard(worker)
                self._settle(worker, whole=whole)
                self.done += whole
                self._mean_s += 0.2 * (time.monotonic() - began - self._mean_s)

    async def _answer(self, worker: ClipWorker, deadline: float) -> Answer:
        try:
            answer = await worker.read(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise ProblemError(
                422,
                "takes_too_long",
                f"This clip takes more than {self.settings.max_seconds:g} s of work (outputs.api.analyze.max_seconds); "
                "send a part of it, or use 'bimodal analyze'.",
            ) from None
        if answer is None:
            raise worker.death()
        return answer

    async def _worker(self) -> ClipWorker:
        """An idle worker with the present config, or a new one."""
        config = await self._config()
        while self._idle:
            worker = self._idle.pop()
            if worker.alive and worker.config == config:
                return worker
            worker.kill()
        worker = ClipWorker(config, self._log_file)
        try:
            await worker.open()
        except BaseException:
            worker.kill()
            raise
        return worker

    def _settle(self, worker: ClipWorker, *, whole: bool) -> None:
        if not whole or not worker.alive:
            worker.kill()
            return
        self._idle.append(worker)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self.settings.idle_s, self._end_idle)

    def _end_idle(self) -> None:
        while self._idle:
            self._idle.pop().kill()

    async def warm(self) -> None:
        """Start one worker now, so that the first clip need not wait for models. Raises ProblemError."""
        self._settle(await self._worker(), whole=True)

    def close(self) -> None:
        """End all workers, and remove the clips."""
        for worker in (*self._idle, *self._busy):
            worker.kill()
        self._idle.clear()
        self._scratch.close()
