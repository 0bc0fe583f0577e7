"""`bimodal up`: start everything, show a live line per stream, stop cleanly."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bimodal.broker.mailbox import Subscriber
from bimodal.supervisor.live import LiveSystem
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.commands.options import DEFAULT, ConfigOption, SessionOption, config_of
from bimodal.workers.commands.running_system import TURN_S, Stopped, check, running_system
from bimodal.workers.edge import edge, is_terminal, open_log, say, takes_more
from bimodal.workers.live_lines import LiveLines

PLAIN_LINE_EVERY_S = 1.0
DRAWN_EVERY_S = 1 / 8


def up(
    config: ConfigOption = None,
    for_seconds: Annotated[
        float | None, typer.Option("--for", min=0.1, help="Stop by itself after so many seconds.", metavar="SECONDS")
    ] = None,
    session: SessionOption = "default",
) -> None:
    """Start every process, watch them, and show each stream's emotion until Ctrl-C.

    Without a config file it takes the first camera and microphone, and where there is none plays the demo clip.

    Example: [b]bimodal up --config config.yaml[/b]
    """
    with edge():
        loaded = config_of(config)
        file = (config or DEFAULT).absolute()
        log_file = open_log(loaded.log.file, loaded.log.level, session)
    with edge(log_file):
        stopped = Stopped()
        with running_system(loaded, file, session, log_file) as (system, bus):
            typer.echo(f"session '{session}', events at {bus.endpoint}, log in {log_file}")
            _show(system, bus, stopped, for_seconds)


def _show(system: LiveSystem, bus: Subscriber, stopped: Stopped, for_seconds: float | None) -> None:
    lines = LiveLines()
    end = time.monotonic() + for_seconds if for_seconds is not None else None
    screen = Screen()
    with screen:
        while not stopped.asked and (end is None or time.monotonic() < end):
            system.step(TURN_S)
            while (found := bus.receive(0.0)) is not None:
                lines.take(found[1], time.monotonic())
            lines.keep(system.streams)
            screen.tell_page(lines.page)
            screen.draw(lines)
            check(system)
            if _all_ended(system.supervisor):
                return
            if _window_closed(system.supervisor):
                break
        screen.last(lines)
    say("stopping")


def _all_ended(supervisor: Supervisor) -> bool:
    """Whether nothing more can come: each source was a file that is over, or fails."""
    sources = [child for child in supervisor.children.values() if child.spec.role == "capture"]
    return any(child.finished for child in sources) and all(child.finished or child.life.failing for child in sources)


def _window_closed(supervisor: Supervisor) -> bool:
    """Whether somebody pressed q in the window, or closed it."""
    return any(child.finished for child in supervisor.children.values() if child.spec.role == "window")


class Screen:
    """Draws the lines in place on a terminal, and one plain line a second elsewhere; nothing while nobody takes it."""

    def __init__(self) -> None:
        # Drawn by the one thread that there is: a thread of Live's own would wait for a terminal that was stopped, and
        # we for it.
        self._live = Live(console=Console(), auto_refresh=False, transient=False) if is_terminal() else None
        self._due = 0.0
        self._page: str | None = None

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None and takes_more(sys.stdout):
            self._live.stop()

    def tell_page(self, address: str | None) -> None:
        """Say where the live page is, once, and again where that has changed."""
        if address is not None and address != self._page and takes_more(sys.stdout):
            self._page = address
            sentence = f"live page at {address}"
            if self._live is not None:
                self._live.console.print(sentence, highlight=False)
            else:
                typer.echo(sentence)

    def draw(self, lines: LiveLines) -> None:
        """Show what is new."""
        now = time.monotonic()
        texts = lines.texts(now)
        if now < self._due or not texts or not takes_more(sys.stdout):
            return
        if self._live is not None:
            self._due = now + DRAWN_EVERY_S
            self._live.update(Text("\n".join(texts), no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self._due = now + PLAIN_LINE_EVERY_S
            typer.echo("\n".join(texts))

    def last(self, lines: LiveLines) -> None:
        """Show the end of it where lines are not drawn in place."""
        texts = lines.texts(time.monotonic())
        if self._live is None and texts and takes_more(sys.stdout):
            typer.echo("\n".join(texts))
