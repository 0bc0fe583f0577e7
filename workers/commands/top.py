"""`bimodal top`: the processes and streams of a running system, in the terminal."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from bimodal.broker.errors import BrokerError
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import events_endpoint, session_directory
from bimodal.workers.commands.options import SessionOption
from bimodal.workers.edge import edge, is_terminal, leave_stdout
from bimodal.workers.panel import KEYS, Panel
from bimodal.workers.tables import PIPE_WIDTH, Table, drawn, plain

TOPICS = ("process.", "status", "emotion.", "closed.")
TURN_S = 0.1
DRAW_EVERY_S = 0.5
# Heartbeats come twice a second, the status once.
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
    with edge():
        bus = Subscriber(events_endpoint(session_directory(session)), TOPICS)
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


def _listen(bus: Subscriber, panel: Panel, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (found := bus.receive(max(0.0, end - time.monotonic()))) is not None:
        panel.take(found[1], time.monotonic())


def _once(bus: Subscriber, session: str) -> None:
    """One plain table. Raises BrokerError where nothing is heard."""
    panel = Panel()
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < ONCE_AT_MOST_S:
        _listen(bus, panel, TURN_S)
        if panel.complete and passed >= ONCE_AT_LEAST_S:
            break
    if panel.empty:
        raise BrokerError(f"no bimodal is running as session '{session}'; start one, or name another with --session")
    console = Console()
    width = console.width if console.is_terminal else PIPE_WIDTH
    now = time.monotonic()
    for table in (panel.processes(now, width, sys.maxsize), panel.streams(now, width, sys.maxsize)):
        typer.echo("\n".join(plain(table)))


def _watch(bus: Subscriber, session: str) -> None:
    panel = Panel()
    console = Console()
    due = 0.0
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            _listen(bus, panel, TURN_S)
            key = pressed()
            if key in ("q", "\x03"):
                return
            if key in KEYS:
                panel.sort = KEYS[key]
            if key or time.monotonic() >= due:
                due = time.monotonic() + DRAW_EVERY_S
                live.update(_screen(panel, session, console.width, console.height), refresh=True)


def _screen(panel: Panel, session: str, width: int, height: int) -> RenderableType:
    if panel.empty:
        return Text(f"waiting for session '{session}'    q quits", style="dim", no_wrap=True)
    now = time.monotonic()
    streams = panel.streams(now, width, max(1, height // 3))
    room = height - LINES_AROUND - len(streams.rows) - bool(streams.hidden)
    processes = panel.processes(now, width, max(1, room))
    if processes.hidden:
        processes = panel.processes(now, width, max(1, room - 1))
    return Group(
        *_drawn(processes),
        Text(""),
        *_drawn(streams),
        Text(f"by {panel.sort}    {HELP}", style="dim", no_wrap=True, overflow="ellipsis"),
    )


def _drawn(table: Table) -> list[RenderableType]:
    shown: RenderableType = drawn(table, STATE_STYLES)
    return [shown, Text(f"and {table.hidden} more", style="dim")] if table.hidden else [shown]


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """Gives a function that returns the key pressed since the last look, or an empty text; the terminal is restored."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed() -> str:
        if not select.select([descriptor], [], [], 0)[0]:
            return ""
        try:
            typed = os.read(descriptor, 16)
        except OSError:
            typed = b""
        # A terminal that was closed is ready to be read, and has nothing to say: nobody looks any more.
        return typed.decode(errors="ignore")[:1].lower() if typed else "q"

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
