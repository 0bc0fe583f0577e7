"""Drives the real command as a user would, and watches it from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from bimodal.broker.control import StatusReply, StatusRequest, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.mailbox import Subscriber
from bimodal.broker.messages import Body
from bimodal.broker.sockets import events_endpoint, session_directory, slots_directory

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 180.0
ALL_BEGUN_S = 60.0


class Driven:
    """A `bimodal` command in a process of its own."""

    def __init__(
        self,
        *arguments: str | Path,
        session: str | None = None,
        cwd: Path = REPOSITORY,
        environment: dict[str, str] | None = None,
        within: Sequence[str | Path] = (),
        said: IO[str] | int = subprocess.PIPE,
    ) -> None:
        """`within`: a program, with its arguments, that runs the command after them in surroundings of its own; `said`:
        where its stdout goes, for one that runs longer than a pipe holds."""
        command = [*map(str, within), sys.executable, "-m", "bimodal", *map(str, arguments)]
        self.process = subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            start_new_session=True,
            env=environment,
        )
        self.session = session or f"analyze-{self.process.pid}"
        self._live = arguments[:1] == ("up",)
        self._bus: Subscriber | None = None

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bus is not None:
            self._bus.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    # ---------------------------------------------------------------------------- what it says

    def events(self) -> Iterator[tuple[str, Body]]:
        """Messages of the event bus, until patience is over."""
        if self._bus is None:
            self._bus = Subscriber(events_endpoint(session_directory(self.session)), [""])
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = self._bus.receive(0.2)
            if found is not None:
                yield found
            elif self.process.poll() is not None:
                return
        raise AssertionError(f"nothing that was waited for came within {PATIENCE_S} s")

    def wait_for(self, wanted: Callable[[Body], bool]) -> Body:
        """The first message that is wanted."""
        for _, body in self.events():
            if wanted(body):
                return body
        raise AssertionError(f"it ended with {self.process.returncode} before: {self.finish()}")

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, stdout, stderr."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err

    # ---------------------------------------------------------------------------- what runs

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by title, without the "bimodal: "; of a live system, once those that stand back have begun."""
        end = time.monotonic() + ALL_BEGUN_S
        while True:
            found = self._titled()
            if self._live and not self._wanted() <= set(found) and time.monotonic() < end:
                time.sleep(0.05)
                continue
            return found

    def _wanted(self) -> set[str]:
        """Names of the processes that the supervisor runs, or is about to; none where it does not answer."""
        try:
            reply = ask(session_directory(self.session), StatusRequest(), StatusReply, within_s=1.0)
        except ControlError:
            return set()
        begun = [
            one for one in reply.processes if one.pid is not None or (one.because is None and one.role != "capture")
        ]
        return {one.name for one in begun} - {"supervisor"}

    def _titled(self) -> dict[str, psutil.Process]:
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                title = " ".join(child.cmdline())
            except psutil.Error:
                continue
            if title.startswith("bimodal: "):
                found[title.removeprefix("bimodal: ").strip()] = child
        return found

    def kill(self, title: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to one of its processes; its pid."""
        child = self.children()[title]
        child.send_signal(number)
        return child.pid

    def interrupt(self) -> None:
        """Ctrl-C, as a terminal sends it: to the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def left_behind(self) -> list[Path]:
        """Sockets and shared memory of its session."""
        return [place for place in (session_directory(self.session), slots_directory(self.session)) if place.exists()]


def run(*arguments: str | Path, cwd: Path = REPOSITORY) -> tuple[int, str, str]:
    """Run a command to its end: exit code, stdout, stderr."""
    with Driven(*arguments, cwd=cwd) as driven:
        return driven.finish()


def events_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """The events of one result."""
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def summary_of(folder: Path, name: str) -> dict[str, Any]:
    """The summary of one result."""
    found: dict[str, Any] = json.loads((folder / f"{name}.summary.json").read_text())
    return found
