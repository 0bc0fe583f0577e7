"""What every part of the page has at hand. Lives on the server's own thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bimodal.broker.events import Emotion, Probabilities, accord, fused, leading
from bimodal.broker.messages import Body, Heartbeat, Status, StreamClosed, StreamOpened, StreamStatus
from bimodal.models.emotions import EMOTIONS
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.view.access import Gate
from bimodal.workers.view.health import Banner, ProcessSeen, StreamSeen, banners
from bimodal.workers.view.viewers import Audience


class View:
    """The state behind the page; routes are built around it.

    Attributes:
        session: its name.
        directory: of the session's sockets.
        address: where people open the page, without the token.
        visitors: streams that a visitor's browser may fill; the page then shows a button.
        closers: called once on the server's thread, after everyone was hung up on.
        listeners: called on the server's thread with every message of the bus, events included.
    """

    def __init__(self, settings: ViewActorSettings, directory: Path, address: str) -> None:
        self.settings = settings
        self.session = directory.name
        self.directory = directory
        self.address = address
        self.feed = Feed()
        self.audience = Audience()
        self.gate = Gate(settings.host, settings.token, settings.origins)
        self.visitors: list[str] = []
        self.listeners: list[Callable[[Body], None]] = []
        self.closers: list[Callable[[], None]] = []

    def take(self, body: Body, payload: bytes | None = None) -> None:
        """One message of the bus; `payload` is its frame as pages get it, where somebody looks."""
        self.feed.take(body, time.monotonic())
        if payload is not None and isinstance(body, Emotion):
            self.audience.show(body.stream, payload)
        for listener in self.listeners:
            listener(body)


# The last two minutes of a stream, coarse, so that a page that is opened now shows them at once. Pure.


SPAN_S = 120.0
STEP_S = 0.2

Point = dict[str, object]


def point(event: Emotion, at: float) -> Point:
    """What the timeline shows of an event. Keys are short, for there are 600 of them in a history.

    Lists hold the seven emotions in their order, null where one is not known.
    """
    face, speech, verdict = leading(event), event.speech, event.emotion
    return {
        "at": round(at, 3),
        "t": round(event.t, 3),
        "label": verdict.label,
        "confidence": verdict.confidence,
        "agreement": verdict.agreement,
        "because": verdict.because,
        "accord": accord(event),
        "video": seven(face.video if face is not None else None),
        "speech": seven(speech.probabilities if speech is not None else None),
        "fused": seven(fused(event)),
    }


def seven(probabilities: Probabilities | None) -> list[float | None] | None:
    """The emotions in their order."""
    if probabilities is None:
        return None
    return [round(probabilities[name], 3) if name in probabilities else None for name in EMOTIONS]


class History:
    """One point each fifth of a second, for two minutes; `at` is seconds of one monotonic clock."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque()
        self._due = 0.0
        self._times: deque[float] = deque()

    def add(self, event: Emotion, at: float) -> None:
        """One more event; most leave no point."""
        if at < self._due:
            return
        self._due = max(self._due + STEP_S, at + STEP_S / 2)
        self.points.append(point(event, at))
        self._times.append(at)
        while self._times and at - self._times[0] > SPAN_S:
            self._times.popleft()
            self.points.popleft()


# What the bus has told of streams and processes, as the page shows it. Pure: time comes in as seconds.


RATE_WINDOW_S = 2.0
# A stream that has ended stays on the page for a while, then makes room.
ENDED_STAYS_S = 30.0


@dataclass
class StreamState:
    """One stream as far as the bus has told.

    Attributes:
        opened: its newest announcement; None where only events have been seen.
        closed_at: when it ended, None while it runs.
        felt_at: when the newest event came.
        dropping: jobs a second that were dropped between the two newest counts.
    """

    name: str
    opened: StreamOpened | None = None
    closed_at: float | None = None
    newest: Emotion | None = None
    felt_at: float | None = None
    status: StreamStatus | None = None
    dropping: float = 0.0
    _counted_at: float | None = None
    history: History = field(default_factory=History)
    _latencies: deque[tuple[float, float, float, float]] = field(default_factory=deque)

    def felt(self, event: Emotion, now: float) -> None:
        """One more event."""
        self.newest, self.felt_at, self.closed_at = event, now, None
        self.history.add(event, now)
        latency = event.latency_ms
        self._latencies.append((now, latency.queue, latency.inference, latency.total))
        self._let_go(now)

    def counted(self, status: StreamStatus, now: float) -> None:
        """The broker's counters, once a second."""
        if self.status is not None and self._counted_at is not None and now > self._counted_at:
            more = sum(status.dropped.values()) - sum(self.status.dropped.values())
            self.dropping = max(0.0, more / (now - self._counted_at))
        self.status, self._counted_at = status, now

    def _let_go(self, now: float) -> None:
        while self._latencies and now - self._latencies[0][0] > RATE_WINDOW_S:
            self._latencies.popleft()

    def rate(self, now: float) -> float:
        """Events a second over the last two seconds."""
        self._let_go(now)
        return len(self._latencies) / RATE_WINDOW_S

    def latency(self, now: float) -> dict[str, float] | None:
        """Mean milliseconds over the last two seconds."""
        self._let_go(now)
        if not self._latencies:
            return None
        rows = list(zip(*self._latencies, strict=True))[1:]
        means = (round(sum(row) / len(row), 1) for row in rows)
        return dict(zip(("queue", "inference", "total"), means, strict=True))

    def seen(self, now: float) -> StreamSeen:
        """What troubles are found by."""
        silent = now - self.felt_at if self.felt_at is not None else None
        return StreamSeen(self.name, self.closed_at is not None, silent)

    @property
    def _has_picture(self) -> bool | None:
        """As it was announced; else, after a new start of ours, by what has come."""
        if self.opened is not None:
            return self.opened.has_picture
        return self.status.offered.get("face", 0) > 0 if self.status is not None else None

    def snapshot(self, now: float) -> dict[str, object]:
        """The stream as JSON-like values."""
        opened, event = self.opened, self.newest
        return {
            "stream": self.name,
            "source": opened.source if opened else (self.status.source if self.status else ""),
            "has_picture": self._has_picture,
            "ended": self.closed_at is not None,
            "silent_s": round(now - self.felt_at, 1) if self.felt_at is not None else None,
            "fps": round(self.rate(now), 1),
            "latency_ms": self.latency(now),
            "counters": _counters(self.status),
            "dropping": round(self.dropping, 1),
            "glance": {
                "label": event.emotion.label,
                "confidence": event.emotion.confidence,
                "because": event.emotion.because,
            }
            if event
            else None,
        }


def _counters(status: StreamStatus | None) -> dict[str, dict[str, int]] | None:
    if status is None:
        return None
    return {
        kind: {
            "offered": status.offered.get(kind, 0),
            "done": status.done.get(kind, 0),
            "dropped": status.dropped.get(kind, 0),
            "failed": status.failed.get(kind, 0),
        }
        for kind in ("face", "speech")
    }


class Feed:
    """All streams and processes."""

    def __init__(self) -> None:
        self.streams: dict[str, StreamState] = {}
        self.processes: dict[str, ProcessSeen] = {}
        self.status: Status | None = None

    def take(self, body: Body, now: float) -> None:
        """One message of the bus."""
        match body:
            case Emotion():
                self._stream(body.stream).felt(body, now)
            case StreamOpened():
                stream = self._stream(body.stream)
                stream.opened, stream.closed_at = body, None
            case StreamClosed():
                self._stream(body.stream).closed_at = now
            case Status():
                self._counted(body, now)
            case Heartbeat():
                self.processes[body.name] = ProcessSeen(body, now)
            case _:
                pass

    def _stream(self, name: str) -> StreamState:
        return self.streams.setdefault(name, StreamState(name))

    def _counted(self, status: Status, now: float) -> None:
        self.status = status
        self._forget(now)  # also while nobody looks
        for counters in status.streams:
            self._stream(counters.stream).counted(counters, now)

    def banners(self, now: float) -> list[Banner]:
        """What is wrong, the worst first."""
        return banners(list(self.processes.values()), [stream.seen(now) for stream in self.streams.values()], now)

    def snapshot(self, now: float) -> dict[str, object]:
        """Everything but the events, as JSON-like values; forgets what ended long ago."""
        self._forget(now)
        return {
            "type": "state",
            "now": round(now, 3),
            # By name, so that a stream keeps its place (and its key) whoever is announced first.
            "streams": [stream.snapshot(now) for _, stream in sorted(self.streams.items())],
            "processes": [seen.snapshot(self._queue(seen.name), now) for seen in self.processes.values()],
            "banners": [banner._asdict() for banner in self.banners(now)],
            "waiting": self.status.waiting if self.status else None,
        }

    def _forget(self, now: float) -> None:
        for name, stream in list(self.streams.items()):
            if stream.closed_at is not None and now - stream.closed_at > ENDED_STAYS_S:
                del self.streams[name]
        for name, seen in list(self.processes.items()):
            if seen.gone(now):
                del self.processes[name]

    def _queue(self, process: str) -> float | None:
        """How many jobs or results wait at a process, where something can wait there."""
        seen = self.processes[process]
        if process == "broker":
            return self.status.waiting if self.status else None
        if "held" in seen.heartbeat.figures:
            return seen.heartbeat.figures["held"]
        stream = self.streams.get(process.removeprefix("capture "))
        if process.startswith("capture ") and stream is not None and stream.status is not None:
            status = stream.status
            settled = (sum(part.values()) for part in (status.done, status.dropped, status.failed))
            return max(0, sum(status.offered.values()) - sum(settled))
        return None
