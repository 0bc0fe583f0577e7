"""The training loop: epochs, progress, best weights, early stopping, and resuming after a kill."""

from __future__ import annotations

import hashlib
import math
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bimodal.training.errors import TrainingError

# Checkpoints: written in one move, read without unpickling code.

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write tensors and plain values to `path` in one move, on disk before the old file goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(path: Path) -> State | None:
    """Load what `save` wrote, or None if there is no file.

    Raises TrainingError if the file is none of ours.
    """
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is no checkpoint of this program: begin anew with --fresh") from error
    if not isinstance(state, dict):
        raise TrainingError(f"{path} is no checkpoint of this program: begin anew with --fresh")
    return state


def fingerprint(parts: Iterable[object]) -> str:
    """Hash of the config and data of a run, 16 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update((part if isinstance(part, bytes) else repr(part).encode()) + b"\0")
    return digest.hexdigest()[:16]


Progress = Callable[[str], None]
CHECKPOINT, BEST = "checkpoint.pt", "best.pt"


class Watched(NamedTuple):
    """Figures on held-out examples."""

    accuracy: float
    uar: float


class Task(Protocol):
    """A network and its training data. An epoch's steps depend only on the saved state."""

    @property
    def network(self) -> nn.Module:
        """The network that is trained."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """Its optimizer."""
        ...

    @property
    def schedule(self) -> torch.optim.lr_scheduler.LRScheduler:
        """Its learning-rate schedule."""
        ...

    @property
    def steps_an_epoch(self) -> int:
        """Number of steps of `epoch`."""
        ...

    def epoch(self, number: int) -> Iterator[float]:
        """Train one epoch; yields the loss of each step. `number` counts from 0."""
        ...

    def watch(self) -> Watched | None:
        """Measure on held-out examples; None if there are none."""
        ...

    def random_state(self) -> dict[str, Any]:
        """The state of the task's own generators: tensors and plain values."""
        ...

    def set_random_state(self, state: dict[str, Any]) -> None:
        """Restore their state."""
        ...


@dataclass(frozen=True)
class Plan:
    """Settings of a run.

    Attributes:
        title: of the progress bar.
        epochs: greatest number of epochs.
        folder: for checkpoint.pt and best.pt.
        fingerprint: of config and data; a checkpoint with another one is refused.
        patience: epochs without a better UAR after which the run stops; 0 never stops it.
        keep: end with the best or the last weights.
    """

    title: str
    epochs: int
    folder: Path
    fingerprint: str
    patience: int = 0
    keep: Literal["best", "last"] = "best"


@dataclass
class _RunState:
    """Progress of a run."""

    done: int = 0
    best: float = -math.inf
    best_epoch: int = -1
    seconds: float = 0.0

    def stops(self, plan: Plan) -> bool:
        waited = self.done - 1 - self.best_epoch
        return self.done >= plan.epochs or bool(plan.patience and self.best_epoch >= 0 and waited >= plan.patience)


def fit(task: Task, plan: Plan, progress: Progress) -> float:
    """Train, or resume an interrupted run; the network ends with the weights chosen by `plan.keep`.

    A checkpoint (weights, optimizer, schedule, all random generators) is written after each epoch in one move, so a
    killed and resumed run ends with the same weights as an uninterrupted one.

    Returns the seconds of training, over all sessions.

    Raises TrainingError if the folder holds a run with another config or other data.
    """
    run = _resume(task, plan, progress)
    steps = task.steps_an_epoch
    with tqdm(total=plan.epochs * steps, initial=run.done * steps, desc=plan.title, disable=None) as bar:
        while not run.stops(plan):
            _epoch(task, plan, run, bar, progress)
    if run.done < plan.epochs:
        progress(f"{plan.title}: stopped early, no better UAR since epoch {run.best_epoch + 1}")
    if plan.keep == "best" and run.best_epoch >= 0:
        best = load(plan.folder / BEST)
        if best is None:
            raise TrainingError(f"{plan.folder / BEST} is missing: begin anew with --fresh")
        task.network.load_state_dict(best["network"])
    task.network.eval()
    return run.seconds


def forget(folder: Path) -> None:
    """Remove the checkpoints under a run's folder."""
    for name in (CHECKPOINT, BEST):
        for path in folder.rglob(name):
            path.unlink()


def _epoch(task: Task, plan: Plan, run: _RunState, bar: Any, progress: Progress) -> None:
    started, losses = time.monotonic(), []
    task.network.train()
    for loss in task.epoch(run.done):
        losses.append(loss)
        bar.update()
        bar.set_postfix_str(f"loss {np.mean(losses[-50:]):.3f}", refresh=False)
    if not losses or not math.isfinite(losses[-1]):
        raise TrainingError(f"{plan.title}: the loss is no number any more: lower learning_rate")
    task.network.eval()
    watched = task.watch()
    run.seconds += time.monotonic() - started
    result = "nothing is kept back to watch"
    if watched is not None:
        result = f"accuracy {watched.accuracy:.3f}, UAR {watched.uar:.3f} (kept back)"
        if watched.uar > run.best:
            run.best, run.best_epoch = watched.uar, run.done
            save(plan.folder / BEST, {"network": task.network.state_dict()})
    bar.set_postfix_str(f"loss {np.mean(losses):.3f}, {result}")
    run.done += 1
    _save(task, plan, run)
    progress(f"{plan.title}, epoch {run.done}/{plan.epochs}: loss {np.mean(losses):.3f}, {result}")


def _save(task: Task, plan: Plan, run: _RunState) -> None:
    state = {
        "fingerprint": plan.fingerprint,
        "progress": [run.done, run.best, run.best_epoch, run.seconds],
        "network": task.network.state_dict(),
        "optimizer": task.optimizer.state_dict(),
        "schedule": task.schedule.state_dict(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "task": task.random_state(),
    }
    save(plan.folder / CHECKPOINT, state)


def _resume(task: Task, plan: Plan, progress: Progress) -> _RunState:
    state = load(plan.folder / CHECKPOINT)
    if state is None:
        return _RunState()
    if state.get("fingerprint") != plan.fingerprint:
        raise TrainingError(
            f"{plan.folder} holds a run with another config or other data: begin anew with --fresh, or set 'runs'"
        )
    task.network.load_state_dict(state["network"])
    task.optimizer.load_state_dict(state["optimizer"])
    task.schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    task.set_random_state(state["task"])
    done, best, best_epoch, seconds = state["progress"]
    run = _RunState(int(done), float(best), int(best_epoch), float(seconds))
    word = "is complete" if run.stops(plan) else f"goes on after epoch {run.done}"
    progress(f"{plan.title}: the run in {plan.folder} {word}")
    return run


# Device and precision.

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "bfloat16"]


def pick_device(wanted: Device) -> torch.device:
    """Choose the device; `auto` is CUDA if it works. Raises TrainingError if CUDA is asked for and missing."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise TrainingError("'device: cuda' was asked for, but torch finds no CUDA: set 'device: cpu'")
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


def mixed(device: torch.device, precision: Precision) -> torch.autocast:
    """Context of a forward pass: autocast to bfloat16 if asked for (it needs no gradient scaling)."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


class Elsewhere(nn.Module):
    """A network on another device, with inputs and outputs on the CPU."""

    def __init__(self, network: nn.Module, device: torch.device, precision: Precision) -> None:
        super().__init__()
        self.network = network
        self._device, self._precision = device, precision

    def forward(self, features: Tensor) -> Tensor:
        """Compute logits float32 on the CPU from features on the CPU."""
        with mixed(self._device, self._precision):
            logits: Tensor = self.network(features.to(self._device))
        return logits.float().cpu()

    def each(self, features: Tensor) -> list[Tensor]:
        """Logits of each of several small networks whose mean it gives; else its own."""
        each = getattr(self.network, "each", None)
        if each is None:
            return [self(features)]
        with mixed(self._device, self._precision):
            logits: list[Tensor] = each(features.to(self._device))
        return [values.float().cpu() for values in logits]
