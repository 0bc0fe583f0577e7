"""Sends events to the Lab Streaming Layer: numbers and label markers for each stream."""

from __future__ import annotations

import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import UNSET, UnsetType

from bimodal.broker.events import Emotion, Probabilities, fused, leading
from bimodal.broker.mailbox import Mailbox
from bimodal.broker.messages import Body, Job, Modality
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.workers.actor import ActorSettings, own
from bimodal.workers.errors import WorkerError
from bimodal.workers.observer import Observer
from bimodal.workers.settings import LslActorSettings


class LslActor(Observer):
    """Push each event to the outlets of its stream, at the time of its frame's grab."""

    topics = ("emotion.", "frame.", "sound.")

    def __init__(self, settings: ActorSettings, mailbox: Mailbox) -> None:
        """Open the outlets of all streams, so that recorders find them first. Raises WorkerError without pylsl."""
        mine = own(settings, LslActorSettings)
        self._session = Path(settings.directory).name
        self._layer = Layer(machine_only=mine.lsl == "machine")
        self._channels = channels_of(mine.emotions)
        self._outlets: dict[str, Outlets] = {}
        for stream in mine.streams:
            self._of(stream)
        self._grabs = GrabTimes()
        super().__init__(settings, mailbox)

    def _of(self, stream: str) -> Outlets:
        if stream not in self._outlets:
            self._outlets[stream] = self._layer.outlets(self._session, stream, self._channels)
        return self._outlets[stream]

    def on_message(self, body: Body) -> None:
        """Remember when a frame or window was grabbed."""
        if isinstance(body, Job):
            self._grabs.announced(body)

    def on_event(self, event: Emotion) -> None:
        """Push one event. Raises WorkerError where the Lab Streaming Layer refuses it."""
        try:
            self._of(event.stream).push(event, self._grabs.of(event, time.monotonic_ns()))
        except Exception as error:
            raise WorkerError(f"events can't be sent to the Lab Streaming Layer: {error}") from error

    def figures(self) -> dict[str, float]:
        """Samples sent."""
        return {"sent": float(self.events)}

    def close(self) -> None:
        """Stop; recorders see the streams end."""
        super().close()
        self._outlets.clear()


# Outlets. pylsl is imported only here, and only when the output is on.

MISSING = "outputs.lsl needs the package pylsl: pip install 'bimodal-emotion[lsl]'"
# Seconds that are kept for a recorder that reconnects; of an irregular stream, LSL takes 100 samples each.
KEPT_S = 60
UNKNOWN = "unknown"
MACHINE_ONLY = "[multicast]\nResolveScope = machine\n"


class Layer:
    """The pylsl library, configured once in a process. Raises WorkerError where it is missing."""

    def __init__(self, *, machine_only: bool) -> None:
        """`machine_only` keeps the streams from being found from other machines."""
        try:
            import pylsl
        except (ImportError, RuntimeError, OSError) as error:
            raise WorkerError(MISSING) from error
        if machine_only:
            pylsl.set_config_content(MACHINE_ONLY)
        self._pylsl: Any = pylsl

    def outlets(self, session: str, stream: str, channels: Sequence[Channel]) -> Outlets:
        """Open the outlets of one stream; recorders find them at once."""
        return Outlets(self._pylsl, session, stream, channels)


class Outlets:
    """Outlets of one stream: numbers, one sample an event, and a marker whenever the label changes."""

    def __init__(self, pylsl: Any, session: str, stream: str, channels: Sequence[Channel] | None = None) -> None:
        """`channels`: by default those of the seven emotions."""
        self._pylsl = pylsl
        self._channels = CHANNELS if channels is None else tuple(channels)
        self._label: str | None = None
        self._numbers = pylsl.StreamOutlet(self._info(session, stream), 0, KEPT_S)
        self._labels = pylsl.StreamOutlet(self._labels_info(session, stream), 0, KEPT_S)

    def push(self, event: Emotion, grab_ns: int) -> None:
        """Send an event's sample, at the time of its grab; `grab_ns` is of the monotonic clock."""
        # LSL's clock is monotonic but not the same one everywhere: read both together.
        age_s = (time.monotonic_ns() - grab_ns) / 1e9
        timestamp = self._pylsl.local_clock() - age_s
        self._numbers.push_sample(sample(event, self._channels), timestamp)
        label = event.emotion.label or UNKNOWN
        if label != self._label:
            self._label = label
            self._labels.push_sample([label], timestamp)

    def _info(self, session: str, stream: str) -> Any:
        info = self._pylsl.StreamInfo(
            f"bimodal {stream}",
            "Emotion",
            len(self._channels),
            self._pylsl.IRREGULAR_RATE,
            self._pylsl.cf_float32,
            _source_id(session, stream, "emotion"),
        )
        info.set_channel_labels([channel.label for channel in self._channels])
        info.set_channel_units([channel.unit for channel in self._channels])
        info.set_channel_types([channel.type for channel in self._channels])
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
    """Source id, the same after every restart on this machine, so that recorders reconnect by themselves."""
    return f"bimodal:{socket.gethostname()}:{session}:{stream}:{kind}"


# Samples and their times. Pure.

NAN = float("nan")
# Frames whose event has not come; events take some tens of milliseconds.
MOST_WAITING = 256


class Channel(NamedTuple):
    """One channel of the stream: its metadata, and its value in an event, None where that is unknown."""

    label: str
    unit: str
    type: str
    get: Callable[[Emotion], float | None]


def _by_name(
    group: str, names: Iterable[str], get: Callable[[Emotion], Probabilities | UnsetType | None]
) -> list[Channel]:
    def probability(name: str) -> Callable[[Emotion], float | None]:
        return lambda event: (get(event) or {}).get(name)

    return [Channel(f"{group}_{name}", "probability", group, probability(name)) for name in names]


def _video(event: Emotion) -> Probabilities | None:
    face = leading(event)
    return face.video if face is not None else None


def _does(name: str, unit: str) -> Channel:
    """A measure of the face that the verdict is about."""

    def get(event: Emotion) -> float | None:
        face = leading(event)
        return getattr(face.face, name) if face is not None and face.face is not None else None

    return Channel(name, unit, "face", get)


def _sounds(name: str, unit: str) -> Channel:
    """A measure of the voice."""

    def get(event: Emotion) -> float | None:
        speech = event.speech
        return getattr(speech.measures, name) if speech is not None and speech.measures is not None else None

    return Channel(f"voice_{name}", unit, "voice", get)


def _dominance(event: Emotion) -> float | None:
    speech = event.speech
    return None if speech is None or speech.dominance is UNSET else speech.dominance


_FURTHER: tuple[Channel, ...] = (
    Channel("confidence", "probability", "fused", lambda event: event.emotion.confidence),
    Channel("agreement", "probability", "fused", lambda event: event.emotion.agreement),
    Channel("faces", "count", "video", lambda event: len(event.faces)),
    Channel("valence", "-1..1", "fused", lambda event: event.emotion.valence),
    Channel("arousal", "-1..1", "fused", lambda event: event.emotion.arousal),
    *(_does(name, "degrees") for name in ("yaw_deg", "pitch_deg", "roll_deg", "gaze_yaw_deg", "gaze_pitch_deg")),
    *(_does(name, "ratio") for name in ("eye_left_open", "eye_right_open", "mouth_open")),
    _sounds("f0_hz", "Hz"),
    _sounds("loudness_lufs", "LUFS"),
)


def channels_of(emotions: EmotionSet) -> tuple[Channel, ...]:
    """The channels of a set. `fused` is the event's verdict, even if it is the voice's alone; `video` is of the face
    that the verdict is about."""
    names = emotions.emotions
    return (
        *_by_name("fused", names, fused),
        *_by_name("video", names, _video),
        *_by_name("speech", names, lambda event: event.speech.probabilities if event.speech is not None else None),
        *_FURTHER,
        *_by_name("other", emotions.categories, lambda event: event.emotion.other),
        *([Channel("dominance", "-1..1", "voice", _dominance)] if emotions.dominance else []),
    )


CHANNELS = channels_of(SEVEN)
"""Of the seven emotions."""


def sample(event: Emotion, channels: Sequence[Channel] = CHANNELS) -> list[float]:
    """The values of channels; NaN for an unknown one."""
    return [NAN if (value := channel.get(event)) is None else float(value) for channel in channels]


class GrabTimes:
    """Grab times of frames and speech windows, as announced on the bus, until their events come.

    An event is about a frame, or about a window where a stream has no picture; their sequence numbers are separate.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._times: OrderedDict[tuple[str, int, Modality, int], int] = OrderedDict()
        self._pictured: dict[str, int] = {}

    def announced(self, job: Job) -> None:
        """Keep the grab time of an announced frame or window."""
        if job.modality == "face":
            self._pictured[job.stream] = job.run
        elif self._pictured.get(job.stream) == job.run:
            return
        self._times[job.stream, job.run, job.modality, job.seq] = job.grab_ns
        while len(self._times) > self._most:
            self._times.popitem(last=False)

    def of(self, event: Emotion, now_ns: int) -> int:
        """Monotonic clock at the grab of the frame or window that an event is about.

        Where its announcement was missed, it is `now_ns` minus the event's total latency.
        """
        modality: Modality = "face" if self._pictured.get(event.stream) == event.run else "speech"
        known = self._times.pop((event.stream, event.run, modality, event.seq), None)
        return known if known is not None else now_ns - round(event.latency_ms.total * 1e6)
