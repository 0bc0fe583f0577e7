"""`bimodal replay`: publish a recording's events on the bus again, in time, as if they were live."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Annotated

import typer

from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Heartbeat
from bimodal.broker.sockets import events_endpoint
from bimodal.commands.up import TURN_S, Screen, StopSignal
from bimodal.config import Config
from bimodal.console import open_log, say, user_errors
from bimodal.models.emotions import EmotionSet
from bimodal.options import ConfigOption, SessionOption, config_of
from bimodal.recordings.reading import clips
from bimodal.recordings.recording import RecordError
from bimodal.supervisor.processes import Wanted, processes
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.errors import SystemFailedError
from bimodal.workers.settings import ReplaySettings
from bimodal.workers.system_state import SystemState


def replay(
    recording: Annotated[
        Path, typer.Argument(help="A session folder, a folder of results, or one NAME.jsonl.", metavar="RECORDING")
    ],
    speed: Annotated[float, typer.Option(min=0.05, max=100, help="Twice as fast: 2.")] = 1.0,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, until Ctrl-C.")] = False,
    config: ConfigOption = None,
    session: SessionOption = "default",
) -> None:
    """Play a recording's events on the bus again, in time. Subscribers and the live page see a live session (without
    its pictures), so that they can be developed without a camera.

    All clips of a folder are played at once, each as its stream.

    Example: [b]bimodal replay recordings/default-2026-11-22T14-54-38 --loop[/b]
    """
    with user_errors():
        found = clips(recording)
        for sentence in (sentence for clip in found for sentence in clip.cut_short):
            say(sentence)
        if all(next(clip.events(), None) is None for clip in found):
            raise RecordError(f"{recording} holds no event, so there is nothing to play")
        loaded = config_of(config)
        log_file = open_log(loaded.log.file, loaded.log.level, session)
    with user_errors(log_file):
        stop = StopSignal()
        wanted = ReplaySettings(recording=str(recording.absolute()), speed=speed, loop=loop)
        about = reduce(EmotionSet.joined, (clip.emotions for clip in found))
        with _system(loaded, wanted, about, session, log_file) as (supervisor, bus):
            typer.echo(f"session '{session}', events at {bus.endpoint}, log in {log_file}")
            _show(supervisor, bus, stop)


@contextlib.contextmanager
def _system(
    config: Config, wanted: ReplaySettings, about: EmotionSet, name: str, log_file: Path
) -> Iterator[tuple[Supervisor, Subscriber]]:
    held = Session(name)
    with contextlib.ExitStack() as stack:
        stack.callback(held.close)
        rows = processes(Wanted(config, replay=wanted, recorded=about), ("broker", "replay", "view"))
        supervisor = Supervisor(held, rows, log_file)
        stack.callback(supervisor.stop)
        bus = Subscriber(events_endpoint(held.directory), ["emotion.", "stream.", "status", "process."])
        stack.callback(bus.close)
        yield supervisor, bus


def _show(supervisor: Supervisor, bus: Subscriber, stop: StopSignal) -> None:
    """Show the streams until the recording ends; raises SystemFailedError where it can't be played."""
    shown = SystemState()
    screen = Screen()
    child = supervisor.children["replay"]
    with screen:
        while not stop.asked and not child.finished:
            supervisor.step(TURN_S)
            while (found := bus.receive(0.0)) is not None:
                if not (isinstance(found[1], Heartbeat) and found[1].name == "replay"):
                    shown.take(found[1], time.monotonic())
            screen.draw(shown)
            if child.life.state == "failed":
                raise SystemFailedError(child.life.reason or "the recording can't be played")
        screen.last(shown)
    say("stopping")
