"""What `bimodal top` shows: processes and streams as rows of text, as much of them as there is room. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

from bimodal.broker.messages import Body, Emotion, Heartbeat, Status, StreamClosed, StreamStatus
from bimodal.workers.tables import MIDDLE, NARROW, WIDE, Column, Table, fit
from bimodal.workers.view.trouble import ProcessSeen

Sort = Literal["cpu", "memory", "name", "restarts"]
KEYS: dict[str, Sort] = {"c": "cpu", "m": "memory", "n": "name", "r": "restarts"}
RATE_WINDOW_S = 2.0
PROCESS_COLUMNS = (
    Column("process"),
    Column("state"),
    Column("cpu %", number=True),
    Column("memory MiB", number=True),
    Column("restarts", NARROW, number=True),
    Column("pid", MIDDLE, number=True),
    Column("up", MIDDLE, number=True),
    Column("models, trouble", WIDE),
)
STREAM_COLUMNS = (
    Column("stream"),
    Column("emotion"),
    Column("fps", number=True),
    Column("latency ms", number=True),
    Column("dropped", NARROW, number=True),
    Column("failed", MIDDLE, number=True),
    Column("frames", MIDDLE, number=True),
    Column("source", WIDE),
)


class _Stream:
    def __init__(self) -> None:
        self.newest: Emotion | None = None
        self.status: StreamStatus | None = None
        self.ended = False
        self._times: deque[float] = deque()

    def felt(self, event: Emotion, now: float) -> None:
        self.newest, self.ended = event, False
        self._times.append(now)

    def fps(self, now: float) -> float:
        while self._times and now - self._times[0] > RATE_WINDOW_S:
            self._times.popleft()
        return len(self._times) / RATE_WINDOW_S


class Panel:
    """Takes the bus's messages; times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._processes: dict[str, ProcessSeen] = {}
        self._streams: dict[str, _Stream] = {}
        self.sort: Sort = "cpu"
        self.heard_status = False

    def take(self, body: Body, now: float) -> None:
        """One message."""
        match body:
            case Heartbeat():
                self._processes[body.name] = ProcessSeen(body, now)
            case Emotion():
                self._streams.setdefault(body.stream, _Stream()).felt(body, now)
            case Status():
                self.heard_status = True
                for status in body.streams:
                    self._streams.setdefault(status.stream, _Stream()).status = status
            case StreamClosed():
                self._streams.setdefault(body.stream, _Stream()).ended = True
            case _:
                pass

    @property
    def complete(self) -> bool:
        """Whether a whole turn of the system was heard: its status, and every process that it has."""
        return self.heard_status and "supervisor" in self._processes

    @property
    def empty(self) -> bool:
        """Whether nothing was heard at all."""
        return not self._processes and not self.heard_status

    def processes(self, now: float, width: int, room: int) -> Table:
        """The processes, sorted: numbers downwards, names upwards; at most `room` rows."""
        for name in [name for name, seen in self._processes.items() if seen.gone(now)]:
            del self._processes[name]
        seen = sorted(self._processes.values(), key=_natural)
        if self.sort != "name":
            # Sorting is stable: equal ones stay in the order of their names.
            seen.sort(key=_MEASURES[self.sort], reverse=True)
        return fit(PROCESS_COLUMNS, [_process_row(one, now) for one in seen], width, room)

    def streams(self, now: float, width: int, room: int) -> Table:
        """The streams by name; at most `room` rows."""
        rows = [_stream_row(name, stream, now) for name, stream in sorted(self._streams.items())]
        return fit(STREAM_COLUMNS, rows, width, room)


def _natural(seen: ProcessSeen) -> tuple[str, int, str]:
    kind, _, number = seen.name.partition(" ")
    return kind, int(number) if number.isdigit() else 0, number


def _figure(name: str) -> Callable[[ProcessSeen], float]:
    return lambda seen: seen.heartbeat.figures.get(name, 0.0)


_MEASURES: dict[str, Callable[[ProcessSeen], float]] = {
    "cpu": _figure("cpu_percent"),
    "memory": _figure("memory_mb"),
    "restarts": _figure("restarts"),
}


def _process_row(seen: ProcessSeen, now: float) -> tuple[str, ...]:
    beat, figures = seen.heartbeat, seen.heartbeat.figures
    models = ", ".join(beat.models[kind] for kind in sorted(beat.models))
    return (
        beat.name,
        seen.word(now),
        _number(figures.get("cpu_percent")),
        _number(figures.get("memory_mb")),
        str(int(figures.get("restarts", max(0, beat.incarnation - 1)))),
        str(beat.pid or "-"),
        _age(figures.get("up_s")),
        beat.because or models,
    )


def _stream_row(name: str, stream: _Stream, now: float) -> tuple[str, ...]:
    event, status = stream.newest, stream.status
    fps = stream.fps(now)
    if event is None or stream.ended:
        said = "ended" if stream.ended else "waiting"
    elif event.emotion.label is None:
        said = "unknown"
    else:
        said = f"{event.emotion.label} {event.emotion.confidence or 0:.0%}"
    return (
        name,
        said,
        f"{fps:.1f}",
        f"{event.latency_ms.total:.0f}" if event is not None else "-",
        str(sum(status.dropped.values())) if status is not None else "-",
        str(sum(status.failed.values())) if status is not None else "-",
        str(status.offered.get("face", 0)) if status is not None else "-",
        status.source if status is not None else "",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if days >= 1:
        return f"{days:.0f} d"
    return f"{hours:.0f} h" if hours >= 1 else f"{minutes:.0f} min" if minutes >= 1 else f"{seconds:.0f} s"
