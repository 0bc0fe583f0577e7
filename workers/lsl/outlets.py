"""Outlets of the Lab Streaming Layer: the only file that imports pylsl, and only when it is wanted."""

from __future__ import annotations

import socket
import time
from typing import Any

from bimodal.broker.messages import Emotion
from bimodal.workers.errors import WorkerError
from bimodal.workers.lsl.samples import CHANNELS, sample

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
