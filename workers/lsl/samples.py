"""An event as one sample of numbers, and when it was. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from broker.messages import Emotion, Job, Probabilities, TrackedFace
from models.emotions import EMOTIONS

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

    `fused` and `video` are those of the face that the event's emotion is about. Where the voice decides alone,
    `fused` is what `speech` is.
    """
    face = spoken_for(event)
    speech = event.speech.probabilities if event.speech is not None else None
    fused = face.fused if face is not None else speech if event.emotion.confidence is not None else None
    return [
        *_seven(fused),
        *_seven(face.video if face is not None else None),
        *_seven(speech),
        _number(event.emotion.confidence),
        _number(event.emotion.agreement),
        float(len(event.faces)),
    ]


def spoken_for(event: Emotion) -> TrackedFace | None:
    """The face whose emotion is the event's: the only one with exactly its confidence."""
    verdict = event.emotion
    for face in event.faces:
        if face.confidence == verdict.confidence and verdict.label in (None, face.label):
            return face
    return None


def _seven(probabilities: Probabilities | None) -> list[float]:
    return [_number((probabilities or {}).get(emotion)) for emotion in EMOTIONS]


def _number(value: float | None) -> float:
    return NAN if value is None else value


class GrabTimes:
    """When frames were grabbed, as their announcements on the bus say; kept until their events come."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._times: OrderedDict[tuple[str, int, int], int] = OrderedDict()

    def announced(self, job: Job) -> None:
        """A frame is announced."""
        self._times[job.stream, job.run, job.seq] = job.grab_ns
        while len(self._times) > self._most:
            self._times.popitem(last=False)

    def of(self, event: Emotion, now_ns: int) -> int:
        """The monotonic clock at the grab of what an event is about.

        Where its announcement was not heard (sound without a picture has none), it is as long before `now_ns` as
        the event says that it took.
        """
        known = self._times.pop((event.stream, event.run, event.seq), None)
        return known if known is not None else now_ns - round(event.latency_ms.total * 1e6)
