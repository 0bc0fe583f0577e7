"""The engine `ray`: the same worker in Ray actors, on this machine or on a cluster with a shared file system.

Ray gives an actor that dies no second chance here, and has no say about what is done: claims and the journal decide
that, as with the engine `local`. Only bytes of our own messages travel as arguments.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from bimodal.broker.control import ProcessReport
from bimodal.child_process import child_environment
from bimodal.corpus.clip import ClipWorker
from bimodal.corpus.local import MOST_BAD_STARTS, Coordinator
from bimodal.corpus.messages import Done, WorkerSettings
from bimodal.corpus.rows import Task
from bimodal.errors import BimodalError
from bimodal.extras import require
from bimodal.workers.errors import SystemFailedError

log = logging.getLogger(__name__)

POLL_S = 0.2
CONNECT_WITHIN_S = 10.0
GPU_SHARE = 0.25
"""GPU of an actor where the cluster has any: four share one."""


class RayWorker:
    """What runs in an actor."""

    def __init__(self, settings: bytes, folder: str) -> None:
        if Path(folder).is_dir():
            os.chdir(folder)  # models may be named relative to it
        self._refused: str | None = None
        try:
            self._worker = ClipWorker(msgspec.msgpack.decode(settings, type=WorkerSettings))
        except BimodalError as error:
            self._refused = str(error)

    def ready(self) -> tuple[str | None, int, dict[str, str]]:
        """Why it can't work, else None; its process, and its models."""
        return self._refused, os.getpid(), {} if self._refused else self._worker.models

    def run(self, task: bytes) -> bytes:
        """Do a task; gives what has become of it."""
        return msgspec.msgpack.encode(self._worker.run(msgspec.msgpack.decode(task, type=Task)))


def _check_address(cluster: str | None) -> None:
    """Raise SystemFailedError where nobody listens at HOST:PORT; Ray itself tries for minutes."""
    host, colon, port = (cluster or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_WITHIN_S).close()
    except OSError as error:
        raise SystemFailedError(f"Ray can't be reached at {cluster}: {error.strerror or error}") from error


class _Actor:
    def __init__(self, number: int, handle: Any) -> None:
        self.number = number
        self.handle = handle
        self.pid: int | None = None
        self.models: dict[str, str] = {}
        self.task: Task | None = None


class RayEngine:
    """A pool of Ray actors.

    Args:
        workers: number of actors; None: one a CPU of the cluster.
        address: of a cluster; None: the one that RAY_ADDRESS names, else one of this run's own on this machine.

    Raises MissingPackageError without Ray, SystemFailedError where the cluster can't be reached.
    """

    name = "ray"

    def __init__(self, settings: WorkerSettings, *, workers: int | None, address: str | None) -> None:
        require("analyze --engine ray", "ray", "ray")
        self._settings = msgspec.structs.replace(settings, parent=0)
        self._actors: dict[int, _Actor] = {}
        self._pending: dict[Any, _Actor] = {}
        self._bad_starts = 0
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Without its types: of a library that is not installed everywhere there are none.
        ray = self._ray = cast("Any", importlib.import_module("ray"))
        cluster = address or os.environ.get("RAY_ADDRESS")
        _check_address(cluster)
        paths = {"PYTHONPATH": child_environment()["PYTHONPATH"]}
        try:
            ray.init(
                address=cluster,
                include_dashboard=None if cluster else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": paths},
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            reason = str(error).splitlines()[0]
            raise SystemFailedError(f"Ray can't be reached at {cluster or 'this machine'}: {reason}") from error
        resources = ray.cluster_resources()
        self._count = workers or max(1, int(resources.get("CPU", 1)))
        share = GPU_SHARE if resources.get("GPU") else 0
        self._class = ray.remote(num_cpus=1, num_gpus=share, max_restarts=0, max_task_retries=0)(RayWorker)

    def run(self, coordinator: Coordinator, on_turn: Callable[[], None]) -> None:
        """Work until the coordinator has nothing left."""
        while not coordinator.finished():
            while len(self._actors) < self._count:
                self._start()
            for actor in self._actors.values():
                if actor.pid is not None and actor.task is None:
                    self._feed(actor, coordinator)
            ended, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=POLL_S) if self._pending else ([], [])
            for reference in ended:
                self._take(self._pending.pop(reference), reference, coordinator)
            on_turn()

    def _start(self) -> None:
        number = next(number for number in range(1, self._count + 1) if number not in self._actors)
        handle = self._class.remote(msgspec.msgpack.encode(self._settings), str(Path.cwd()))
        actor = self._actors[number] = _Actor(number, handle)
        self._pending[handle.ready.remote()] = actor

    def _feed(self, actor: _Actor, coordinator: Coordinator) -> None:
        actor.task = coordinator.next_task()
        if actor.task is not None:
            self._pending[actor.handle.run.remote(msgspec.msgpack.encode(actor.task))] = actor

    def _take(self, actor: _Actor, reference: Any, coordinator: Coordinator) -> None:
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise SystemFailedError(f"the results can't be written: {error.cause}") from error
        except self._ray.exceptions.RayError as error:
            self._lost(actor, coordinator, error)
            return
        self._bad_starts = 0
        if actor.task is not None:
            actor.task = None
            coordinator.on_done(msgspec.msgpack.decode(found, type=Done))
            return
        refused, actor.pid, actor.models = found
        if refused is not None:
            raise SystemFailedError(refused)

    def _lost(self, actor: _Actor, coordinator: Coordinator, error: Exception) -> None:
        log.warning("actor %d ended: %s", actor.number, error)
        del self._actors[actor.number]
        if actor.task is not None:
            coordinator.on_lost(actor.task, "its Ray actor died")
            return
        self._bad_starts += 1
        if self._bad_starts >= MOST_BAD_STARTS:
            raise SystemFailedError(f"the Ray actors can't be started: {str(error).splitlines()[0]}") from error

    def reports(self) -> tuple[ProcessReport, ...]:
        """The actors, for `bimodal status`."""
        return tuple(
            ProcessReport(
                name=f"ray actor {actor.number}",
                role="worker",
                state="ready" if actor.pid is not None else "starting",
                pid=actor.pid,
                because=None,
                figures={},
                models=actor.models,
            )
            for _, actor in sorted(self._actors.items())
        )

    def close(self) -> None:
        """End the actors, and the cluster where it is this run's own."""
        self._ray.shutdown()
