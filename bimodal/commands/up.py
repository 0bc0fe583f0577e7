"""`bimodal up`: start everything, show a live line per stream, stop cleanly."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Body, Heartbeat, Status, StreamOpened
from bimodal.broker.sockets import events_endpoint
from bimodal.config import Config
from bimodal.console import edge, is_terminal, open_log, say, takes_more
from bimodal.options import DEFAULT, ConfigOption, SessionOption, config_of
from bimodal.supervisor.live import LiveSystem
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.errors import SystemFailedError

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
    sources = [child for child in supervisor.children.values() if child.spec.stream is not None]
    return any(child.finished for child in sources) and all(child.finished or child.life.failing for child in sources)


def _window_closed(supervisor: Supervisor) -> bool:
    """Whether somebody pressed q in the window, or closed it."""
    return any(child.finished for child in supervisor.children.values() if child.spec.kind.ends_system)


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


# What `bimodal up` shows of each stream: one line, made of the newest events. Pure; the command draws it.


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


# A live system in the command's own process: begun, watched until it works, and ended in order.


TURN_S = 0.05


class Stopped:
    """Set by Ctrl-C, SIGTERM, and the end of the terminal (unless `nohup` wants it to go on)."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self._ask)

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True


@contextlib.contextmanager
def running_system(config: Config, file: Path, name: str, log_file: Path) -> Iterator[tuple[LiveSystem, Subscriber]]:
    """The system of session `name`, and a reader of its bus; `file` is watched for edits. All stops with the context.

    Raises a BimodalError where it can't be.
    """
    held = Session(name)
    with contextlib.ExitStack() as stack:
        stack.callback(held.close)
        system = LiveSystem(config, file, held, log_file)
        stack.callback(_close, system)
        bus = Subscriber(events_endpoint(held.directory), ["emotion.", "stream.", "status", "process."])
        stack.callback(bus.close)
        yield system, bus


def _close(system: LiveSystem) -> None:
    for folder in system.close():
        say(f"recorded in {folder}; 'bimodal report {folder}' makes its pages")


def check(system: LiveSystem) -> None:
    """Raises SystemFailedError where it can't even begin to work, with the sentence that says why."""
    if system.begun:
        return
    children = [child for child in system.supervisor.children.values() if child.post == "on"]
    for child in children:
        needed = child.spec.stream is None and not child.spec.kind.optional
        if child.life.failing and needed and not child.was_ready:
            raise SystemFailedError(child.life.because or f"{child.spec.name} can't be started")
    sources = [child for child in children if child.spec.stream is not None]
    if sources and all(child.life.failing for child in sources):
        raise SystemFailedError("; ".join(child.life.because or f"{child.spec.name} failed" for child in sources))
