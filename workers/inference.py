"""Base of face and audio workers: take an assignment, read its slot, send the result."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from bimodal.broker.errors import RingGoneError, SlotError
from bimodal.broker.frames import RingCache
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import (
    Assignment,
    Body,
    FaceResult,
    JobFailed,
    Ready,
    SpeechResult,
    Welcome,
    failed,
)
from bimodal.broker.remote_mailbox import ReceivedData, RemoteMailbox
from bimodal.errors import BimodalError
from bimodal.models.contract import Kind
from bimodal.models.cuda import Gpu
from bimodal.models.session import Artifact, open_artifact, warm_up
from bimodal.workers.actor import RELOAD, TURN_DEADLINE_S, ActorSettings
from bimodal.workers.introduction import introduce
from bimodal.workers.micro_batches import MicroBatcher
from bimodal.workers.settings import RuntimeSettings, WorkerRuntime

log = logging.getLogger(__name__)

# The broker assigns as many jobs as run at a time, and under `every` as many again in advance (broker/queues.py).
TIMES_IN_HAND = 2
# A fast worker takes more jobs in advance and sends results together: waking the broker costs as much as one job's
# messages.
IN_ADVANCE = 4
QUICK_NS, SLOW_NS = 25_000_000, 50_000_000
HELD_BACK_NS = 50_000_000
# The first job may take long (a GPU compiles its kernels); later ones, so many times the mean so far.
FIRST_DEADLINE_S, MOST_TIMES = 120.0, 20
# After so many failures in a row the models themselves are tested.
MANY_FAILED = 8


def open_model(path: str, kind: Kind, runtime: WorkerRuntime, worker: str) -> Artifact:
    """Open a worker's artifact with the settings of config.yaml's `runtime`. Raises ArtifactError or ProviderError."""
    gpu = Gpu(gpu_of(worker, runtime.gpus), runtime.gpu_memory_mb, runtime.cuda_graph == "auto")
    return open_artifact(
        path, kind, provider=runtime.provider, threads=runtime.threads, spinning=runtime.spinning, gpu=gpu
    )


def gpu_of(worker: str, gpus: int) -> int:
    """Index of the GPU that a worker uses, round robin by its number: "face 1" uses GPU 0, "face 2" GPU 1.

    0 without GPUs.
    """
    number = worker.rpartition(" ")[2]
    return (int(number) - 1) % gpus if gpus > 0 and number.isdigit() else 0


class JobWorker:
    """A stateless worker: any worker takes any job. Subclasses load their models and implement `work`.

    Attributes:
        models: name@version by kind.
        artifacts: the models that `work` runs.

    A subclass that runs several jobs at a time calls `enable_batching`; `work` is then called from several threads.
    """

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        self.artifacts: Sequence[Artifact] = ()
        self._mailbox = mailbox
        self._own = settings.own
        self._slots: RingCache | ReceivedData = RingCache(Path(settings.slots))
        if isinstance(mailbox, RemoteMailbox):
            self._slots = mailbox.data
        self._last = 0
        self._in_advance = 1
        self._job_ns = 0.0
        self._held_back = 0
        self._held_back_ns = 0
        self._done = 0
        self._failed = 0
        self._failed_in_a_row = 0
        self._broken = False
        self._busy_ns = 0
        self._batching = Batching()
        self._batcher = MicroBatcher(1)
        self._streams = ActiveStreams()
        self._opening = threading.Lock()

    @property
    def deadline_s(self) -> float:
        """Seconds after which a turn counts as hung, from the time that jobs have taken so far."""
        count = self._done + self._failed
        if not count:
            return FIRST_DEADLINE_S
        together = max(self._batching.most, self._in_advance)
        return max(TURN_DEADLINE_S, MOST_TIMES * together * self._busy_ns / count / 1e9)

    def enable_batching(self, batching: Batching) -> MicroBatcher:
        """Run up to `batching.most` jobs at a time from now on.

        Models must be wrapped with the returned batcher's `join`.
        """
        self._batching, self._batcher = batching, MicroBatcher(batching.most)
        if isinstance(self._slots, ReceivedData):
            self._slots.most = TIMES_IN_HAND * batching.most + 2
        return self._batcher

    def introduce(self, product: str) -> None:
        """Say with which models and settings this worker works; a worker on another machine must have the same."""
        found = introduce(((one.metadata.kind, str(one.path)) for one in self.artifacts), self._own)
        self._mailbox.introduce(product, found.models, self._own, found.files)

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> FaceResult | SpeechResult:
        """Compute the result of a job; `data` is a read-only view of its slot."""
        raise NotImplementedError

    def on_connected(self) -> None:
        """Begin counting anew, since a new broker numbers its assignments from 1, and announce that we are free."""
        self._last = 0
        self.on_idle()

    def on_message(self, body: Body) -> None:
        """Run an assignment, and those that are batched with it, and send the results.

        Raises ArtifactError if the models themselves fail (a lost GPU): the process must be restarted.
        """
        if not isinstance(body, Assignment):
            return
        if self._batching.most == 1:
            self._do_one(body)
        else:
            self._do_several(body)
        if self._failed_in_a_row >= MANY_FAILED:
            self._check_models()

    def _do_several(self, first: Assignment) -> None:
        """Run an assignment in one batch with others that are waiting."""
        together = self._collect(first)
        if not together:
            return
        taken_ns = time.monotonic_ns()
        answers = self._batcher.run_all([partial(self._answer, one, taken_ns) for one in together])
        self._busy_ns += time.monotonic_ns() - taken_ns
        for answer in answers:
            self._send_soon(answer)
        self._mailbox.flush()

    def _do_one(self, assignment: Assignment) -> None:
        """Run one assignment.

        Hold its result back while more jobs than the next one are waiting, to send them together.
        """
        begun_ns = time.monotonic_ns()
        answer = self._answer(assignment, begun_ns)
        now_ns = time.monotonic_ns()
        self._busy_ns += now_ns - begun_ns
        self._send_soon(answer)
        self._send_pace(now_ns - begun_ns)
        if not self._held_back:
            self._held_back_ns = now_ns
        self._held_back += 1
        # Results leave before the last job runs: they bring the next jobs while it does.
        late = now_ns + self._job_ns > self._held_back_ns + HELD_BACK_NS
        if self._held_back >= self._in_advance or late or self._mailbox.read_ahead() < TIMES_IN_HAND:
            self._held_back = 0
            self._mailbox.flush()

    def _send_pace(self, job_ns: int) -> None:
        """Take several jobs in advance while they are fast; a slow worker would keep them from other workers."""
        self._job_ns = job_ns if not self._job_ns else 0.8 * self._job_ns + 0.2 * job_ns
        if isinstance(self._slots, ReceivedData):
            return  # over the network the broker sends data job by job
        in_advance = IN_ADVANCE if self._job_ns < (QUICK_NS if self._in_advance == 1 else SLOW_NS) else 1
        if in_advance != self._in_advance:
            self._in_advance = in_advance
            self._mailbox.send_soon(self._ready())

    def _send_soon(self, answer: FaceResult | SpeechResult | JobFailed) -> None:
        self._mailbox.send_soon(answer)
        self._last = answer.number
        if not isinstance(answer, JobFailed):
            self._done += 1
            self._failed_in_a_row = 0
        elif not answer.stale:
            self._failed += 1
            self._failed_in_a_row += 1

    def _check_models(self) -> None:
        """Tell bad jobs from broken models: run each model on zeros. Raises ArtifactError if one fails."""
        self._failed_in_a_row = 0
        self._broken = True
        for artifact in self.artifacts:
            warm_up(artifact)
        self._broken = False

    def _collect(self, first: Assignment) -> list[Assignment]:
        """Collect a batch: all waiting assignments, and those of other active streams that arrive within `wait_s`.

        Empty if the broker was restarted meanwhile, since the new one does not know these assignments.
        """
        together = [first]
        began_s = time.monotonic()
        deadline_s = began_s + self._batching.wait_s
        self._streams.on_job(first.job.stream, began_s)
        while len(together) < self._batching.most:
            now_s = time.monotonic()
            lacking = self._streams.any_missing({one.job.stream for one in together}, now_s)
            left_s = max(0.0, deadline_s - now_s) if lacking else 0.0
            body = self._mailbox.receive(left_s) if left_s or self._mailbox.waiting() else None
            if isinstance(body, Welcome):
                self.on_connected()
                return []
            if isinstance(body, Assignment):
                together.append(body)
                self._streams.on_job(body.job.stream, now_s)
            elif not left_s:
                break
        return together

    def _answer(self, assignment: Assignment, taken_ns: int) -> FaceResult | SpeechResult | JobFailed:
        """Compute the result of one job. Called from several threads, so it changes no attributes."""
        job = assignment.job
        try:
            with self._opening:
                reader = self._slots.reader(job.ring)
            answer = self.work(assignment, reader.view(job), taken_ns)
            if not reader.holds(job):
                raise SlotError(f"slot {job.slot} was overwritten while it was read")
        except SlotError as error:
            gone = isinstance(error, RingGoneError)
            return failed(job, str(error), number=assignment.number, stale=True, gone=gone)
        except Exception as error:  # one bad job must not take the worker down
            log.exception("job %s/%s/%d failed", job.stream, job.modality, job.seq)
            known = isinstance(error, BimodalError)
            reason = str(error) if known else f"{type(error).__name__} in the {job.modality} worker"
            return failed(job, reason, number=assignment.number)
        return answer

    def on_idle(self) -> None:
        """Send Ready again, in case the broker missed it."""
        self._mailbox.send(self._ready())

    def _ready(self) -> Ready:
        return Ready(last=self._last, capacity=self._batching.most, in_advance=self._in_advance)

    def figures(self) -> dict[str, float]:
        """Number of jobs done, and the mean milliseconds per job."""
        mean_ms = self._busy_ns / self._done / 1e6 if self._done else 0.0
        return {"done": float(self._done), "mean_ms": round(mean_ms, 3)}

    def degraded_reason(self) -> str | None:
        """Why the broker of another machine gives no jobs; else None: a failure here fails a job or the process."""
        return self._mailbox.refused if isinstance(self._mailbox, RemoteMailbox) else None

    def finished(self) -> int | None:
        """None: a worker runs until it is stopped, or has the models of another machine to begin again with."""
        return RELOAD if isinstance(self._mailbox, RemoteMailbox) and self._mailbox.reload else None

    def close(self) -> None:
        """Finish the jobs that were assigned already; with broken models leave them to other workers."""
        for _ in range(0 if self._broken else max(1 + IN_ADVANCE, TIMES_IN_HAND * self._batching.most)):
            body = self._mailbox.receive(0.0) if self._mailbox.waiting() else None
            if body is None:
                break
            self.on_message(body)
        self._mailbox.flush()
        self._batcher.close()


# Batch size and waiting time of a worker.

# A GPU runs eight jobs as fast as one; on a CPU core batching gains nothing (docs/performance.md).
AUTO = {"cpu": (1, 0.0), "cuda": (8, 3.0)}

# A stream without a job for this long is not waited for.
SILENT_S = 1.0


class Batching(NamedTuple):
    """Up to `most` jobs at a time, collected for at most `wait_s` seconds."""

    most: int = 1
    wait_s: float = 0.0


def batching(runtime: RuntimeSettings, provider: str) -> Batching:
    """Batching as config.yaml sets it, by default what suits the active provider ("cpu" or "cuda")."""
    most, wait_ms = AUTO[provider]
    return Batching(
        most if runtime.max_batch == "auto" else runtime.max_batch,
        (wait_ms if runtime.max_wait_ms == "auto" else runtime.max_wait_ms) / 1000,
    )


class ActiveStreams:
    """The streams that sent jobs lately: a batch is only waited for while one of them is missing from it."""

    def __init__(self) -> None:
        self._last_job_s: dict[str, float] = {}

    def on_job(self, stream: str, now_s: float) -> None:
        """Note that a job of this stream has arrived."""
        self._last_job_s[stream] = now_s

    def any_missing(self, here: Collection[str], now_s: float) -> bool:
        """True if an active stream has no job among `here`, the streams of the jobs in the batch."""
        self._last_job_s = {stream: at for stream, at in self._last_job_s.items() if now_s - at <= SILENT_S}
        return any(stream not in here for stream in self._last_job_s)
