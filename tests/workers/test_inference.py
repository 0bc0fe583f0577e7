"""How workers take jobs and answer them: several at a time, and one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bimodal.broker.frames import Ring
from bimodal.broker.messages import Assignment, Body, FaceResult, Job, JobFailed, Ready, Welcome
from bimodal.models.errors import ArtifactError
from bimodal.models.session import Artifact, open_artifact
from bimodal.workers import inference
from bimodal.workers.actor import ActorSettings
from bimodal.workers.inference import Batching, JobWorker
from tests.artifacts import make_face_static

SLOTS = 8


class Letters:
    """A mailbox in which everything lies already."""

    def __init__(self) -> None:
        self.to_come: deque[Body] = deque()
        self.sent: list[Body] = []
        self.messages: list[list[Body]] = []
        self._soon: list[Body] = []

    def send(self, body: Body) -> None:
        self.send_soon(body)
        self.flush()

    def send_soon(self, body: Body) -> None:
        self.sent.append(body)
        self._soon.append(body)

    def flush(self) -> None:
        if self._soon:
            self.messages.append(self._soon)
            self._soon = []

    def read_ahead(self) -> int:
        return len(self.to_come)

    def waiting(self) -> bool:
        return bool(self.to_come)

    def receive(self, timeout_s: float) -> Body | None:
        return self.to_come.popleft() if self.to_come else None


class Reader(JobWorker):
    """Reads one crop with a tiny model; black ones it can't bear."""

    def __init__(self, settings: ActorSettings, letters: Letters, static: Artifact, batching: Batching) -> None:
        super().__init__(settings, letters)
        self.artifacts = (static,)
        self._static = self.enable_batching(batching).join(static)

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
    made = reader(tmp_path, letters, Batching(4, 10.0))
    yield made
    made.close()


@pytest.fixture
def one_by_one(tmp_path: Path, ring: Ring, letters: Letters, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A worker that is quick, however busy this machine is."""
    for bound in ("QUICK_NS", "SLOW_NS", "HELD_BACK_NS"):
        monkeypatch.setattr(inference, bound, 10**12)
    made = reader(tmp_path, letters, Batching())
    yield made
    made.close()


def reader(folder: Path, letters: Letters, batching: Batching) -> Reader:
    static = open_artifact(make_face_static(folder / "model.onnx"), provider="cpu")
    settings = ActorSettings(name="face 1", incarnation=1, role="worker", directory="", slots=str(folder))
    return Reader(settings, letters, static, batching)


def work_off(worker: Reader, letters: Letters) -> None:
    """As an actor's loop does."""
    while (body := letters.receive(0.0)) is not None:
        worker.on_message(body)
    letters.flush()


def answers_of(letters: Letters) -> list[list[int]]:
    """The numbers of the answers that left together."""
    found = [
        [body.number for body in message if isinstance(body, FaceResult | JobFailed)] for message in letters.messages
    ]
    return [numbers for numbers in found if numbers]


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
    worker.on_connected()
    worker.on_idle()
    assert letters.sent == [Ready(last=0, capacity=4)] * 2


def test_what_lies_there_is_done_together_and_answered_in_order(worker: Reader, letters: Letters, ring: Ring) -> None:
    given = assignments(ring, "aabbccd", range(1, 8))
    letters.to_come.extend(given[1:])
    worker.on_message(given[0])
    assert numbers(letters.sent, FaceResult) == [1, 2, 3, 4]
    assert len(letters.to_come) == 3
    worker.close()
    assert numbers(letters.sent, FaceResult) == [1, 2, 3, 4, 5, 6, 7]
    assert worker.figures()["done"] == 7
    letters.sent.clear()
    worker.on_idle()
    assert letters.sent == [Ready(last=7, capacity=4)]


def test_a_bad_job_fails_alone(worker: Reader, letters: Letters, ring: Ring) -> None:
    given = assignments(ring, "abcd", (9, 0, 9, 9))
    ring.write(3, np.full((48, 48, 3), 1, np.uint8))
    letters.to_come.extend(given[1:])
    worker.on_message(given[0])
    assert [body.number for body in letters.sent if isinstance(body, FaceResult | JobFailed)] == [1, 2, 3, 4]
    assert numbers(letters.sent, FaceResult) == [1, 3]
    black, overwritten = (body for body in letters.sent if isinstance(body, JobFailed))
    assert (black.because, black.stale) == ("ValueError in the face worker", False)
    assert (overwritten.number, overwritten.stale) == (4, True)


def test_many_bad_jobs_are_the_jobs_fault_as_long_as_the_models_answer(
    one_by_one: Reader, letters: Letters, ring: Ring
) -> None:
    for _ in range(3):
        letters.to_come.extend(assignments(ring, "aaaaaaaa", [0] * 8))
        work_off(one_by_one, letters)
    assert len(numbers(letters.sent, JobFailed)) == 24


@pytest.mark.parametrize("worker_name", ["one_by_one", "worker"])
def test_models_that_answer_no_more_end_the_worker_and_it_leaves_its_jobs_to_others(
    worker_name: str, request: pytest.FixtureRequest, letters: Letters, ring: Ring
) -> None:
    worker: Reader = request.getfixturevalue(worker_name)

    def lost(_inputs: object) -> dict[str, NDArray[Any]]:
        raise RuntimeError("the device is lost")

    worker.artifacts[0]._run = lost
    letters.to_come.extend(assignments(ring, "aaaabbbb", [9] * 8))
    with pytest.raises(ArtifactError, match="the device is lost"):
        work_off(worker, letters)
    letters.to_come.extend(assignments(ring, "a", [9]))
    worker.close()
    assert len(letters.to_come) == 1
    assert numbers(letters.sent, FaceResult) == []


def test_a_new_broker_gets_no_answers_to_what_the_old_one_asked(worker: Reader, letters: Letters, ring: Ring) -> None:
    given = assignments(ring, "abc", (1, 2, 3))
    letters.to_come.extend([given[1], Welcome(fresh=True), given[2]])
    worker.on_message(given[0])
    assert letters.sent == [Ready(last=0, capacity=4)]
    assert list(letters.to_come) == [given[2]]


def test_answers_of_a_quick_worker_leave_together_but_the_last_job_but_one_brings_the_next(
    one_by_one: Reader, letters: Letters, ring: Ring
) -> None:
    given = assignments(ring, "aaaaaaaa", (9, 9, 0, 9, 9, 9, 9, 9))
    letters.to_come.extend(given[:1])
    work_off(one_by_one, letters)
    assert answers_of(letters) == [[1]]
    assert Ready(last=1, in_advance=4) in letters.sent, "it has found that it is quick"
    letters.to_come.extend(given[1:6])
    work_off(one_by_one, letters)
    assert answers_of(letters) == [[1], [2, 3, 4, 5], [6]]
    letters.to_come.extend(given[6:])
    work_off(one_by_one, letters)
    assert answers_of(letters) == [[1], [2, 3, 4, 5], [6], [7], [8]], "with one in advance nothing is held back"
    assert numbers(letters.sent, JobFailed) == [3]


def test_no_more_answers_are_held_back_than_it_takes_in_advance(
    one_by_one: Reader, letters: Letters, ring: Ring
) -> None:
    letters.to_come.extend(assignments(ring, "aaaaaaaa", [9] * 8))
    work_off(one_by_one, letters)
    assert answers_of(letters) == [[1, 2, 3, 4], [5, 6, 7], [8]]


def test_a_slow_worker_answers_each_job_at_once(
    one_by_one: Reader, letters: Letters, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "HELD_BACK_NS", 0)
    letters.to_come.extend(assignments(ring, "aaaaa", [9] * 5))
    work_off(one_by_one, letters)
    assert answers_of(letters) == [[1], [2], [3], [4], [5]]
    monkeypatch.setattr(inference, "SLOW_NS", 0)
    letters.to_come.extend(assignments(ring, "aa", [9] * 2))
    work_off(one_by_one, letters)
    assert Ready(last=1, in_advance=1) in letters.sent, "it wants no more than one in advance now"
