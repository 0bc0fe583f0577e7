"""`bimodal up`: start everything, show a live line per stream, stop cleanly."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bimodal.broker.beats import BEAT_S, SUPERVISOR_GATHERS_S, until_beat
from bimodal.broker.events import Emotion
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import events_endpoint
from bimodal.config import Config
from bimodal.console import is_terminal, open_log, put, say, takes_more, user_errors
from bimodal.options import DEFAULT, ConfigOption, SessionOption, config_files, config_of
from bimodal.status_page import SERVED
from bimodal.supervisor.live import LiveSystem
from bimodal.supervisor.service import Results, Service, status_line
from bimodal.supervisor.session import PARENT_KEY, Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.errors import SystemFailedError
from bimodal.workers.logs import reopen
from bimodal.workers.redaction import clean_lines
from bimodal.workers.system_state import StreamState, SystemState
from bimodal.workers.wakeup import wake_by_signals

if TYPE_CHECKING:
    from rich.live import Live

PLAIN_LINE_EVERY_S = 1.0
DRAWN_EVERY_S = 1 / 8
NUMBER = re.compile(r"\d+(\.\d+)?")


def up(
    config: ConfigOption = None,
    for_seconds: Annotated[
        float | None, typer.Option("--for", min=0.1, help="Stop by itself after so many seconds.", metavar="SECONDS")
    ] = None,
    session: SessionOption = "default",
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Into a pipe or a file, too: a line a second for every stream.")
    ] = False,
) -> None:
    """Start every process, watch them, and show each stream's emotion until Ctrl-C.

    On a terminal the lines are drawn in place. Into a pipe or a file go the addresses, and problems when they are new.

    Without a config file it takes the first camera and microphone, and where there is none plays the demo clip.

    Example: [b]bimodal up --config config.yaml[/b]
    """
    secrets: set[Path] = set()
    with user_errors():
        loaded = config_of(config, secrets)
        files = [file.absolute() for file in config_files(config) or (DEFAULT,)]
        log_file = open_log(loaded.log.file, loaded.log.level, session)
    with user_errors(log_file):
        stop = StopSignal()
        with running_system(loaded, files, session, log_file, secrets) as (system, bus):
            system.supervisor.watch(wake_by_signals(), drain=True)
            put(f"session '{session}', events at {bus.endpoint}, log in {log_file}")
            _show(system, bus, stop, for_seconds, verbose=verbose)


def _show(system: LiveSystem, bus: Subscriber, stop: StopSignal, for_seconds: float | None, *, verbose: bool) -> None:
    shown = SystemState()
    end = time.monotonic() + for_seconds if for_seconds is not None else None
    screen = Screen(verbose)
    service, results = Service(), Results()
    with screen:
        while not stop.asked and not _orphaned() and (end is None or time.monotonic() < end):
            now = time.monotonic()
            turn_s = screen.turn_s(shown, now)
            system.step(turn_s if end is None else max(0.0, min(turn_s, end - now)))
            while (found := bus.receive(0.0)) is not None:
                shown.take(found[1], time.monotonic())
                if isinstance(found[1], Emotion):
                    results.on_event(time.monotonic())
            shown.keep_streams(system.streams)
            _tell(service, results, system, shown)
            screen.show_addresses(_addresses(shown))
            screen.draw(shown)
            check(system)
            if _all_ended(system.supervisor):
                return
            if _window_closed(system.supervisor):
                break
        screen.last(shown)
    service.stopping()
    say("stopping")


def _tell(service: Service, results: Results, system: LiveSystem, shown: SystemState) -> None:
    """Tell the service manager, if there is one, how the system is."""
    now = time.monotonic()
    done = sum(stream.done.get("face", 0) for stream in system.supervisor.streams)
    missing = results.missing(done, now)
    service.update(
        ready=system.begun,
        trouble=system.supervisor.no_results_reason or missing,
        status=status_line(shown, system.supervisor.degraded_reason, now),
        now=now,
    )


def _orphaned() -> bool:
    """True when the Python process that started the system by `bimodal.run` has ended."""
    parent = os.environ.get(PARENT_KEY, "")
    return parent.isdigit() and os.getppid() != int(parent)


def _all_ended(supervisor: Supervisor) -> bool:
    """True when no source will give another frame: each was a file that has ended, or fails."""
    sources = [child for child in supervisor.children.values() if child.spec.stream is not None]
    return any(child.finished for child in sources) and all(child.finished or child.life.failing for child in sources)


def _window_closed(supervisor: Supervisor) -> bool:
    """True after the user pressed q in the window, or closed it."""
    return any(child.finished for child in supervisor.children.values() if child.spec.kind.ends_system)


class Screen:
    """Draws lines in place on a terminal. Elsewhere it prints problems when they are new, or, with `verbose`, all lines
    once a second. Skips while stdout would block."""

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self._problems: set[str] = set()
        self._live = _live() if is_terminal() else None
        self._due = 0.0
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None and takes_more(sys.stdout):
            self._live.stop()

    def turn_s(self, system: SystemState, now: float) -> float:
        """Seconds until the lines may have to be drawn again: soon while events come to a terminal, else to the next
        beat, when all processes have told what there is to tell."""
        if self._live is not None and any(stream.rate(now) for stream in system.streams.values()):
            return DRAWN_EVERY_S
        return until_beat(now, BEAT_S) + SUPERVISOR_GATHERS_S

    def show_addresses(self, addresses: dict[str, str]) -> None:
        """Print the addresses of the live page and the API, once, and again when one has changed."""
        for name, address in addresses.items():
            if address == self._addresses.get(name) or not takes_more(sys.stdout):
                continue
            self._addresses[name] = address
            sentence = f"{SERVED.get(name, name)} at {address}"
            if self._live is not None:
                self._live.console.print(sentence, highlight=False)
            else:
                put(sentence)

    def draw(self, system: SystemState) -> None:
        """Draw the newest lines when they are due."""
        now = time.monotonic()
        texts = live_lines(system, now)
        if now < self._due or not texts or not takes_more(sys.stdout):
            return
        if self._live is not None:
            self._due = now + DRAWN_EVERY_S
            from rich.text import Text

            with contextlib.suppress(OSError):
                self._live.update(Text(clean_lines("\n".join(texts)), no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self._due = now + PLAIN_LINE_EVERY_S
            self._print(texts)

    def _print(self, texts: list[str]) -> None:
        if not self._verbose:
            # The same problem with other numbers ("trying again in 4 s") is not new; one that was over is.
            problems = {NUMBER.sub("#", text): text for text in texts if text.startswith("! ")}
            texts = [text for kind, text in problems.items() if kind not in self._problems]
            self._problems = set(problems)
        if texts:
            put("\n".join(texts))

    def last(self, system: SystemState) -> None:
        """Print the last lines where they are not drawn in place."""
        texts = live_lines(system, time.monotonic())
        if self._live is None and texts and takes_more(sys.stdout):
            self._print(texts)


def _live() -> Live:
    """Lines that are drawn in place, by a library that only a terminal needs."""
    from rich.console import Console
    from rich.live import Live

    # Without a thread of Live's own, which would block on a terminal that was stopped (Ctrl-S), and we on it.
    return Live(console=Console(), auto_refresh=False, transient=False)


# Lines of the live display. Pure.


def live_lines(system: SystemState, now: float) -> list[str]:
    """One line for each stream, then one for each problem."""
    return [_line(stream, now) for stream in system.streams.values()] + [f"! {text}" for text in _problems(system)]


def _line(stream: StreamState, now: float) -> str:
    """Label, confidence, why if unknown, faces, voice, rate, latency, drops."""
    event, rate = stream.newest, stream.rate(now)
    if event is None:
        return f"{stream.name}: waiting for the first frame of {stream.source or 'its source'}"
    verdict = event.emotion
    if rate == 0:
        word = "no frames are coming"
    elif verdict.label is None:
        word = f"unknown ({verdict.because})"
    else:
        word = f"{verdict.label} {verdict.confidence or 0:.0%}"
    faces = "1 face" if len(event.faces) == 1 else f"{len(event.faces) or 'no'} faces"
    dropped = stream.status.dropped.get("face", 0) if stream.status is not None else 0
    return (
        f"{stream.name}: {word:<16} {faces}, {_voice(event)} | {rate:4.1f} fps, "
        f"{event.latency_ms.total:.0f} ms, {dropped} dropped"
    )


def _voice(event: Emotion) -> str:
    speech = event.speech
    if speech is None:
        return "no sound"
    return f"voice {speech.label}" if speech.label is not None else (speech.because or "no voice")


def _problems(system: SystemState) -> Iterator[str]:
    """One sentence for each process that gives a reason; failed ones are in the supervisor's."""
    for name, process in system.processes.items():
        state, because = process.heartbeat.state, process.heartbeat.because
        if because is not None and state != "failed":
            stopped = " stopped" if state == "stopped" else ""
            yield because if name == "supervisor" else f"{name}{stopped}: {because}"


def _addresses(system: SystemState) -> dict[str, str]:
    """Addresses that processes serve, by their names."""
    beats = (process.heartbeat for process in system.processes.values())
    return {beat.name: beat.address for beat in beats if beat.address}


# A live system in the command's own process.

# One turn of commands that draw more often than a system has news.
TURN_S = 0.05


def _has_terminal() -> bool:
    """True where this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class StopSignal:
    """Set by Ctrl-C, SIGTERM, and SIGHUP at the end of the terminal (unless started by `nohup`). Without a terminal,
    SIGHUP opens the log again."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            # Without a terminal nobody's end is meant: logrotate asks to open the log again.
            signal.signal(signal.SIGHUP, self._ask if _has_terminal() else lambda *_: reopen())

    def _ask(self, _number: int, _frame: object) -> None:
        self.asked = True


@contextlib.contextmanager
def running_system(
    config: Config, files: Sequence[Path], name: str, log_file: Path, secrets: Collection[Path] = ()
) -> Iterator[tuple[LiveSystem, Subscriber]]:
    """Start session `name` and subscribe to its bus. Everything stops with the context.

    Edits of `files` and of the `secrets` that they name are taken over.

    Raises a BimodalError where it can't start.
    """
    held = Session(name)
    with contextlib.ExitStack() as stack:
        stack.callback(held.close)
        system = LiveSystem(config, files, held, log_file, secrets)
        stack.callback(_close, system)
        bus = Subscriber(events_endpoint(held.directory), ["emotion.", "stream.", "status", "process."])
        stack.callback(bus.close)
        yield system, bus


def _close(system: LiveSystem) -> None:
    for folder in system.close():
        say(f"recorded in {folder}; 'bimodal report {folder}' makes its pages")


def check(system: LiveSystem) -> None:
    """Raise SystemFailedError, with the reason, where a system that has not begun to work never will."""
    if system.begun:
        return
    children = [child for child in system.supervisor.children.values() if child.phase == "active"]
    for child in children:
        needed = child.spec.stream is None and not child.spec.kind.optional
        if child.life.failing and needed and not child.was_ready:
            raise SystemFailedError(child.life.reason or f"{child.spec.name} can't be started")
    sources = [child for child in children if child.spec.stream is not None]
    if sources and all(child.life.failing for child in sources):
        raise SystemFailedError("; ".join(child.life.reason or f"{child.spec.name} failed" for child in sources))
