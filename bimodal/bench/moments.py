"""Where the time of each event went, from the messages of the event bus. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bimodal.broker.events import Emotion
from bimodal.broker.messages import Body, Job, Status

PARTS_OF_TIME = ("queue", "transport", "inference", "fusion")
PERCENTILES = (50, 95, 99)


class Moment(NamedTuple):
    """One event, in milliseconds. The four parts sum to `end_to_end`.

    Attributes:
        end_to_end: from the grab of the frame until a listener of the bus holds its event.
        queue: the job lay at the broker because no worker was free.
        transport: the frame's way from grab to worker (written to its slot, two messages) without `queue`, and its
            result's way from worker to fusion (two messages, and the wait there for an earlier frame's result).
        inference: in the worker: faces found, landmarks, crops, static model, and all around them.
        fusion: followed, fused and smoothed, and the event's way to the listener (two messages).
    """

    end_to_end: float
    queue: float
    transport: float
    inference: float
    fusion: float

    @property
    def added(self) -> float:
        """What the system adds to the inference."""
        return self.end_to_end - self.inference


class Moments:
    """Joins what the bus says of a frame before it is looked at with the event that comes of it.

    Attributes:
        found: a Moment for every event whose frame was announced while we listened, and was looked at.
        announced: frames that capture has offered.
        failed: events of frames that could not be looked at.
    """

    def __init__(self) -> None:
        self.found: list[Moment] = []
        self.announced = 0
        self.failed = 0
        self._grabbed: dict[tuple[str, int], dict[int, int]] = {}

    def take(self, at_ns: int, body: Body) -> None:
        """One message, and when it was there (monotonic clock of the capturing host)."""
        if isinstance(body, Job) and body.modality == "face":
            self.announced += 1
            self._grabbed.setdefault((body.stream, body.run), {})[body.seq] = body.grab_ns
        elif isinstance(body, Emotion):
            grabbed = self._grabbed.get((body.stream, body.run), {})
            grab_ns = grabbed.pop(body.seq, None)
            # Events come in the order of their frames: what is older was dropped.
            for seq in [seq for seq in grabbed if seq < body.seq]:
                del grabbed[seq]
            if body.failed is not None:
                self.failed += 1
            elif grab_ns is not None:
                self.found.append(_moment(body, (at_ns - grab_ns) / 1e6))


def _moment(event: Emotion, end_to_end: float) -> Moment:
    said = event.latency_ms
    back = said.total - said.queue - said.inference
    return Moment(
        end_to_end=end_to_end,
        queue=said.waited,
        transport=said.queue - said.waited + back,
        inference=said.inference,
        fusion=end_to_end - said.total,
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` per cent of all do not exceed. Raises ValueError where there are none."""
    if not values:
        raise ValueError("no values")
    return float(np.percentile(values, share, method="inverted_cdf"))


class Drops(NamedTuple):
    """Frames offered between two looks at the counters, and those of them that were dropped, by reason."""

    offered: int
    reasons: dict[str, int]

    def share(self, reason: str | None = None) -> float:
        """Of the frames offered, dropped for this reason, or for any."""
        dropped = sum(self.reasons.values()) if reason is None else self.reasons.get(reason, 0)
        return dropped / self.offered if self.offered else 0.0


def drops(before: Status, after: Status) -> Drops:
    """What the broker counted of faces between two of its reports."""
    known = {(stream.stream): stream for stream in before.streams}
    offered = 0
    reasons: dict[str, int] = {}
    for stream in after.streams:
        earlier = known.get(stream.stream)
        offered += stream.offered.get("face", 0) - (earlier.offered.get("face", 0) if earlier else 0)
        told = earlier.reasons.get("face", {}) if earlier else {}
        for reason, count in stream.reasons.get("face", {}).items():
            reasons[reason] = reasons.get(reason, 0) + count - told.get(reason, 0)
    return Drops(offered, reasons)
