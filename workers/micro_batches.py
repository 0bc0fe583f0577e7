"""Several jobs at once: what each asks of a model meets what the others ask, and is answered by one run for all.

Each job is a plain function that knows nothing of the others. It runs in a thread of its own until it asks for a run of
a model; when every one asks or has ended, what can go together is joined along the first axis, run once, and shared
out. Models are run in the caller's thread only: CUDA graphs belong to a thread. Between runs the jobs share the cores
as far as OpenCV and numpy let go of the interpreter.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bimodal.models.session import Artifact

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")


@dataclass
class Asked:
    """One job's question to a model, and its answer once `done` is set. `place` is the job's among the others."""

    place: int
    artifact: Artifact
    inputs: Arrays
    answer: Arrays = field(default_factory=dict)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def rows(self) -> int:
        """How long its inputs are along the first axis."""
        return len(next(iter(self.inputs.values())))


class Gathering:
    """Runs functions together; `most` of them at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._threads: ThreadPoolExecutor | None = None
        self._here = threading.local()
        self._change = threading.Condition()
        self._working = 0
        self._asked: list[Asked] = []

    def join(self, artifact: Artifact) -> Artifact:
        """The artifact as jobs of `run_all` must use it; anywhere else it is the artifact itself."""
        return artifact.with_run(self.ask)

    def run_all(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """What each returns, in their order. Raises what a job raises, when all have ended."""
        if len(jobs) == 1:
            return [jobs[0]()]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.most, thread_name_prefix="job")
        self._working = len(jobs)
        futures = [self._threads.submit(self._work, job, place) for place, job in enumerate(jobs)]
        while asked := self._all_that_ask():
            for group in groups(asked):
                answer(group)
        return [future.result() for future in futures]

    def _work(self, job: Callable[[], T], place: int) -> T:
        self._here.place = place
        try:
            return job()
        finally:
            with self._change:
                self._working -= 1
                self._change.notify()

    def _all_that_ask(self) -> list[Asked]:
        """Wait until nobody works any more: who asks, in the order of the jobs; nobody once all have ended."""
        with self._change:
            self._change.wait_for(lambda: self._working == 0)
            asked, self._asked = sorted(self._asked, key=lambda one: one.place), []
            self._working = len(asked)
        return asked

    def ask(self, artifact: Artifact, inputs: Arrays) -> Arrays:
        """Run an artifact, together with others that ask for the same."""
        place: int | None = getattr(self._here, "place", None)
        if place is None:
            return artifact.run(**inputs)
        asked = Asked(place, artifact, inputs)
        with self._change:
            self._asked.append(asked)
            self._working -= 1
            self._change.notify()
        asked.done.wait()
        if asked.error is not None:
            raise asked.error
        return asked.answer

    def close(self) -> None:
        """Let go of the threads."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


def groups(asked: Sequence[Asked]) -> list[list[Asked]]:
    """What can be one run: of the same artifact, with a free first axis, alike in everything else."""
    found: dict[object, list[Asked]] = {}
    for one in asked:
        alike = tuple((name, value.dtype.str, value.shape[1:]) for name, value in sorted(one.inputs.items()))
        together = (id(one.artifact), alike) if one.artifact.batches else id(one)
        found.setdefault(together, []).append(one)
    return list(found.values())


def answer(group: Sequence[Asked]) -> None:
    """Run a group once and share out what came. Where that fails, each is run alone, so that one can't harm another."""
    if len(group) > 1:
        try:
            _answer_together(group)
        except Exception:  # ONNX Runtime's own classes, memory that is not there: whose fault it is shows below
            for one in group:
                _answer_alone(one)
    else:
        _answer_alone(group[0])
    for one in group:
        one.done.set()


def _answer_together(group: Sequence[Asked]) -> None:
    artifact = group[0].artifact
    outputs = artifact.run(**{name: np.concatenate([one.inputs[name] for one in group]) for name in group[0].inputs})
    ends = np.cumsum([one.rows for one in group])
    if any(len(values) != ends[-1] for values in outputs.values()):
        raise ValueError("an output that has not a row for each row of the input")
    for one, end in zip(group, ends, strict=True):
        one.answer = {name: values[end - one.rows : end] for name, values in outputs.items()}


def _answer_alone(one: Asked) -> None:
    try:
        one.answer = one.artifact.run(**one.inputs)
    except Exception as error:
        one.error = error
