"""A real `bimodal up` in a process of its own, under a name that nobody else uses: begun, listened to, and ended."""

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

from bimodal.bench.errors import BenchError
from bimodal.bench.loops import start, stop
from bimodal.bench.pipeline import alone
from bimodal.bench.plan import Plan
from bimodal.broker.control import Request, StatusReply, StatusRequest, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Body
from bimodal.broker.sockets import events_endpoint, session_directory, slots_directory
from bimodal.child_process import python_command
from bimodal.config import Config
from bimodal.config.schema import LogConfig
from bimodal.workers.capture.settings import StreamSettings

PATIENCE_S = 120.0
LOOK_EVERY_S = 0.005

_T = TypeVar("_T")
_numbers = itertools.count(1)


def measured(plan: Plan, streams: Mapping[str, StreamSettings], faces: int | None = None) -> Config:
    """The config of a run, `alone`, with these streams and a log of ours."""
    return msgspec.structs.replace(
        alone(plan.config, faces),
        streams=dict(streams),
        log=LogConfig(file=plan.log or plan.folder / "measured.log", level=plan.config.log.level),
    )


def write_config(config: Config, path: Path) -> None:
    """A config as the file that `load_config` reads it from."""
    values = msgspec.to_builtins(config, enc_hook=_plain)
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value.absolute())
    raise NotImplementedError(f"{type(value).__name__} in a config")


class Live:
    """A running system.

    Attributes:
        session: its name.
        process: of the command, which is the supervisor.
        began_ns: the monotonic clock just before the command was started.
    """

    def __init__(self, session: str, process: subprocess.Popen[bytes], began_ns: int, said: Path) -> None:
        self.session = session
        self.process = process
        self.began_ns = began_ns
        self._directory = session_directory(session)
        self._said = said

    @contextlib.contextmanager
    def bus(self, prefixes: Sequence[str]) -> Iterator[Subscriber]:
        """A reader of its event bus, connected as soon as there is one.

        Raises BenchError where the system ends before.
        """
        socket = Path(events_endpoint(self._directory).removeprefix("ipc://"))
        end = time.monotonic() + PATIENCE_S
        # Connecting to what is not there yet would be tried again only after up to a second.
        while not socket.exists():
            self.check(end)
            time.sleep(LOOK_EVERY_S)
        reader = Subscriber(events_endpoint(self._directory), prefixes)
        try:
            yield reader
        finally:
            reader.close()

    def messages(self, bus: Subscriber, seconds: float) -> Iterator[tuple[int, str, Body]]:
        """What comes in so many seconds: when (monotonic clock, ns), topic, message. Raises BenchError at its end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            found = bus.receive(min(left, 0.2))
            if found is not None:
                yield time.monotonic_ns(), *found
            else:
                self.check(float("inf"))

    def check(self, end: float) -> None:
        """Raises BenchError where the system has ended, or the time `end` has come."""
        if self.process.poll() is not None:
            raise BenchError(f"the measured system ended by itself: {last_line(self._said)}")
        if time.monotonic() > end:
            raise BenchError(f"the measured system did not come to work within {PATIENCE_S:g} s; see the log")

    def ask(self, request: Request, wanted: type[_T]) -> _T:
        """Ask its supervisor; raises BenchError where it does not answer, or refuses."""
        try:
            return ask(self._directory, request, wanted, within_s=PATIENCE_S)
        except ControlError as error:
            raise BenchError(f"the measured system did not do as it was told: {error}") from error

    def status(self) -> StatusReply:
        """How it is."""
        return self.ask(StatusRequest(), StatusReply)

    def processes(self) -> dict[str, int]:
        """The pids of all its processes, by name."""
        return {process.name: process.pid for process in self.status().processes if process.pid is not None}


@contextlib.contextmanager
def live(plan: Plan, config: Config) -> Iterator[Live]:
    """`bimodal up` with this config; it is stopped, and everything of it is gone, when the context ends, however."""
    number = next(_numbers)
    session = f"bench-{os.getpid()}-{number}"
    file, said = plan.folder / f"{session}.yaml", plan.folder / f"{session}.said"
    write_config(config, file)
    command = python_command("bimodal", "up", "--config", str(file), "--session", session)
    with said.open("wb") as output:
        began_ns = time.monotonic_ns()
        process = start(command, what="the measured system", stdout=output.fileno(), stderr=output.fileno())
    try:
        yield Live(session, process, began_ns, said)
    finally:
        stop(process)
        for left in (slots_directory(session), session_directory(session)):
            shutil.rmtree(left, ignore_errors=True)


def last_line(said: Path) -> str:
    """The last line that a process has said."""
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n") if said.exists() else []
    return next((line for line in reversed(lines) if line.strip()), "it said nothing").removeprefix("bimodal: ")
