"""A live system in the command's own process: begun, watched until it works, and ended in order."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from bimodal.broker.mailbox import Subscriber
from bimodal.broker.sockets import events_endpoint
from bimodal.config import Config
from bimodal.supervisor.live import LiveSystem
from bimodal.supervisor.processes import OPTIONAL
from bimodal.supervisor.session import Session
from bimodal.workers.edge import say
from bimodal.workers.errors import SystemFailedError

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
        if child.life.failing and child.spec.role not in ("capture", *OPTIONAL) and not child.was_ready:
            raise SystemFailedError(child.life.because or f"{child.spec.name} can't be started")
    sources = [child for child in children if child.spec.role == "capture"]
    if sources and all(child.life.failing for child in sources):
        raise SystemFailedError("; ".join(child.life.because or f"{child.spec.name} failed" for child in sources))
