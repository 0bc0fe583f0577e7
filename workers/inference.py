"""What face and audio workers share: take an assignment, read its slot, answer it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from bimodal.broker.errors import SlotError
from bimodal.broker.frames import RingCache
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Assignment, Body, FaceResult, JobFailed, Ready, SpeechResult, Welcome, failed
from bimodal.broker.remote_mailbox import ReceivedData, RemoteMailbox
from bimodal.models.contract import Kind
from bimodal.models.cuda import Gpu
from bimodal.models.session import Artifact, open_artifact, warm_up
from bimodal.workers.actor import ActorSettings
from bimodal.workers.micro_batches import Gathering
from bimodal.workers.settings import RuntimeSettings, WorkerRuntime

log = logging.getLogger(__name__)

# The broker gives as many jobs as are done at a time, in `every` as many again in advance (broker/queues.py).
TIMES_IN_HAND = 2
# A quick worker takes more, and its answers leave together: a wake-up of the broker costs as much as the mail of a job.
IN_ADVANCE = 4
QUICK_NS, SLOW_NS = 25_000_000, 50_000_000
HELD_BACK_NS = 50_000_000
# So many failures one after another, and the models themselves are in doubt.
MANY_FAILED = 8


def open_model(path: str, kind: Kind, runtime: WorkerRuntime, worker: str) -> Artifact:
    """A worker's artifact, opened as config.yaml's `runtime` says; raises ArtifactError or ProviderError."""
    gpu = Gpu(gpu_of(worker, runtime.gpus), runtime.gpu_memory_mb, runtime.cuda_graph == "auto")
    return open_artifact(
        path, kind, provider=runtime.provider, threads=runtime.threads, spinning=runtime.spinning, gpu=gpu
    )


def gpu_of(worker: str, gpus: int) -> int:
    """Which of the GPUs a worker takes: "face 1" the first, "face 2" the second, and round again."""
    number = worker.rpartition(" ")[2]
    return (int(number) - 1) % gpus if gpus > 0 and number.isdigit() else 0


class JobWorker:
    """A worker without state: any of them takes any job. Subclasses load their models and do `work`.

    Attributes:
        models: name@version by kind.
        artifacts: the models that `work` runs.

    One that does several jobs at a time says so by `do_together`, and does each in a thread of its own.
    """

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        self.artifacts: Sequence[Artifact] = ()
        self._mailbox = mailbox
        self._slots: RingCache | ReceivedData = RingCache(Path(settings.slots))
        if isinstance(mailbox, RemoteMailbox):
            self._slots = mailbox.data
        self._last = 0
        self._in_advance = 1
        self._job_ns = 0.0
        self._held_back = 0
        self._held_back_ns = 0
        self._done = 0
        self._failed_in_a_row = 0
        self._broken = False
        self._busy_ns = 0
        self._batching = Batching()
        self._gathering = Gathering(1)
        self._company = Company()
        self._opening = threading.Lock()

    def do_together(self, batching: Batching) -> Gathering:
        """Take up to so many jobs at a time from now on; models must be used through what is returned."""
        self._batching, self._gathering = batching, Gathering(batching.most)
        if isinstance(self._slots, ReceivedData):
            self._slots.most = TIMES_IN_HAND * batching.most + 2
        return self._gathering

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> FaceResult | SpeechResult:
        """The answer to a job whose data is `data` (a read-only view of the slot)."""
        raise NotImplementedError

    def on_connected(self) -> None:
        """A broker that is new to us numbers its assignments from 1."""
        self._last = 0
        self.on_idle()

    def on_message(self, body: Body) -> None:
        """Answer an assignment, and those that are done along with it.

        Raises ArtifactError where the models can't answer any more (a GPU that is lost): the process must begin anew.
        """
        if not isinstance(body, Assignment):
            return
        if self._batching.most == 1:
            self._do_one(body)
        else:
            self._do_several(body)
        if self._failed_in_a_row >= MANY_FAILED:
            self._prove()

    def _do_several(self, first: Assignment) -> None:
        """Answer an assignment together with what else there is."""
        together = self._collect(first)
        if not together:
            return
        taken_ns = time.monotonic_ns()
        answers = self._gathering.run_all([partial(self._answer, one, taken_ns) for one in together])
        self._busy_ns += time.monotonic_ns() - taken_ns
        for answer in answers:
            self._send_soon(answer)
        self._mailbox.flush()

    def _do_one(self, assignment: Assignment) -> None:
        """Answer an assignment, together with those before and after it while more jobs lie here than the next."""
        begun_ns = time.monotonic_ns()
        answer = self._answer(assignment, begun_ns)
        now_ns = time.monotonic_ns()
        self._busy_ns += now_ns - begun_ns
        self._send_soon(answer)
        self._tell_pace(now_ns - begun_ns)
        if not self._held_back:
            self._held_back_ns = now_ns
        self._held_back += 1
        # The last job but one is answered at once: its answer brings the next jobs while the last one is done.
        late = now_ns + self._job_ns > self._held_back_ns + HELD_BACK_NS
        if self._held_back >= self._in_advance or late or self._mailbox.read_ahead() < TIMES_IN_HAND:
            self._held_back = 0
            self._mailbox.flush()

    def _tell_pace(self, job_ns: int) -> None:
        """Take several jobs in advance while they are quick; a slow worker would only keep them from others."""
        self._job_ns = job_ns if not self._job_ns else 0.8 * self._job_ns + 0.2 * job_ns
        if isinstance(self._slots, ReceivedData):
            return  # data that comes over the network comes job by job
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
            self._failed_in_a_row += 1

    def _prove(self) -> None:
        """Whether it is the jobs that are bad or the models: those must still answer zeros."""
        self._failed_in_a_row = 0
        self._broken = True
        for artifact in self.artifacts:
            warm_up(artifact)
        self._broken = False

    def _collect(self, first: Assignment) -> list[Assignment]:
        """What there is to do together: all that lies here, and what other streams give within the time to wait.

        Nothing where a broker that is new comes in between: it knows nothing of these.
        """
        together = [first]
        began_s = time.monotonic()
        deadline_s = began_s + self._batching.wait_s
        self._company.hear(first.job.stream, began_s)
        while len(together) < self._batching.most:
            now_s = time.monotonic()
            lacking = self._company.lacks({one.job.stream for one in together}, now_s)
            left_s = max(0.0, deadline_s - now_s) if lacking else 0.0
            body = self._mailbox.receive(left_s) if left_s or self._mailbox.waiting() else None
            if isinstance(body, Welcome):
                self.on_connected()
                return []
            if isinstance(body, Assignment):
                together.append(body)
                self._company.hear(body.job.stream, now_s)
            elif not left_s:
                break
        return together

    def _answer(self, assignment: Assignment, taken_ns: int) -> FaceResult | SpeechResult | JobFailed:
        """The answer to one job; several are worked on at a time, so nothing of ours is changed here."""
        job = assignment.job
        try:
            with self._opening:
                reader = self._slots.reader(job.ring)
            answer = self.work(assignment, reader.view(job), taken_ns)
            if not reader.holds(job):
                raise SlotError(f"slot {job.slot} was overwritten while it was read")
        except SlotError as error:
            return failed(job, str(error), number=assignment.number, stale=True)
        except Exception as error:  # one bad job must not take the worker down
            log.exception("job %s/%s/%d failed", job.stream, job.modality, job.seq)
            because = f"{type(error).__name__} in the {job.modality} worker"
            return failed(job, because, number=assignment.number)
        return answer

    def on_idle(self) -> None:
        """Say again that we are free, in case the broker missed it."""
        self._mailbox.send(self._ready())

    def _ready(self) -> Ready:
        return Ready(last=self._last, capacity=self._batching.most, in_advance=self._in_advance)

    def figures(self) -> dict[str, float]:
        """Jobs done and the mean milliseconds of one."""
        mean_ms = self._busy_ns / self._done / 1e6 if self._done else 0.0
        return {"done": float(self._done), "mean_ms": round(mean_ms, 3)}

    def degraded_reason(self) -> str | None:
        """None: what fails here fails a job or the process."""
        return None

    def finished(self) -> int | None:
        """A worker is never done by itself."""
        return None

    def close(self) -> None:
        """Finish what was given already: a worker that leaves in order takes no job along. One whose models are broken
        leaves them to others."""
        for _ in range(0 if self._broken else max(1 + IN_ADVANCE, TIMES_IN_HAND * self._batching.most)):
            body = self._mailbox.receive(0.0) if self._mailbox.waiting() else None
            if body is None:
                break
            self.on_message(body)
        self._mailbox.flush()
        self._gathering.close()


# How many jobs a worker does at a time, and how long it waits for them. Pure.


# A GPU does eight as fast as one; a core does one after the other at no loss (docs/performance.md).
AUTO = {"cpu": (1, 0.0), "cuda": (8, 3.0)}

# A stream that gave no job for so long is not waited for.
SILENT_S = 1.0


class Batching(NamedTuple):
    """`most` jobs at a time, collected for `wait_s` seconds at most."""

    most: int = 1
    wait_s: float = 0.0


def batching(runtime: RuntimeSettings, provider: str) -> Batching:
    """What config.yaml says, or what suits the provider ("cpu" or "cuda") that is really active."""
    most, wait_ms = AUTO[provider]
    return Batching(
        most if runtime.max_batch == "auto" else runtime.max_batch,
        (wait_ms if runtime.max_wait_ms == "auto" else runtime.max_wait_ms) / 1000,
    )


class Company:
    """Which streams a worker has jobs of, and so whether waiting for more is worth it: with one stream it never is."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def hear(self, stream: str, now_s: float) -> None:
        """A job of this stream has come."""
        self._heard[stream] = now_s

    def lacks(self, here: Collection[str], now_s: float) -> bool:
        """Whether a stream that was heard lately has no job among those that are here."""
        self._heard = {stream: at for stream, at in self._heard.items() if now_s - at <= SILENT_S}
        return any(stream not in here for stream in self._heard)
