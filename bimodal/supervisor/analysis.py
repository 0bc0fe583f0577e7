"""The system behind `bimodal analyze`: many files through one system, every frame of each."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from bimodal.broker.control import Accepted, ControlServer, Refused, Reply, Request, ScaleRequest, StatusRequest
from bimodal.broker.paths import pack
from bimodal.config import Config
from bimodal.errors import BimodalError
from bimodal.recordings.identity import refusal
from bimodal.recordings.recording import SUMMARY
from bimodal.recordings.summary import Summary
from bimodal.supervisor.autoscale import checked_counts, describe_scale
from bimodal.supervisor.child import Child
from bimodal.supervisor.inputs import Input
from bimodal.supervisor.processes import ProcessSpec, Role, Wanted, limited, processes, source
from bimodal.supervisor.provenance import describe_session
from bimodal.supervisor.session import Session
from bimodal.supervisor.supervisor import Supervisor
from bimodal.workers.capture.choice import DEFAULT, Choice
from bimodal.workers.capture.settings import StreamSettings
from bimodal.workers.errors import SystemFailedError
from bimodal.workers.settings import RecordActorSettings, RecordSettings

log = logging.getLogger(__name__)

AT_ONCE = 4
TURN_S = 0.1


@dataclass
class Analysed:
    """One input and its progress.

    Attributes:
        name: of its results and its stream.
        given: as the user named it.
        frames: analysed so far; 0 of a file without picture.
        hops: of sound, so far.
        seconds, duration_s: how far its sound is read, and how long the file is, where known.
        frames_estimate: total number, where known.
        has_picture: None until that is known.
        reason: why it failed, one sentence; else None.
        note: what a user should know of a file that has results all the same (damaged, cut off, further tracks).
        lost: that frames or hops were lost or failed, else None.
    """

    file: Path
    name: str
    given: str = ""
    frames: int = 0
    hops: int = 0
    seconds: float = 0.0
    duration_s: float | None = None
    has_picture: bool | None = None
    frames_estimate: int | None = None
    reason: str | None = None
    note: str | None = None
    lost: str | None = None
    done: bool = False


class Analysis:
    """Runs the inputs, a few at once, and keeps their progress."""

    def __init__(
        self,
        config: Config,
        inputs: Sequence[Input],
        out: Path,
        *,
        realtime: bool,
        log_file: Path | None,
        choice: Choice = DEFAULT,
        overwrite: bool = False,
    ) -> None:
        """Start the system. Inputs whose place holds results of another source have failed already.

        Args:
            overwrite: replace those results.

        Raises EndpointError, CatalogError and the like where it can't be.
        """
        self.inputs = [Analysed(one.file, one.name, given=one.given) for one in inputs]
        self._out = out
        for one, analysed in zip(inputs, self.inputs, strict=True):
            analysed.reason = None if overwrite else refusal(out, one.name, one.identity, one.file)
        self._config = config
        self._realtime = realtime
        self._choice = choice
        self._waiting = deque(analysed for analysed in self.inputs if analysed.reason is None)
        self._running: dict[str, Analysed] = {}
        self._counts: dict[Role, int] = {}
        self._session = Session(f"analyze-{os.getpid()}", unique=True)
        with contextlib.ExitStack() as undo:
            undo.callback(self._session.close)
            described = describe_session(config, "analysis", self._session.name, datetime.now().astimezone(), choice)
            self._record = RecordActorSettings(
                record=RecordSettings(folder=pack(out), private=False),
                sources={one.name: pack(one.file) for one in inputs},
                given={one.name: one.identity for one in inputs if one.identity != pack(one.file)},
                overwrite=overwrite,
                session=msgspec.to_builtins(described),
            )
            specs = self._rows()
            self._control = ControlServer(self._session.directory)
            undo.callback(self._control.close)
            self._supervisor = Supervisor(self._session, specs, log_file)
            undo.pop_all()

    def _rows(self) -> list[ProcessSpec]:
        rows = processes(Wanted(self._config, self._counts, self._record, files=True))
        return limited(rows, self._config.workers.max_memory_mb)

    def run(self, changed: Callable[[], None]) -> None:
        """Work until every input is done or has failed; `changed` is called several times a second.

        Raises SystemFailedError where the system itself can't work.
        """
        while self._waiting or self._running:
            self._supervisor.step(TURN_S)
            self._control.serve(self._answer)
            self._settle()
            self._fill()
            self._check()
            changed()

    def _answer(self, request: Request) -> Reply:
        """Answer `bimodal status` and `bimodal scale`. The config is not watched: one set of models for all results."""
        if isinstance(request, StatusRequest):
            return self._supervisor.report(self._session.name)
        if not isinstance(request, ScaleRequest):
            return Refused("it analyses files, all of them with the config that it began with")
        try:
            return self._scale(checked_counts(request.counts, self._config))
        except BimodalError as error:
            return Refused(str(error))

    def _scale(self, wanted: dict[Role, int]) -> Reply:
        rows = self._supervisor.reconciler.rows()
        before = {kind: sum(row.role == kind for row in rows) for kind in wanted}
        self._counts = self._counts | wanted
        sources = [row for row in rows if row.stream is not None]
        self._supervisor.reconciler.change(self._rows() + sources, self._supervisor.now)
        return Accepted(describe_scale(before, wanted))

    def _fill(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            analysed = self._waiting.popleft()
            file = StreamSettings(file=pack(analysed.file), **msgspec.structs.asdict(self._choice))
            spec = source(self._config, analysed.name, file, policy="every", realtime=self._realtime)
            (spec,) = limited([spec], self._config.workers.max_memory_mb)
            self._supervisor.reconciler.add(spec)
            self._running[spec.name] = analysed

    def _settle(self) -> None:
        for name, analysed in list(self._running.items()):
            child = self._supervisor.children[name]
            if child.heartbeat is not None:
                _take(analysed, child.heartbeat.figures)
            if child.finished or child.life.state == "failed":
                analysed.done = child.finished
                analysed.reason = None if child.finished else (child.life.reason or "it could not be read")
                analysed.note = child.life.reason if child.finished else None
                analysed.lost = lost_in(self._out, analysed.name) if child.finished else None
                log.info("%s: %s", analysed.given, analysed.reason or analysed.note or "done")
                del self._running[name]
                self._supervisor.reconciler.remove(name)

    def _check(self) -> None:
        """Raise SystemFailedError where all processes of a role have failed: no input would make progress any more."""
        roles: dict[str, list[Child]] = {}
        for child in self._supervisor.children.values():
            if child.spec.stream is None:
                roles.setdefault(child.spec.role, []).append(child)
        for children in roles.values():
            if all(child.life.state == "failed" for child in children):
                raise SystemFailedError(children[0].life.reason or f"{children[0].spec.name} can't be started")

    def close(self) -> None:
        """Stop everything and remove the session."""
        self._supervisor.stop()
        self._control.close()
        self._session.close()


def _take(analysed: Analysed, figures: dict[str, float]) -> None:
    """Take the progress from the figures of a capture process."""
    analysed.frames = int(figures.get("frames", analysed.frames))
    analysed.hops = int(figures.get("windows", analysed.hops))
    analysed.seconds = figures.get("seconds", analysed.seconds)
    analysed.duration_s = figures.get("duration_s", analysed.duration_s)
    estimate = figures.get("frames_estimate")
    analysed.frames_estimate = int(estimate) if estimate else analysed.frames_estimate
    if "has_picture" in figures:
        analysed.has_picture = bool(figures["has_picture"])


def lost_in(folder: Path, name: str) -> str | None:
    """Say that frames or hops of a complete result were lost or failed, in one sentence; None where none were."""
    try:
        summary = msgspec.json.decode((folder / f"{name}{SUMMARY}").read_bytes(), type=Summary)
    except (OSError, msgspec.MsgspecError):
        return None
    parts = []
    if summary.frames_lost:
        parts.append(f"{summary.frames_lost} of {max(summary.frames, summary.frames_lost)} frames")
    if summary.hops_failed:
        parts.append(f"{summary.hops_failed} of {summary.hops} hops of sound")
    if not parts:
        return None
    reasons = ", ".join(summary.because.get("failed", {})) or "they were lost"
    return f"{' and '.join(parts)} could not be analysed ({reasons})"
