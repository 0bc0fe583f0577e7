"""State of a running system from its event bus: streams and processes, for page, metrics, `up` and `top`.

Pure: `now` is seconds of one monotonic clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from bimodal.broker.events import Emotion, Latency
from bimodal.broker.messages import Body, Heartbeat, Status, StreamClosed, StreamOpened, StreamStatus
from bimodal.workers.progress import Progress

RATE_WINDOW_S = 2.0
# An ended stream stays on the page for so long.
ENDED_STAYS_S = 30.0
# Heartbeats come twice a second, and the supervisor calls a process hung after 5 s.
SILENT_S = 3.0
# The longest pause before a process is started again is 30 s.
GONE_AFTER_S = 45.0
FORGOTTEN_AFTER_S = 60.0
# In the names of workers on other machines, after the name of their key (broker/remote.py).
ELSEWHERE = ": "


class ProcessState(NamedTuple):
    """The newest heartbeat of a process, and when it came."""

    heartbeat: Heartbeat
    received_at: float

    @property
    def name(self) -> str:
        """Name of the process ("face 2")."""
        return self.heartbeat.name

    @property
    def may_have_ended(self) -> bool:
        """True where silence means its end: it has stopped, or runs on another machine, where no exit is reported
        and the next start has another name."""
        return self.heartbeat.state == "stopped" or ELSEWHERE in self.name

    def gone(self, now: float) -> bool:
        """True once it ended so long ago that no restart follows."""
        return self.may_have_ended and now - self.received_at > GONE_AFTER_S

    def word(self, now: float) -> str:
        """State in one word, for users: that of its heartbeat, or ended, restarting, silent or troubled."""
        state = self.heartbeat.state
        if state == "stopped":
            return "restarting" if self.heartbeat.because is not None else "ended"
        if state == "ready" and now - self.received_at > SILENT_S:
            return "silent"
        return "troubled" if state == "ready" and self.heartbeat.because is not None else state

    @property
    def restarts(self) -> int:
        """Number of starts after the first."""
        return int(self.heartbeat.figures.get("restarts", max(0, self.heartbeat.incarnation - 1)))


@dataclass
class StreamState:
    """One stream.

    Attributes:
        opened: its newest announcement; None where only events have been seen.
        closed_at: when it ended, None while it runs.
        newest, newest_at: the newest event and when it came; None before the first.
        status: the broker's newest counters.
        dropping: dropped jobs a second between the two newest counters.
    """

    name: str
    opened: StreamOpened | None = None
    closed_at: float | None = None
    newest: Emotion | None = None
    newest_at: float | None = None
    status: StreamStatus | None = None
    dropping: float = 0.0
    _counted_at: float | None = None
    _latencies: deque[tuple[float, Latency]] = field(default_factory=deque)

    def on_event(self, event: Emotion, now: float) -> None:
        """Take one event."""
        self.newest, self.newest_at, self.closed_at = event, now, None
        self._latencies.append((now, event.latency_ms))
        self._trim(now)

    def on_counters(self, status: StreamStatus, now: float) -> None:
        """Take the broker's counters, which come once a second."""
        if self.status is not None and self._counted_at is not None and now > self._counted_at:
            more = sum(status.dropped.values()) - sum(self.status.dropped.values())
            self.dropping = max(0.0, more / (now - self._counted_at))
        self.status, self._counted_at = status, now

    def _trim(self, now: float) -> None:
        while self._latencies and now - self._latencies[0][0] > RATE_WINDOW_S:
            self._latencies.popleft()

    def rate(self, now: float) -> float:
        """Events a second over the last two seconds."""
        self._trim(now)
        return len(self._latencies) / RATE_WINDOW_S

    def latency(self, now: float) -> dict[str, float] | None:
        """Mean milliseconds over the last two seconds, by part; None without events."""
        self._trim(now)
        if not self._latencies:
            return None
        return {
            part: round(sum(getattr(latency, part) for _, latency in self._latencies) / len(self._latencies), 1)
            for part in ("queue", "inference", "total")
        }

    @property
    def source(self) -> str:
        """Description of the source ("camera 0"); empty before it is known."""
        known = self.opened or self.status
        return known.source if known is not None else ""

    @property
    def has_picture(self) -> bool | None:
        """True for a stream with video: as announced, else as the counters show; None before either is known."""
        if self.opened is not None:
            return self.opened.has_picture
        return self.status.offered.get("face", 0) > 0 if self.status is not None else None

    def silent_s(self, now: float) -> float | None:
        """Seconds since the newest event; None before the first."""
        return now - self.newest_at if self.newest_at is not None else None

    def gone(self, now: float) -> bool:
        """True once it ended so long ago that the page drops it."""
        return self.closed_at is not None and now - self.closed_at > ENDED_STAYS_S


class SystemState:
    """All streams and processes by name, the broker's newest status, and whether results come out of each stream.

    Attributes:
        parts: where this is the state of several sessions, that of each; else empty.
    """

    def __init__(self) -> None:
        self.parts: dict[str, SystemState] = {}
        self.streams: dict[str, StreamState] = {}
        self.processes: dict[str, ProcessState] = {}
        self.status: Status | None = None
        self.progress = Progress()

    def take(self, body: Body, now: float) -> None:
        """Take one message of the bus."""
        match body:
            case Emotion():
                self._stream(body.stream).on_event(body, now)
            case StreamOpened():
                stream = self._stream(body.stream)
                stream.opened, stream.closed_at = body, None
            case StreamClosed():
                self._stream(body.stream).closed_at = now
            case Status():
                self.status = body
                self.progress.on_status(body, now)
                self._forget(now)
                for counters in body.streams:
                    self._stream(counters.stream).on_counters(counters, now)
            case Heartbeat():
                self.processes[body.name] = ProcessState(body, now)
            case _:
                pass

    def _stream(self, name: str) -> StreamState:
        return self.streams.setdefault(name, StreamState(name))

    def _forget(self, now: float) -> None:
        for name, process in list(self.processes.items()):
            reason = process.heartbeat.because  # `up` shows it to the end
            if process.may_have_ended and reason is None and now - process.received_at > FORGOTTEN_AFTER_S:
                del self.processes[name]

    def keep_streams(self, names: Collection[str]) -> None:
        """Forget all other streams."""
        self.streams = {name: stream for name, stream in self.streams.items() if name in names}
