"""One row of the table and the process that runs for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec

from bimodal import workers
from bimodal.broker.messages import Heartbeat
from bimodal.workers.actor import ENVIRONMENT_KEY, ActorSettings
from bimodal.workers.processes import ProcessSpec
from bimodal.workers.supervision.life import Life
from bimodal.workers.supervision.session import Session
from bimodal.workers.vitals import Vitals, Watch

Post = Literal["on", "beside", "leaving"]


class Child:
    """A row and its process.

    Attributes:
        post: "on": it is one of those that are wanted; "beside": it loads and will take over; "leaving": it gets
            nothing more to do and goes.
        successor: the row that takes its name when it has gone, else None.
        renewed: whether it leaves only to be started again.
        asked: whether it was told to end, so that its end says nothing about its work.
    """

    def __init__(self, spec: ProcessSpec, post: Post = "on", incarnation: int = 0) -> None:
        self.spec = spec
        self.post: Post = post
        self.life = Life(incarnation)
        self.process: subprocess.Popen[bytes] | None = None
        self.heartbeat: Heartbeat | None = None
        self.successor: ProcessSpec | None = None
        self.renewed = self.asked = self.finished = self.was_ready = False
        self.vitals = Vitals(0.0, 0.0)
        self._watch: Watch | None = None
        self._started = 0.0

    @property
    def running(self) -> bool:
        """Whether a process exists for it."""
        return self.process is not None

    def start(self, session: Session, log_file: Path | None, now: float) -> None:
        """Start its process; `now` is of the monotonic clock, in seconds."""
        spec = self.spec
        settings = ActorSettings(
            name=spec.name,
            incarnation=self.life.started(now),
            role=spec.actor_role,
            modality=spec.modality,
            directory=str(session.directory),
            slots=str(session.slots),
            log=str(log_file) if log_file else None,
            parent=os.getpid(),
            cores=spec.cores,
            own=msgspec.to_builtins(spec.settings),
        )
        environment = dict(os.environ)
        environment[ENVIRONMENT_KEY] = msgspec.json.encode(settings).decode()
        # -P keeps a folder of the user's that is called "models" from being taken for ours.
        environment["PYTHONPATH"] = str(Path(workers.__file__).parents[2])
        self.heartbeat = None
        self.renewed = self.asked = False
        self._started = now
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", spec.module],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if log_file else None,
            stderr=subprocess.DEVNULL if log_file else None,
        )
        self._watch = Watch(self.process.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is there."""
        self.asked = self.asked or number == signal.SIGTERM
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)

    def look(self) -> None:
        """See how much of the machine it takes."""
        found = self._watch.look() if self._watch is not None and self.running else None
        if found is not None:
            self.vitals = found

    def figures(self, now: float) -> dict[str, float]:
        """What the supervisor knows of it, for its heartbeat."""
        return {
            "cpu_percent": self.vitals.cpu_percent,
            "memory_mb": self.vitals.memory_mb,
            "restarts": float(max(0, self.life.restarts)),
            "up_s": round(now - self._started, 1) if self.running else 0.0,
        }
