"""What face and audio workers share: take an assignment, read its slot, answer it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from broker.errors import SlotError
from broker.frames import RingShelf
from broker.mailbox import Mailbox
from broker.messages import Assignment, Body, FaceResult, JobFailed, Ready, SpeechResult, failed
from broker.remote_mailbox import Delivered, RemoteMailbox
from models.contract import Kind
from models.session import Artifact, open_artifact
from workers.actor import ActorSettings
from workers.settings import RuntimeSettings

log = logging.getLogger(__name__)

# The broker gives one job, in `every` one more in advance (broker/dispatch.py).
MOST_IN_HAND = 2


def open_model(path: str, kind: Kind, runtime: RuntimeSettings) -> Artifact:
    """A worker's artifact, opened as config.yaml's `runtime` says; raises ArtifactError or ProviderError."""
    return open_artifact(path, kind, provider=runtime.provider, threads=runtime.threads, spinning=runtime.spinning)


class JobWorker:
    """A worker without state: any of them takes any job. Subclasses load their models and do `work`."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        self.models: dict[str, str] = {}
        self._mailbox = mailbox
        self._shelf: RingShelf | Delivered = RingShelf(Path(settings.slots))
        if isinstance(mailbox, RemoteMailbox):
            self._shelf = mailbox.delivered
        self._last = 0
        self._done = 0
        self._busy_ns = 0

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> FaceResult | SpeechResult:
        """The answer to a job whose data is `data` (a read-only view of the slot)."""
        raise NotImplementedError

    def welcome(self) -> None:
        """A broker that is new to us numbers its assignments from 1."""
        self._last = 0
        self._mailbox.send(Ready(last=0))

    def handle(self, body: Body) -> None:
        """Answer an assignment."""
        if isinstance(body, Assignment):
            self._mailbox.send(self._answer(body))
            self._last = body.number

    def _answer(self, assignment: Assignment) -> FaceResult | SpeechResult | JobFailed:
        job = assignment.job
        taken_ns = time.monotonic_ns()
        try:
            reader = self._shelf.reader(job.ring)
            answer = self.work(assignment, reader.view(job), taken_ns)
            if not reader.holds(job):
                raise SlotError(f"slot {job.slot} was overwritten while it was read")
        except SlotError as error:
            return failed(job, str(error), number=assignment.number, stale=True)
        except Exception as error:  # one bad job must not take the worker down
            log.exception("job %s/%s/%d failed", job.stream, job.modality, job.seq)
            because = f"{type(error).__name__} in the {job.modality} worker"
            return failed(job, because, number=assignment.number)
        self._done += 1
        self._busy_ns += time.monotonic_ns() - taken_ns
        return answer

    def idle(self) -> None:
        """Say again that we are free, in case the broker missed it."""
        self._mailbox.send(Ready(last=self._last))

    def figures(self) -> dict[str, float]:
        """Jobs done and the mean milliseconds of one."""
        mean_ms = self._busy_ns / self._done / 1e6 if self._done else 0.0
        return {"done": float(self._done), "mean_ms": round(mean_ms, 3)}

    def trouble(self) -> str | None:
        """None: what fails here fails a job or the process."""
        return None

    def finished(self) -> int | None:
        """A worker is never done by itself."""
        return None

    def close(self) -> None:
        """Finish what was given already: a worker that leaves in order takes no job along."""
        for _ in range(MOST_IN_HAND):
            body = self._mailbox.receive(0.0) if self._mailbox.waiting() else None
            if body is None:
                return
            self.handle(body)
