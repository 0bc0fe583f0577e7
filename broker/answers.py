"""Bounds on the answers of workers, which may be on another machine, or broken: a wrong answer is no answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

import msgspec

from bimodal.broker.messages import MOST_FOLLOWED, Face, FaceResult, Hints, Job, JobFailed, SpeechResult

Answer = FaceResult | SpeechResult | JobFailed

MOST_FACES = 256
MOST_NAMES = 64
MOST_MEASURES = 256
MOST_WORDS = 500
MOST_EMBEDDING_BYTES = 1 << 16
MOST_NS = 10**15
# Of every number of a face or a voice (pixels, degrees, Hz, dB): none is anywhere near.
MOST_NUMBER = 1e6
# Rounding, for probabilities and the like.
SLACK = 1e-3
# Hints are for frames so much later at most (workers/face/pipeline.py); else one answer would blind a stream for ever.
MOST_AHEAD_NS = 10_000_000_000


def fault(answer: Answer, job: Job) -> str | None:
    """Name the fault of an answer to `job` in a few words; None where there is none."""
    modality = (
        answer.modality if isinstance(answer, JobFailed) else "face" if isinstance(answer, FaceResult) else "speech"
    )
    named = (answer.stream, answer.run, modality, answer.seq)
    if named != (job.stream, job.run, job.modality, job.seq):
        return f"it is for {answer.stream}/{modality}/{answer.seq} and not for {job.stream}/{job.modality}/{job.seq}"
    if (answer.pts_ns, answer.grab_ns) != (job.pts_ns, job.grab_ns):
        return "its time is not that of the job"
    if isinstance(answer, JobFailed):
        return f"its reason has {len(answer.because)} characters" if len(answer.because) > MOST_WORDS else None
    return _fault_of_result(answer, job)


def _fault_of_result(answer: FaceResult | SpeechResult, job: Job) -> str | None:
    if not all(-MOST_NS <= spent <= MOST_NS for spent in (answer.queue_ns, answer.inference_ns, answer.waited_ns)):
        return "its durations can't be"
    if len(answer.models) > MOST_NAMES or any(
        len(kind) + len(name) > MOST_WORDS for kind, name in answer.models.items()
    ):
        return "its models have no names"
    if isinstance(answer, SpeechResult):
        if not 0 <= answer.voice <= 1:
            return f"its voice is {answer.voice}"
        for share in (answer.valence, answer.arousal, answer.dominance):
            if share is not None and not -1 - SLACK <= share <= 1 + SLACK:
                return f"its voice has the affect {share}"
        found = _fault_of_numbers(answer) or _fault_of_probabilities(answer.probabilities or {})
        return found or _fault_of_probabilities(answer.other)
    if answer.frame not in (None, (job.shape[1], job.shape[0])) or answer.size not in (None, job.size):
        return "its frame has another size"
    if len(answer.faces) > MOST_FACES:
        return f"it has {len(answer.faces)} faces"
    for face in answer.faces:
        found = _fault_of_numbers(face) or _fault_of_face(face, job)
        if found is not None:
            return found
    return _fault_of_hints(answer.hints, job) if answer.hints is not None else None


def _fault_of_hints(hints: Hints, job: Job) -> str | None:
    late = hints.until_ns is not None and hints.until_ns > job.pts_ns + MOST_AHEAD_NS
    if late or hints.until > job.seq + MOST_FOLLOWED:
        return "its hints are for frames that are too far ahead"
    return _fault_of_numbers(hints)


def _fault_of_face(face: Face, job: Job) -> str | None:
    height, width = job.shape[:2]
    x, y, wide, high = face.box
    near = -width <= x <= 2 * width and -height <= y <= 2 * height
    if not near or not 0 <= wide <= 2 * width or not 0 <= high <= 2 * height:
        return f"a face lies at {face.box} in a frame of {width} x {height}"
    if not 0 <= face.score <= 1:
        return f"a face has the score {face.score}"
    affect = (face.measures.valence, face.measures.arousal) if face.measures is not None else ()
    if any(value is not None and not -1 - SLACK <= value <= 1 + SLACK for value in affect):
        return f"a face has the affect {affect}"
    if face.embedding is not None and len(face.embedding) > MOST_EMBEDDING_BYTES:
        return f"an embedding has {len(face.embedding)} bytes"
    measures = face.measures
    for named in (measures.blend, measures.units) if measures is not None else ():
        if named is not None and (len(named) > MOST_MEASURES or any(len(name) > MOST_WORDS for name in named)):
            return "a face has too many measures"
    return _fault_of_probabilities(face.probabilities) or _fault_of_probabilities(face.other)


def _fault_of_probabilities(values: Mapping[str, float]) -> str | None:
    if len(values) > MOST_NAMES or any(len(name) > MOST_WORDS for name in values):
        return "it has too many emotions"
    return None if all(-SLACK <= value <= 1 + SLACK for value in values.values()) else "its probabilities are none"


def _fault_of_numbers(value: object) -> str | None:
    return None if _bounded(value) else f"it holds numbers that are none, or beyond {MOST_NUMBER:g}"


_NO_NUMBERS = (str, bytes, int, bool, type(None))
"""Types in which nothing can be infinite; the most frequent ones of an answer beside float."""


def _bounded(value: object) -> bool:
    """True where every fraction in a value is a number and within bounds."""
    if isinstance(value, float):
        return -MOST_NUMBER <= value <= MOST_NUMBER
    parts: Iterable[object]
    if isinstance(value, msgspec.Struct):
        parts = msgspec.structs.astuple(value)
    elif isinstance(value, dict):
        parts = value.values()
    elif isinstance(value, tuple | list):
        parts = value
    else:
        return True
    # An answer has some hundred numbers, each looked at once a frame: no call for each.
    for part in parts:
        if type(part) is float:
            if not -MOST_NUMBER <= part <= MOST_NUMBER:
                return False
        elif type(part) not in _NO_NUMBERS and not _bounded(part):
            return False
    return True


# Agreement of workers that are tried with those on duty.

MOST_JOBS = 256


def label_of(answer: FaceResult | SpeechResult) -> str | None:
    """The most probable emotion of an answer, of the largest face; None where it has none."""
    if isinstance(answer, SpeechResult):
        probabilities = answer.probabilities or {}
    else:
        largest = max(answer.faces, key=lambda face: face.box[2] * face.box[3], default=None)
        probabilities = largest.probabilities if largest is not None else {}
    return max(probabilities, key=probabilities.__getitem__, default=None)


class Agreement:
    """Compares the labels of tried workers with those of the workers on duty, job by job, whichever comes first."""

    def __init__(self) -> None:
        self._duty: OrderedDict[tuple[str, int, str, int], str | None] = OrderedDict()
        self._tried: OrderedDict[tuple[str, int, str, int], list[tuple[str, str | None]]] = OrderedDict()
        self._counts: dict[str, list[int]] = {}

    def add(self, tried: str | None, job: Job, label: str | None) -> None:
        """Add an answer of a worker that is `tried`, or of one on duty (None)."""
        key = (job.stream, job.run, job.modality, job.seq)
        if tried is None:
            self._duty[key] = label
            for name, other in self._tried.pop(key, []):
                self._count(name, other == label)
        elif key in self._duty:
            self._count(tried, self._duty[key] == label)
        else:
            self._tried.setdefault(key, []).append((tried, label))
        for kept in (self._duty, self._tried):
            while len(kept) > MOST_JOBS:
                kept.popitem(last=False)

    def _count(self, name: str, same: bool) -> None:
        counts = self._counts.setdefault(name, [0, 0])
        counts[0] += 1
        counts[1] += same

    def of(self, name: str) -> tuple[int, int]:
        """Jobs compared, and those with the same label."""
        compared, agreed = self._counts.get(name, (0, 0))
        return compared, agreed
