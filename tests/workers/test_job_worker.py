"""A worker that does several jobs at a time answers each by itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from broker.frames import Ring
from broker.messages import Assignment, Body, FaceResult, Job, JobFailed, Ready, Welcome
from models.session import Artifact, open_artifact
from tests.artifacts import make_face_static
from workers.actor import ActorSettings
from workers.batching import Batching
from workers.job_worker import JobWorker

SLOTS = 8


class Letters:
    """A mailbox in which everything lies already."""

    def __init__(self) -> None:
        self.to_come: deque[Body] = deque()
        self.sent: list[Body] = []

    def send(self, body: Body) -> None:
        self.sent.append(body)

    send_soon = send

    def flush(self) -> None:
        """Nothing waits here."""

    def waiting(self) -> bool:
        return bool(self.to_come)

    def receive(self, timeout_s: float) -> Body | None:
        return self.to_come.popleft() if self.to_come else None


class Reader(JobWorker):
    """Reads one crop with a tiny model; black ones it can't bear."""

    def __init__(self, settings: ActorSettings, letters: Letters, static: Artifact, batching: Batching) -> None:
        super().__init__(settings, letters)
        self._static = self.do_together(batching).join(static)

    def work(self, assignment: Assignment, data: NDArray[Any], taken_ns: int) -> FaceResult:
        if not data.any():
            raise ValueError("black")
        job = assignment.job
        self._static.run(faces=data[None])
        return FaceResult(
            number=assignment.number,
            stream=job.stream,
            run=job.run,
            seq=job.seq,
            pts_ns=job.pts_ns,
            grab_ns=job.grab_ns,
            faces=(),
            queue_ns=0,
            inference_ns=0,
        )


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Ring]:
    made = Ring(tmp_path, "ring", SLOTS, 48 * 48 * 3)
    yield made
    made.unlink()


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def worker(tmp_path: Path, ring: Ring, letters: Letters) -> Iterator[Reader]:
    static = open_artifact(make_face_static(tmp_path / "model.onnx"), provider="cpu")
    settings = ActorSettings(name="face 1", incarnation=1, role="worker", directory="", slots=str(tmp_path))
    made = Reader(settings, letters, static, Batching(4, 10.0))
    yield made
    made.close()


def assignments(ring: Ring, streams: Sequence[str], values: Sequence[int]) -> list[Assignment]:
    made = []
    for place, (stream, value) in enumerate(zip(streams, values, strict=True)):
        generation = ring.write(place, np.full((48, 48, 3), value, np.uint8))
        job = Job(
            stream=stream,
            run=1,
            modality="face",
            seq=place,
            pts_ns=0,
            grab_ns=0,
            ring=ring.name,
            slot=place,
            generation=generation,
            shape=(48, 48, 3),
        )
        made.append(Assignment(number=place + 1, job=job))
    return made


def numbers(sent: Sequence[Body], kind: type[FaceResult] | type[JobFailed]) -> list[int]:
    return [body.number for body in sent if isinstance(body, kind)]


def test_it_says_how_many_it_takes(worker: Reader, letters: Letters) -> None:
    worker.welcome()
    worker.idle()
    assert letters.sent == [Ready(last=0, capacity=4)] * 2


def test_what_lies_there_is_done_together_and_answered_in_order(worker: Reader, letters: Letters, ring: Ring) -> None:
    given = assignments(ring, "aabbccd", range(1, 8))
    letters.to_come.extend(given[1:])
    worker.handle(given[0])
    assert numbers(letters.sent, FaceResult) == [1, 2, 3, 4]
    assert len(letters.to_come) == 3
    worker.close()
    assert numbers(letters.sent, FaceResult) == [1, 2, 3, 4, 5, 6, 7]
    assert worker.figures()["done"] == 7
    letters.sent.clear()
    worker.idle()
    assert letters.sent == [Ready(last=7, capacity=4)]


def test_a_bad_job_fails_alone(worker: Reader, letters: Letters, ring: Ring) -> None:
    given = assignments(ring, "abcd", (9, 0, 9, 9))
    ring.write(3, np.full((48, 48, 3), 1, np.uint8))
    letters.to_come.extend(given[1:])
    worker.handle(given[0])
    assert [body.number for body in letters.sent if isinstance(body, FaceResult | JobFailed)] == [1, 2, 3, 4]
    assert numbers(letters.sent, FaceResult) == [1, 3]
    black, overwritten = (body for body in letters.sent if isinstance(body, JobFailed))
    assert (black.because, black.stale) == ("ValueError in the face worker", False)
    assert (overwritten.number, overwritten.stale) == (4, True)


def test_a_new_broker_gets_no_answers_to_what_the_old_one_asked(worker: Reader, letters: Letters, ring: Ring) -> None:
    given = assignments(ring, "abc", (1, 2, 3))
    letters.to_come.extend([given[1], Welcome(fresh=True), given[2]])
    worker.handle(given[0])
    assert letters.sent == [Ready(last=0, capacity=4)]
    assert list(letters.to_come) == [given[2]]
