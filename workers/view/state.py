"""State shared by all parts of the page. For use in the server's own thread."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bimodal.broker.events import Emotion, Probabilities, accord, doubts_of, fused, leading
from bimodal.broker.messages import Body, Status, StreamStatus
from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.workers.settings import ViewActorSettings
from bimodal.workers.system_state import ProcessState, StreamState, SystemState
from bimodal.workers.view.access import AccessControl
from bimodal.workers.view.health import banners
from bimodal.workers.view.viewers import Viewers


class View:
    """Shared by all routes: settings, viewers, access control, and the state that the bus tells.

    Attributes:
        system: state of streams and processes.
        histories: the last two minutes of each stream.
        session: name of the session.
        directory: folder of the session's sockets.
        address: URL of the page, without the token.
        visitors: streams that a visitor's browser may fill; the page then shows a button.
        closers: called once on the server's thread, after all connections are closed.
        listeners: called on the server's thread with every message of the bus, events included. While nobody watches,
            they come up to a tenth of a second late.
        watched_by: each says, from any thread, whether somebody wants events as soon as they come.
    """

    def __init__(self, settings: ViewActorSettings, directory: Path, address: str) -> None:
        self.settings = settings
        self.session = directory.name
        self.directory = directory
        self.address = address
        self.system = SystemState()
        self.histories: dict[str, History] = {}
        self.viewers = Viewers()
        self.access = AccessControl(settings.host, settings.token, settings.origins)
        self.visitors: list[str] = []
        self.listeners: list[Callable[[Body], None]] = []
        self.closers: list[Callable[[], None]] = []
        self.watched_by: list[Callable[[], bool]] = [lambda: bool(self.viewers.shown)]

    @property
    def watched(self) -> bool:
        """True while a page shows a stream, or a program reads events."""
        return any(watches() for watches in self.watched_by)

    def take(self, body: Body, payload: bytes | None = None) -> None:
        """Take one message of the bus; `payload` is an event's frame for the pages that await one."""
        now = time.monotonic()
        self.system.take(body, now)
        if isinstance(body, Emotion):
            self.histories.setdefault(body.stream, History(self.settings.emotions)).add(body, now)
            if payload is not None:
                self.viewers.put_frame(body.stream, payload)
        elif isinstance(body, Status):
            ended = {name for name, stream in self.system.streams.items() if stream.gone(now)}
            self.system.keep_streams(self.system.streams.keys() - ended)
            self.histories = {name: history for name, history in self.histories.items() if name not in ended}
        for listener in self.listeners:
            listener(body)


# Timelines. Pure.

SPAN_S = 120.0
STEP_S = 0.2

Point = dict[str, object]


def point(event: Emotion, at: float, about: EmotionSet = SEVEN) -> Point:
    """The point of an event on the timeline. Keys are short: a history has 600 points.

    Lists hold the emotions of the set in their order, then its further categories; null where one is not known.
    """
    face, speech, verdict = leading(event), event.speech, event.emotion
    sides = (
        (face.video, face.video_other) if face is not None else (None, None),
        (speech.probabilities, speech.other) if speech is not None else (None, None),
        (fused(event), verdict.other),
    )
    video, heard, both = (listed(told, about.emotions, other, about.categories) for told, other in sides)
    return {
        "at": round(at, 3),
        "t": round(event.t, 3),
        "label": verdict.label,
        "confidence": verdict.confidence,
        "agreement": verdict.agreement,
        "because": verdict.because or ", ".join(doubts_of(event)) or None,
        "accord": accord(event),
        "video": video,
        "speech": heard,
        "fused": both,
        "affect": affect(event),
    }


def affect(event: Emotion) -> list[float] | None:
    """Valence and arousal of the verdict, −1…1."""
    valence, arousal = event.emotion.valence, event.emotion.arousal
    return None if valence is None or arousal is None else [round(valence, 3), round(arousal, 3)]


def listed(
    probabilities: Probabilities | None,
    emotions: Sequence[str],
    other: Probabilities | msgspec.UnsetType | None = None,
    categories: Sequence[str] = (),
) -> list[float | None] | None:
    """Probabilities as a list, in the order of the emotions, and shares in that of the categories."""
    if probabilities is None:
        return None
    shares = ((probabilities, emotions), (other or {}, categories))
    return [round(found[name], 3) if name in found else None for found, names in shares for name in names]


class History:
    """The last two minutes of a stream, for a page that is opened: one point each fifth of a second.

    `at` is seconds of one monotonic clock.
    """

    def __init__(self, about: EmotionSet = SEVEN) -> None:
        self._about = about
        self.points: deque[Point] = deque()
        self._due = 0.0
        self._times: deque[float] = deque()

    def add(self, event: Emotion, at: float) -> None:
        """Take one event; most leave no point."""
        if at < self._due:
            return
        self._due = max(self._due + STEP_S, at + STEP_S / 2)
        self.points.append(point(event, at, self._about))
        self._times.append(at)
        while self._times and at - self._times[0] > SPAN_S:
            self._times.popleft()
            self.points.popleft()


# The message "state", as JSON-like values. Pure.


def snapshot(system: SystemState, now: float, *, records: bool = False) -> dict[str, object]:
    """Streams, processes and banners; without what ended long ago. `records`: whether recordings have a folder."""
    return {
        "type": "state",
        "now": round(now, 3),
        # By name, so that a stream keeps its place (and its key) whatever order they are announced in.
        "streams": [_stream(stream, now) for _, stream in sorted(system.streams.items()) if not stream.gone(now)],
        "processes": [
            _process(process, _queue(system, process), now)
            for process in system.processes.values()
            if not process.gone(now)
        ],
        "banners": [banner._asdict() for banner in banners(system, now)],
        "waiting": system.status.waiting if system.status else None,
        "recording": recording(system, now) if records else None,
    }


def recording(system: SystemState, now: float) -> str:
    """Whether the streams are recorded: "off", or the state of the recorder in one word."""
    recorder = system.processes.get("record")
    word = "ended" if recorder is None or recorder.gone(now) else recorder.word(now)
    return "off" if word == "ended" else word


def _stream(stream: StreamState, now: float) -> dict[str, object]:
    verdict, silent_s = stream.newest.emotion if stream.newest is not None else None, stream.silent_s(now)
    return {
        "stream": stream.name,
        "source": stream.source,
        "has_picture": stream.has_picture,
        "ended": stream.closed_at is not None,
        "silent_s": round(silent_s, 1) if silent_s is not None else None,
        "fps": round(stream.rate(now), 1),
        "latency_ms": stream.latency(now),
        "counters": _counters(stream.status),
        "dropping": round(stream.dropping, 1),
        "glance": verdict and {"label": verdict.label, "confidence": verdict.confidence, "because": verdict.because},
    }


def _counters(status: StreamStatus | None) -> dict[str, dict[str, int]] | None:
    if status is None:
        return None
    return {
        kind: {what: getattr(status, what).get(kind, 0) for what in ("offered", "done", "dropped", "failed")}
        for kind in ("face", "speech")
    }


def _process(process: ProcessState, queue: float | None, now: float) -> dict[str, object]:
    beat = process.heartbeat
    # After its end only the restarts still count.
    figures = {name: value for name, value in beat.figures.items() if beat.pid and name != "restarts"}
    return {
        "name": beat.name,
        "word": process.word(now),
        "pid": beat.pid or None,
        "restarts": process.restarts,
        "cpu_percent": figures.pop("cpu_percent", None),
        "memory_mb": figures.pop("memory_mb", None),
        "up_s": figures.pop("up_s", None),
        "queue": queue,
        "models": beat.models,
        "figures": figures,
        "because": beat.because,
    }


def _queue(system: SystemState, process: ProcessState) -> float | None:
    """Number of jobs or results waiting at a process; None where nothing can wait."""
    if process.name == "broker":
        return system.status.waiting if system.status else None
    if "held" in process.heartbeat.figures:
        return process.heartbeat.figures["held"]
    kind, _, name = process.name.partition(" ")
    stream = system.streams.get(name)
    if kind == "capture" and stream is not None and stream.status is not None:
        status = stream.status
        settled = (sum(part.values()) for part in (status.done, status.dropped, status.failed))
        return max(0, sum(status.offered.values()) - sum(settled))
    return None
