"""Micro-batching: jobs run in threads; their concurrent calls to one model are merged into a single run.

Each job is a plain function, unaware of the others. It runs in a thread of its own until it calls a model. Once every
job has called one or ended, calls with matching inputs are concatenated along the first axis, run once, and their
outputs split again. Models run in the caller's thread only, because CUDA graphs belong to a thread. Between runs the
jobs share the cores as far as OpenCV and numpy release the interpreter lock.
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
class ModelCall:
    """A job's call to a model. Once `done` is set, `outputs` or `error` is valid.

    Attributes:
        place: number of the job among those that run at the same time.
    """

    place: int
    artifact: Artifact
    inputs: Arrays
    outputs: Arrays = field(default_factory=dict)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def rows(self) -> int:
        """Length of the inputs along the first axis."""
        return len(next(iter(self.inputs.values())))


class MicroBatcher:
    """Runs up to `most` jobs at a time and merges their calls to models."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._threads: ThreadPoolExecutor | None = None
        self._here = threading.local()
        self._change = threading.Condition()
        self._working = 0
        self._calls: list[ModelCall] = []

    def join(self, artifact: Artifact) -> Artifact:
        """Wrap an artifact: calls from jobs of `run_all` are merged, calls from anywhere else run at once."""
        return artifact.with_run(self.run)

    def run_all(self, jobs: Sequence[Callable[[], T]]) -> list[T]:
        """Run the jobs and return their results in order. Raises a job's exception once all jobs have ended."""
        if len(jobs) == 1:
            return [jobs[0]()]
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.most, thread_name_prefix="job")
        self._working = len(jobs)
        futures = [self._threads.submit(self._work, job, place) for place, job in enumerate(jobs)]
        while calls := self._collect_calls():
            for group in groups(calls):
                run_group(group)
        return [future.result() for future in futures]

    def _work(self, job: Callable[[], T], place: int) -> T:
        self._here.place = place
        try:
            return job()
        finally:
            with self._change:
                self._working -= 1
                self._change.notify()

    def _collect_calls(self) -> list[ModelCall]:
        """Wait until every job has called a model or ended.

        The calls in the order of the jobs; empty once all have ended.
        """
        with self._change:
            self._change.wait_for(lambda: self._working == 0)
            calls, self._calls = sorted(self._calls, key=lambda call: call.place), []
            self._working = len(calls)
        return calls

    def run(self, artifact: Artifact, inputs: Arrays) -> Arrays:
        """Run an artifact, merged with the calls of other jobs where possible."""
        place: int | None = getattr(self._here, "place", None)
        if place is None:
            return artifact.run(**inputs)
        call = ModelCall(place, artifact, inputs)
        with self._change:
            self._calls.append(call)
            self._working -= 1
            self._change.notify()
        call.done.wait()
        if call.error is not None:
            raise call.error
        return call.outputs

    def close(self) -> None:
        """Shut the threads down."""
        if self._threads is not None:
            self._threads.shutdown()
            self._threads = None


def groups(calls: Sequence[ModelCall]) -> list[list[ModelCall]]:
    """Group the calls that can be merged into one run.

    Same artifact with a free first axis, same dtypes and other axes.
    """
    found: dict[object, list[ModelCall]] = {}
    for call in calls:
        alike = tuple((name, value.dtype.str, value.shape[1:]) for name, value in sorted(call.inputs.items()))
        together = (id(call.artifact), alike) if call.artifact.batches else id(call)
        found.setdefault(together, []).append(call)
    return list(found.values())


def run_group(group: Sequence[ModelCall]) -> None:
    """Run a group once and split the outputs.

    If that fails, run each call alone, so that a bad input fails only its job.
    """
    if len(group) > 1:
        try:
            _run_together(group)
        except Exception:  # ONNX Runtime's own classes, out of memory: each alone shows whose fault it is
            for call in group:
                _run_alone(call)
    else:
        _run_alone(group[0])
    for call in group:
        call.done.set()


def _run_together(group: Sequence[ModelCall]) -> None:
    artifact = group[0].artifact
    outputs = artifact.run(**{name: np.concatenate([call.inputs[name] for call in group]) for name in group[0].inputs})
    ends = np.cumsum([call.rows for call in group])
    if any(len(values) != ends[-1] for values in outputs.values()):
        raise ValueError("an output that has not a row for each row of the input")
    for call, end in zip(group, ends, strict=True):
        call.outputs = {name: values[end - call.rows : end] for name, values in outputs.items()}


def _run_alone(call: ModelCall) -> None:
    try:
        call.outputs = call.artifact.run(**call.inputs)
    except Exception as error:
        call.error = error
