"""`bimodal top`: show the processes and streams of a running system in the terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from bimodal.broker.errors import BrokerError
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import events_endpoint
from bimodal.console import drawn, is_terminal, leave_stdout, put, user_errors
from bimodal.options import SessionOption
from bimodal.supervisor.session import directory_of
from bimodal.tables import MIDDLE, NARROW, PIPE_WIDTH, WIDE, Column, Table, fit, plain
from bimodal.workers.system_state import ProcessState, StreamState, SystemState

TOPICS = ("process.", "status", "emotion.", "closed.")
TURN_S = 0.1
DRAW_EVERY_S = 0.5
# Heartbeats and the status come once a second.
ONCE_AT_LEAST_S, ONCE_AT_MOST_S = 1.2, 5.0
HELP = "c cpu  m memory  n name  r restarts  q quits"
STATE_STYLES = {"ready": "green", "failed": "bold red", "troubled": "yellow", "silent": "red", "restarting": "yellow"}
# The headers of the two tables, a line between them, and the line of help.
LINES_AROUND = 4


def top(session: SessionOption = "default") -> None:
    """Show the processes and streams of a running system: state, CPU, memory, restarts; emotion, frames a second,
    latency, drops. Keys sort (c, m, n, r), q quits. Into a pipe it prints one plain table and ends.

    Example: [b]bimodal top --session lab[/b]
    """
    with user_errors():
        bus = Subscriber(events_endpoint(directory_of(session)), TOPICS)
        try:
            if is_terminal() and sys.stdin.isatty():
                _watch(bus, session)
            else:
                _once(bus, session)
        except KeyboardInterrupt:
            pass
        except OSError:  # the terminal is gone
            leave_stdout()
        finally:
            bus.close()


def _listen(bus: Subscriber, tables: Tables, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (found := bus.receive(max(0.0, end - time.monotonic()))) is not None:
        tables.system.take(found[1], time.monotonic())


def _once(bus: Subscriber, session: str) -> None:
    """Print the tables once; raises BrokerError where nothing arrives."""
    tables = Tables()
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < ONCE_AT_MOST_S:
        _listen(bus, tables, TURN_S)
        if tables.complete and passed >= ONCE_AT_LEAST_S:
            break
    if tables.empty:
        raise BrokerError(f"no bimodal is running as session '{session}'; start one, or name another with --session")
    console = Console()
    width = console.width if console.is_terminal else PIPE_WIDTH
    now = time.monotonic()
    for table in (tables.processes(now, width, sys.maxsize), tables.streams(now, width, sys.maxsize)):
        put("\n".join(plain(table)))


def _watch(bus: Subscriber, session: str) -> None:
    tables = Tables()
    console = Console()
    due = 0.0
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            _listen(bus, tables, TURN_S)
            key = pressed()
            if key in ("q", "\x03"):
                return
            if key in KEYS:
                tables.sort = KEYS[key]
            if key or time.monotonic() >= due:
                due = time.monotonic() + DRAW_EVERY_S
                live.update(_screen(tables, session, console.width, console.height), refresh=True)


def _screen(tables: Tables, session: str, width: int, height: int) -> RenderableType:
    if tables.empty:
        return Text(f"waiting for session '{session}'    q quits", style="dim", no_wrap=True)
    now = time.monotonic()
    streams = tables.streams(now, width, max(1, height // 3))
    room = height - LINES_AROUND - len(streams.rows) - bool(streams.hidden)
    processes = tables.processes(now, width, max(1, room))
    if processes.hidden:
        processes = tables.processes(now, width, max(1, room - 1))
    return Group(
        *_drawn(processes),
        Text(""),
        *_drawn(streams),
        Text(f"by {tables.sort}    {HELP}", style="dim", no_wrap=True, overflow="ellipsis"),
    )


def _drawn(table: Table) -> list[RenderableType]:
    shown: RenderableType = drawn(table, STATE_STYLES)
    return [shown, Text(f"and {table.hidden} more", style="dim")] if table.hidden else [shown]


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Give a function that returns the key pressed since its last call, or an empty text; restores the terminal."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed() -> str:
        if not select.select([descriptor], [], [], 0)[0]:
            return ""
        try:
            typed = os.read(descriptor, 16)
        except OSError:
            typed = b""
        # A closed terminal is readable and empty: quit.
        return typed.decode(errors="ignore")[:1].lower() if typed else "q"

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


# Tables of processes and streams, as many rows and columns as fit. Pure.

Sort = Literal["cpu", "memory", "name", "restarts"]
KEYS: dict[str, Sort] = {"c": "cpu", "m": "memory", "n": "name", "r": "restarts"}
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


class Tables:
    """The tables of one screen.

    Attributes:
        system: the state that is shown.
        sort: what processes are sorted by.
    """

    def __init__(self) -> None:
        self.system = SystemState()
        self.sort: Sort = "cpu"

    @property
    def complete(self) -> bool:
        """True once a status and a heartbeat of the supervisor have arrived."""
        return self.system.status is not None and "supervisor" in self.system.processes

    @property
    def empty(self) -> bool:
        """True while nothing has arrived."""
        return not self.system.processes and self.system.status is None

    def processes(self, now: float, width: int, room: int) -> Table:
        """The processes, sorted: numbers downwards, names upwards; at most `room` rows."""
        shown = sorted((one for one in self.system.processes.values() if not one.gone(now)), key=_natural)
        if self.sort != "name":
            # Sorting is stable: equal ones stay in the order of their names.
            shown.sort(key=_MEASURES[self.sort], reverse=True)
        return fit(PROCESS_COLUMNS, [_process_row(one, now) for one in shown], width, room)

    def streams(self, now: float, width: int, room: int) -> Table:
        """The streams by name; at most `room` rows."""
        rows = [_stream_row(stream, now) for _, stream in sorted(self.system.streams.items())]
        return fit(STREAM_COLUMNS, rows, width, room)


def _natural(process: ProcessState) -> tuple[str, int, str]:
    kind, _, number = process.name.partition(" ")
    return kind, int(number) if number.isdigit() else 0, number


def _figure(name: str) -> Callable[[ProcessState], float]:
    return lambda process: process.heartbeat.figures.get(name, 0.0)


_MEASURES: dict[str, Callable[[ProcessState], float]] = {
    "cpu": _figure("cpu_percent"),
    "memory": _figure("memory_mb"),
    "restarts": _figure("restarts"),
}


def _process_row(process: ProcessState, now: float) -> tuple[str, ...]:
    beat, figures = process.heartbeat, process.heartbeat.figures
    models = ", ".join(beat.models[kind] for kind in sorted(beat.models))
    return (
        beat.name,
        process.word(now),
        _number(figures.get("cpu_percent")),
        _number(figures.get("memory_mb")),
        str(process.restarts),
        str(beat.pid or "-"),
        _age(figures.get("up_s")),
        beat.because or models,
    )


def _stream_row(stream: StreamState, now: float) -> tuple[str, ...]:
    event, status = stream.newest, stream.status
    if stream.closed_at is not None:
        shown = "ended"
    elif event is None:
        shown = "waiting"
    elif event.emotion.label is None:
        shown = "unknown"
    else:
        shown = f"{event.emotion.label} {event.emotion.confidence or 0:.0%}"
    return (
        stream.name,
        shown,
        f"{stream.rate(now):.1f}",
        f"{event.latency_ms.total:.0f}" if event is not None else "-",
        str(sum(status.dropped.values())) if status is not None else "-",
        str(sum(status.failed.values())) if status is not None else "-",
        str(status.offered.get("face", 0)) if status is not None else "-",
        stream.source,
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
