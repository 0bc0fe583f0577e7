"""A real `bimodal up` in a process of its own, under a session name of its own: start, observe, stop."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from bimodal.bench.figures import BenchError
from bimodal.bench.loops import start, stop
from bimodal.bench.pipeline import alone
from bimodal.bench.plan import Plan
from bimodal.broker.control import Request, StatusReply, StatusRequest, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Body
from bimodal.broker.sockets import events_endpoint, session_directory, slots_directory
from bimodal.child_process import last_line, python_command
from bimodal.config import Config
from bimodal.config.schema import LogConfig
from bimodal.workers.capture.settings import StreamSettings

PATIENCE_S = 120.0
LOOK_EVERY_S = 0.005

_T = TypeVar("_T")
_numbers = itertools.count(1)


def measured(plan: Plan, streams: Mapping[str, StreamSettings], faces: int | None = None) -> Config:
    """The isolated config of a run (`alone`) with these streams and the plan's log."""
    return msgspec.structs.replace(
        alone(plan.config, faces),
        streams=dict(streams),
        log=LogConfig(file=plan.log or plan.folder / "measured.log", level=plan.config.log.level),
    )


def write_config(config: Config, path: Path) -> None:
    """Write a config so that `load_config` can read it."""
    values = msgspec.to_builtins(config, enc_hook=_plain)
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value.absolute())
    raise NotImplementedError(f"{type(value).__name__} in a config")


class Live:
    """A running system.

    Attributes:
        session: name of the session.
        process: the command's process, which is the supervisor.
        began_ns: time of the monotonic clock just before the command was started.
    """

    def __init__(self, session: str, process: subprocess.Popen[bytes], began_ns: int, output_file: Path) -> None:
        self.session = session
        self.process = process
        self.began_ns = began_ns
        self._directory = session_directory(session)
        self._said = output_file

    @contextlib.contextmanager
    def bus(self, prefixes: Sequence[str]) -> Iterator[Subscriber]:
        """Subscribe to its event bus as soon as it exists.

        Raises BenchError if the system ends before.
        """
        socket = Path(events_endpoint(self._directory).removeprefix("ipc://"))
        end = time.monotonic() + PATIENCE_S
        # A failed connection would be retried only after up to a second.
        while not socket.exists():
            self.check(end)
            time.sleep(LOOK_EVERY_S)
        reader = Subscriber(events_endpoint(self._directory), prefixes)
        try:
            yield reader
        finally:
            reader.close()

    def messages(self, bus: Subscriber, seconds: float) -> Iterator[tuple[int, str, Body]]:
        """Yield (monotonic time in ns, topic, message) for so many seconds. Raises BenchError if the system ends."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            found = bus.receive(min(left, 0.2))
            if found is not None:
                yield time.monotonic_ns(), *found
            else:
                self.check(float("inf"))

    def check(self, end: float) -> None:
        """Raise BenchError if the system has ended or the time `end` has passed."""
        if self.process.poll() is not None:
            raise BenchError(f"the measured system ended by itself: {last_line(self._said)}")
        if time.monotonic() > end:
            raise BenchError(f"the measured system did not come to work within {PATIENCE_S:g} s; see the log")

    def ask(self, request: Request, wanted: type[_T]) -> _T:
        """Send its supervisor a request. Raises BenchError if it does not answer or refuses."""
        try:
            return ask(self._directory, request, wanted, within_s=PATIENCE_S)
        except ControlError as error:
            raise BenchError(f"the measured system refused a request: {error}") from error

    def status(self) -> StatusReply:
        """Request its status."""
        return self.ask(StatusRequest(), StatusReply)

    def processes(self) -> dict[str, int]:
        """The pids of all its processes, by name."""
        return {process.name: process.pid for process in self.status().processes if process.pid is not None}


@contextlib.contextmanager
def live(plan: Plan, config: Config) -> Iterator[Live]:
    """Start `bimodal up` with this config; when the context ends, it is stopped and all its files are removed."""
    number = next(_numbers)
    session = f"bench-{os.getpid()}-{number}"
    file, output_file = plan.folder / f"{session}.yaml", plan.folder / f"{session}.said"
    write_config(config, file)
    command = python_command("bimodal", "up", "--config", str(file), "--session", session)
    with output_file.open("wb") as output:
        began_ns = time.monotonic_ns()
        process = start(command, what="the measured system", stdout=output.fileno(), stderr=output.fileno())
    try:
        yield Live(session, process, began_ns, output_file)
    finally:
        stop(process)
        for left in (slots_directory(session), session_directory(session)):
            shutil.rmtree(left, ignore_errors=True)
