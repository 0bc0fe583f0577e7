"""`bimodal.run`: the supervisor and its processes, started from Python and stopped with their context."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TypeAlias

import yaml

from bimodal.api.listen import DEFAULT_SESSION, Events, listen
from bimodal.broker.control import StatusReply, StatusRequest, ask
from bimodal.broker.errors import ControlError
from bimodal.broker.sockets import events_endpoint, session_directory
from bimodal.child_process import child_environment, last_line, python_command
from bimodal.config import check_config
from bimodal.scratch import Scratch
from bimodal.supervisor.session import PARENT_KEY
from bimodal.workers.errors import SystemFailedError

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 10.0
LOOK_EVERY_S = 0.05


RunConfig: TypeAlias = "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | dict[str, object] | None"


def run(config: RunConfig = None, *, session: str = DEFAULT_SESSION) -> System:
    """Start a live system, as `bimodal up` does, and wait until its processes are ready.

    Use it as a context manager: the system stops with it, and also when this process ends.

    Args:
        config: a path of a config.yaml, or several of which a later one adds to those before it, all watched for edits;
            its values as a dict; or None for what `bimodal up` takes: BIMODAL_CONFIG, ./config.yaml, the defaults.
        session: its name, where a machine runs several.

    Raises ConfigError where the config is wrong, SystemFailedError where the system can't begin.
    """
    return System(config, session)


class System:
    """A running system.

    Attributes:
        session: its name, for `bimodal status --session` and `bimodal.listen(session=…)`.
        address: of its event bus.
    """

    def __init__(self, config: RunConfig, session: str) -> None:
        self.session = session
        self._directory = session_directory(session)
        self.address = events_endpoint(self._directory)
        self._open: list[Events] = []
        self._scratch = Scratch("run")
        self._output = self._scratch.path / "output"
        try:
            self._process = self._start(config)
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _start(self, config: RunConfig) -> subprocess.Popen[bytes]:
        command = python_command("bimodal", "up", "--session", self.session)
        if isinstance(config, dict):
            check_config(config, "config")
            file = self._scratch.path / "config.yaml"
            file.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
            command += ["--config", str(file)]
        elif config is not None:
            for path in [config] if isinstance(config, str | os.PathLike) else config:
                command += ["--config", os.fspath(path)]
        environment = child_environment({PARENT_KEY: str(os.getpid())})
        with self._output.open("wb") as output:
            return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_WITHIN_S
        while self._starting():
            if self._process.poll() is not None:
                raise SystemFailedError(last_line(self._output))
            if time.monotonic() > end:
                said = last_line(self._output)
                raise SystemFailedError(f"the system is not ready after {READY_WITHIN_S:g} s: {said}")
            time.sleep(LOOK_EVERY_S)

    def _starting(self) -> bool:
        try:
            status = self.status()
        except ControlError:
            return True
        sources = [process for process in status.processes if process.role == "capture"]
        if sources and all(process.state == "failed" for process in sources):
            return True  # the command is about to end with the reason
        return status.changing or any(process.state == "starting" for process in status.processes)

    @property
    def running(self) -> bool:
        """True while the supervisor runs; it ends by itself when every source was a file that is over."""
        return self._process.poll() is None

    def events(self, topic: str = "emotion.") -> Events:
        """Its events from now on; the loop over them ends when the system does or is stopped."""
        events = listen(self.address, topic=topic)
        events.until = lambda: not self.running
        self._open.append(events)
        return events

    def status(self) -> StatusReply:
        """The reply to `bimodal status --json`. Raises ControlError while it does not answer."""
        return ask(self._directory, StatusRequest(), StatusReply)

    def stop(self) -> None:
        """Stop every process; nothing is left behind."""
        for events in self._open:
            events.close()
        process = getattr(self, "_process", None)
        if process is not None and process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WITHIN_S)
            process.kill()
            process.wait()
        self._scratch.close()

    def __enter__(self) -> System:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
