"""An event as one sample of numbers, and when it was. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from bimodal.broker.messages import Emotion, Job, Modality, Probabilities
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.verdict import fused, leading

NAN = float("nan")
# Frames whose event has not come; an event comes after some tens of milliseconds.
MOST_WAITING = 256


class Channel(NamedTuple):
    """One channel of the stream, as its metadata name it."""

    label: str
    unit: str
    type: str


GROUPS = ("fused", "video", "speech")
CHANNELS: tuple[Channel, ...] = (
    *(Channel(f"{group}_{emotion}", "probability", group) for group in GROUPS for emotion in EMOTIONS),
    Channel("confidence", "probability", "fused"),
    Channel("agreement", "probability", "fused"),
    Channel("faces", "count", "video"),
)


def sample(event: Emotion) -> list[float]:
    """The values of CHANNELS; NaN for what is unknown, or a model does not know.

    `fused` is the event's verdict, also where it is the voice's alone; `video` that of the face that it is about.
    """
    face = leading(event)
    speech = event.speech.probabilities if event.speech is not None else None
    return [
        *_seven(fused(event)),
        *_seven(face.video if face is not None else None),
        *_seven(speech),
        _number(event.emotion.confidence),
        _number(event.emotion.agreement),
        float(len(event.faces)),
    ]


def _seven(probabilities: Probabilities | None) -> list[float]:
    return [_number((probabilities or {}).get(emotion)) for emotion in EMOTIONS]


def _number(value: float | None) -> float:
    return NAN if value is None else value


class GrabTimes:
    """When frames and speech windows were grabbed, as their announcements on the bus say; kept until their events come.

    An event is about a frame, or about a window where a stream has no picture; their numbers are counted apart.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._times: OrderedDict[tuple[str, int, Modality, int], int] = OrderedDict()
        self._pictured: dict[str, int] = {}

    def announced(self, job: Job) -> None:
        """A frame or a window is announced."""
        if job.modality == "face":
            self._pictured[job.stream] = job.run
        elif self._pictured.get(job.stream) == job.run:
            return
        self._times[job.stream, job.run, job.modality, job.seq] = job.grab_ns
        while len(self._times) > self._most:
            self._times.popitem(last=False)

    def of(self, event: Emotion, now_ns: int) -> int:
        """The monotonic clock at the grab of what an event is about.

        Where its announcement was not heard, it is as long before `now_ns` as the event says that it took.
        """
        modality: Modality = "face" if self._pictured.get(event.stream) == event.run else "speech"
        known = self._times.pop((event.stream, event.run, modality, event.seq), None)
        return known if known is not None else now_ns - round(event.latency_ms.total * 1e6)
