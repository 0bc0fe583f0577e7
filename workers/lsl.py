"""The process that tells the Lab Streaming Layer what the bus tells."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from bimodal.broker.events import Emotion, Probabilities, fused, leading
from bimodal.broker.mailbox import Mailbox, Subscriber
from bimodal.broker.messages import Body, Job, Modality
from bimodal.broker.sockets import events_endpoint
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.settings import LslActorSettings

log = logging.getLogger(__name__)

POLL_S = 0.1
JOIN_S = 1.0


class LslActor:
    """A thread reads the bus and pushes: a sample must not wait for the mailbox's turn."""

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:  # noqa: ARG002
        """Open the outlets of all streams, so that recorders find them first. Raises WorkerError without pylsl."""
        self.models: dict[str, str] = {}
        mine = own(settings, LslActorSettings)
        directory = Path(settings.directory)
        self._session = directory.name
        self._layer = Layer(machine_only=mine.lsl == "machine")
        self._outlets: dict[str, Outlets] = {}
        for stream in mine.streams:
            self._of(stream)
        self._grabs = GrabTimes()
        self._sent = 0
        self._error: Exception | None = None
        self._stopped = threading.Event()
        self._bus = Subscriber(events_endpoint(directory), ["emotion.", "frame.", "sound."])
        self._thread = threading.Thread(target=self._read, name="lsl", daemon=True)
        self._thread.start()

    def _of(self, stream: str) -> Outlets:
        if stream not in self._outlets:
            self._outlets[stream] = self._layer.outlets(self._session, stream)
        return self._outlets[stream]

    def _read(self) -> None:
        try:
            while not self._stopped.is_set():
                found = self._bus.receive(POLL_S)
                if found is not None:
                    self._take(found[1])
        except Exception as error:
            log.exception("sending to the Lab Streaming Layer failed")
            self._error = error

    def _take(self, body: Body) -> None:
        match body:
            case Job():
                self._grabs.announced(body)
            case Emotion():
                self._of(body.stream).push(body, self._grabs.of(body, time.monotonic_ns()))
                self._sent += 1
            case _:
                pass

    def welcome(self) -> None:
        """Nothing is held."""

    def handle(self, body: Body) -> None:
        """The broker has no work for who only listens."""

    def idle(self) -> None:
        """Nothing to do."""

    def figures(self) -> dict[str, float]:
        """Samples sent."""
        return {"sent": float(self._sent)}

    def trouble(self) -> str | None:
        """None: nobody needs to listen."""
        return None

    def finished(self) -> int | None:
        """Never by itself."""
        if self._error is not None:
            raise WorkerError(f"events can't be sent to the Lab Streaming Layer: {self._error}") from self._error
        return None

    def close(self) -> None:
        """Stop; recorders see the streams end."""
        self._stopped.set()
        self._thread.join(JOIN_S)
        self._bus.close()
        self._outlets.clear()


# Outlets of the Lab Streaming Layer: the only file that imports pylsl, and only when it is wanted.


MISSING = "outputs.lsl needs the package pylsl: pip install 'bimodal-emotion[lsl]'"
# Seconds that are kept for a recorder whose connection stumbles; of an irregular stream, LSL takes 100 samples each.
KEPT_S = 60
UNKNOWN = "unknown"
MACHINE_ONLY = "[multicast]\nResolveScope = machine\n"


class Layer:
    """The library, set up once in a process. Raises WorkerError where it is missing."""

    def __init__(self, *, machine_only: bool) -> None:
        """`machine_only` keeps the streams from being found from other machines."""
        try:
            import pylsl
        except (ImportError, RuntimeError, OSError) as error:
            raise WorkerError(MISSING) from error
        if machine_only:
            pylsl.set_config_content(MACHINE_ONLY)
        self._pylsl: Any = pylsl

    def outlets(self, session: str, stream: str) -> Outlets:
        """The outlets of one stream, to be found at once."""
        return Outlets(self._pylsl, session, stream)


class Outlets:
    """Of one stream: its numbers, one sample an event, and a marker whenever its label changes."""

    def __init__(self, pylsl: Any, session: str, stream: str) -> None:
        self._pylsl = pylsl
        self._label: str | None = None
        self._numbers = pylsl.StreamOutlet(self._info(session, stream), 0, KEPT_S)
        self._labels = pylsl.StreamOutlet(self._labels_info(session, stream), 0, KEPT_S)

    def push(self, event: Emotion, grab_ns: int) -> None:
        """Send an event's sample, at the time of its grab; `grab_ns` is of the monotonic clock."""
        # LSL's clock is a monotonic one too, not everywhere the same: both are read in one breath.
        age_s = (time.monotonic_ns() - grab_ns) / 1e9
        timestamp = self._pylsl.local_clock() - age_s
        self._numbers.push_sample(sample(event), timestamp)
        label = event.emotion.label or UNKNOWN
        if label != self._label:
            self._label = label
            self._labels.push_sample([label], timestamp)

    def _info(self, session: str, stream: str) -> Any:
        info = self._pylsl.StreamInfo(
            f"bimodal {stream}",
            "Emotion",
            len(CHANNELS),
            self._pylsl.IRREGULAR_RATE,
            self._pylsl.cf_float32,
            _source_id(session, stream, "emotion"),
        )
        info.set_channel_labels([channel.label for channel in CHANNELS])
        info.set_channel_units([channel.unit for channel in CHANNELS])
        info.set_channel_types([channel.type for channel in CHANNELS])
        self._describe(info, stream)
        return info

    def _labels_info(self, session: str, stream: str) -> Any:
        info = self._pylsl.StreamInfo(
            f"bimodal {stream} labels",
            "Markers",
            1,
            self._pylsl.IRREGULAR_RATE,
            self._pylsl.cf_string,
            _source_id(session, stream, "labels"),
        )
        info.set_channel_labels(["label"])
        self._describe(info, stream)
        return info

    def _describe(self, info: Any, stream: str) -> None:
        description = info.desc()
        description.append_child_value("manufacturer", "bimodal")
        description.append_child_value("bimodal_stream", stream)
        synchronization = description.append_child("synchronization")
        synchronization.append_child_value("time_stamps", "the grab of the frame, on LSL's clock")
        synchronization.append_child_value("can_drop_samples", "true")


def _source_id(session: str, stream: str, kind: str) -> str:
    """The same after every restart on this machine, so that recorders go on by themselves."""
    return f"bimodal:{socket.gethostname()}:{session}:{stream}:{kind}"


# An event as one sample of numbers, and when it was. Pure.


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
