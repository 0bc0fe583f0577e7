"""What `bimodal up` shows of each stream: one line, made of the newest events. Pure; the command draws it."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from bimodal.broker.messages import Body, Emotion, Heartbeat, Status, StreamOpened

RATE_WINDOW_S = 2.0


@dataclass
class StreamLine:
    """One stream as far as the bus has told.

    Attributes:
        source: what it is ("camera 0", "demo clip …").
        newest: the newest event, None before the first.
        dropped: frames that were not looked at.
    """

    stream: str
    source: str = ""
    newest: Emotion | None = None
    dropped: int = 0
    _times: deque[float] = field(default_factory=deque)

    def felt(self, emotion: Emotion, now: float) -> None:
        """One more event."""
        self.newest = emotion
        self._times.append(now)

    def rate(self, now: float) -> float:
        """Events a second over the last two seconds."""
        while self._times and now - self._times[0] > RATE_WINDOW_S:
            self._times.popleft()
        return len(self._times) / RATE_WINDOW_S

    def text(self, now: float) -> str:
        """The line: label, confidence, why if unknown, faces, voice, rate, latency, drops."""
        rate = self.rate(now)
        if self.newest is None:
            return f"{self.stream}: waiting for the first frame of {self.source or 'its source'}"
        event = self.newest
        verdict = event.emotion
        if rate == 0:
            word = "no frames are coming"
        elif verdict.label is None:
            word = f"unknown ({verdict.because})"
        else:
            word = f"{verdict.label} {verdict.confidence or 0:.0%}"
        faces = "1 face" if len(event.faces) == 1 else f"{len(event.faces) or 'no'} faces"
        voice = _voice(event)
        return (
            f"{self.stream}: {word:<16} {faces}, {voice} | {rate:4.1f} fps, "
            f"{event.latency_ms.total:.0f} ms, {self.dropped} dropped"
        )


def _voice(event: Emotion) -> str:
    speech = event.speech
    if speech is None:
        return "no sound"
    return f"voice {speech.label}" if speech.label is not None else (speech.because or "no voice")


class LiveLines:
    """The lines of all streams, and what is wrong with processes.

    Attributes:
        page: where the live page is, None as long as nobody has said.
    """

    def __init__(self) -> None:
        self.streams: dict[str, StreamLine] = {}
        self.troubles: dict[str, str] = {}
        self.page: str | None = None

    def take(self, body: Body, now: float) -> None:
        """One message of the bus."""
        match body:
            case StreamOpened():
                self._line(body.stream).source = body.source
            case Emotion():
                self._line(body.stream).felt(body, now)
            case Status():
                for status in body.streams:
                    line = self._line(status.stream)
                    line.source = status.source
                    line.dropped = status.dropped.get("face", 0)
            case Heartbeat():
                self.page = body.address or self.page
                self._mind(body)
            case _:
                pass

    def _line(self, stream: str) -> StreamLine:
        return self.streams.setdefault(stream, StreamLine(stream))

    def _mind(self, heartbeat: Heartbeat) -> None:
        name, because = heartbeat.name, heartbeat.because
        if because is None or heartbeat.state == "failed":
            # Of those that failed the supervisor speaks, as long as they do.
            self.troubles.pop(name, None)
        elif name == "supervisor":
            self.troubles[name] = because
        elif heartbeat.state == "stopped":
            self.troubles[name] = f"{name} {heartbeat.state}: {because}"
        elif heartbeat.state == "ready":
            self.troubles[name] = f"{name}: {because}"

    def keep(self, streams: Collection[str]) -> None:
        """Forget every stream but these: they were taken out of the config."""
        self.streams = {name: line for name, line in self.streams.items() if name in streams}

    def texts(self, now: float) -> list[str]:
        """All lines, troubles last."""
        return [line.text(now) for line in self.streams.values()] + [f"! {text}" for text in self.troubles.values()]
